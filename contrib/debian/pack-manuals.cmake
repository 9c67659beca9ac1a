# Run by CPack when everything is in its place, before the package is made of it.
file(GLOB files ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/ALL_COMPONENTS_IN_ONE/usr/share/man/man*/*[0-9]
     ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/ALL_COMPONENTS_IN_ONE/usr/share/doc/peelfs/changelog)
if(NOT files)
  message(FATAL_ERROR "there are no manuals in ${CPACK_TEMPORARY_INSTALL_DIRECTORY}")
endif()
execute_process(COMMAND gzip -9nf ${files} COMMAND_ERROR_IS_FATAL ANY)

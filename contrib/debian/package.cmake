# The Debian package: what CPack is told. contrib/package builds it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME peelfs)
set(CPACK_PACKAGE_VENDOR "the peelfs authors")
set(CPACK_PACKAGE_CONTACT "the peelfs authors <peelfs@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "show every layer of disk images as flat files")
set(CPACK_PACKAGE_DESCRIPTION
"peelfs mounts disk images, and shows every device in them as a file:
partitions, LUKS volumes, logical volumes, images of virtual machines, and
what is in those. fsck, dd, debugfs and whatever else works on a disk works
on them, without root. Nothing is written unless you ask for it; with a
copy-on-write overlay everything can be tried, looked at, and then committed
or thrown away.
.
'peelfs fsck' checks, and repairs, the filesystems of many guests at once.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_NAME peelfs)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# fusermount3 mounts for ordinary users.
set(CPACK_DEBIAN_PACKAGE_DEPENDS fuse3)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS e2fsprogs)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS
    "btrfs-progs, dosfstools, exfatprogs, f2fs-tools, jfsutils, ntfs-3g, qemu-utils, reiserfsprogs, xfsprogs")

# What Debian's policy asks for besides: the licence, what has changed, and manuals that are packed.
foreach(name copyright changelog)
  install(FILES ${CMAKE_CURRENT_SOURCE_DIR}/debian/${name} DESTINATION share/doc/peelfs
          COMPONENT program_debian EXCLUDE_FROM_ALL)
endforeach()
set(CPACK_COMPONENTS_ALL program program_debian)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/debian/pack-manuals.cmake)
include(CPack)

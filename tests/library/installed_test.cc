// What is installed can be linked, by CMake and by pkg-config.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "support/paths.h"
#include "support/support.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

TEST(InstalledLibrary, AProgramLinksIt) {
  if (::access(build_folder().c_str(), W_OK) != 0) {
    GTEST_SKIP() << "needs to write to the build folder, as cmake --install does";
  }
  const TemporaryDirectory folder;
  const std::string prefix = folder / "usr";
  must_run(PEELFS_CMAKE " --install " + build_folder() + " --component library --prefix " + prefix);
  const std::string example = source_folder() + "/contrib/example";
  must_run(PEELFS_CMAKE " -S " + example + " -B " + (folder / "build") +
           " -DCMAKE_PREFIX_PATH=" + prefix + " && " PEELFS_CMAKE " --build " + (folder / "build"));
  write_file(folder / "disk.img", Buffer(1U << 20U));
  const std::string shown =
      must_run((folder / "build/peel") + " " + (folder / "disk.img") + " disk");
  EXPECT_NE(shown.find("disk disk 1048576"), std::string::npos) << shown;

  // pkg-config needs no CMake.
  std::string libraries;
  for (const auto& entry : fs::recursive_directory_iterator(prefix)) {
    if (entry.path().extension() == ".pc") libraries = entry.path().parent_path();
  }
  ASSERT_NE(libraries, "");
  const std::string flags =
      must_run("PKG_CONFIG_PATH=" + libraries + " pkg-config --cflags --libs --static peelfs");
  must_run("g++ -std=c++20 " + example + "/peel.cc -o " + (folder / "other") + " " +
           flags.substr(0, flags.find('\n')) + " && " + (folder / "other") + " " +
           (folder / "disk.img") + " disk");
  EXPECT_NE(flags.find("-lpeelfs"), std::string::npos) << flags;
  EXPECT_NE(flags.find("-lcryptsetup"), std::string::npos) << flags;
}

}  // namespace
}  // namespace peelfs::test

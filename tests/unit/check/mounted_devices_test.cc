#include "check/mounted_devices.h"

#include <gtest/gtest.h>

#include "support/support.h"

namespace peelfs::check {
namespace {

using Devices = std::set<std::string>;

TEST(MountedDevices, ADifferenceIsSaid) {
  EXPECT_EQ(difference(Devices{"a (ext4)"}, Devices{"a (ext4)"}), "");
  EXPECT_EQ(difference(Devices{}, Devices{}), "");
  EXPECT_EQ(difference(Devices{"a (ext4)", "b"}, Devices{"a (ext4)", "c (xfs)", "d"}),
            "what lies in it has changed; not checked: c (xfs) and more; "
            "gone: b");
}

TEST(MountedDevices, WhatCannotBeReadIsNoSameness) {
  EXPECT_NE(difference(std::nullopt, Devices{"a"}), "");
  EXPECT_NE(difference(Devices{"a"}, std::nullopt), "");
  EXPECT_NE(difference(std::nullopt, std::nullopt), "");
}

TEST(MountedDevices, TheWholeTreeOfTheStatus) {
  const test::TemporaryDirectory folder;
  EXPECT_EQ(devices_in(folder.path()), std::nullopt);
  test::must_run("mkdir " + (folder / ".peelfs"));
  const std::string status = folder / ".peelfs/status.json";
  test::write_file(status,
                   as_bytes("{\"blockdevices\": [{\"name\": \"a\", \"fstype\": null, \"children\": "
                            "[{\"name\": \"b\", \"fstype\": \"ext4\"}]}]}"));
  EXPECT_EQ(devices_in(folder.path()), (Devices{"a", "b (ext4)"}));
  for (const char* const damaged : {"", "{", "[]", "{\"other\": 1}"}) {
    test::write_file(status, as_bytes(damaged));
    EXPECT_EQ(devices_in(folder.path()), std::nullopt) << damaged;
  }
}

}  // namespace
}  // namespace peelfs::check

// Which member of which MD array a device is: superblocks of each version, which mdadm takes for
// such, too.
#include "foreign/md_member.h"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "support/support.h"

namespace peelfs::test {
namespace {

void put(Buffer& bytes, std::size_t at, std::uint64_t value, std::size_t width) {
  for (std::size_t i = 0; i < width; ++i) {
    bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

std::uint64_t word(const Buffer& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

constexpr std::size_t kDevice = 8U << 20U;

/// A superblock of version 1, for the place it lies at. @param role of this device, number 1
Buffer super_1(std::uint64_t at, std::uint16_t role) {
  constexpr std::size_t kDevices = 4;
  Buffer super(4096);
  put(super, 0, 0xa92b4efc, 4);
  put(super, 4, 1, 4);
  for (std::size_t i = 0; i < 16; ++i) put(super, 16 + i, 0x10 + i, 1);
  std::memcpy(super.data() + 32, "host:data", 9);
  put(super, 72, 1, 4);          // level
  put(super, 80, 8192, 8);       // size
  put(super, 92, 2, 4);          // raid_disks
  put(super, 128, 4096, 8);      // data_offset
  put(super, 136, 8192, 8);      // data_size
  put(super, 144, at / 512, 8);  // super_offset
  put(super, 160, 1, 4);         // dev_number
  for (std::size_t i = 0; i < 16; ++i) put(super, 168 + i, 0x40 + i, 1);
  put(super, 200, 17, 8);        // events
  put(super, 220, kDevices, 4);  // max_dev
  for (std::size_t i = 0; i < kDevices; ++i) put(super, 256 + 2 * i, i == 1 ? role : 0xffff, 2);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < 256 + 2 * kDevices; i += 4) sum += word(super, i);
  put(super, 216, (sum & 0xffffffff) + (sum >> 32U), 4);  // sb_csum
  return super;
}

Buffer device_with(const Buffer& super, std::uint64_t at) {
  Buffer bytes(kDevice);
  std::copy(super.begin(), super.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  return bytes;
}

std::string examined(const TemporaryDirectory& folder, const Buffer& bytes) {
  write_file(folder / "member", bytes);
  return run("PATH=$PATH:/usr/sbin mdadm --examine --export " + (folder / "member") + " 2>&1")
      .output;
}

TEST(MdMember, EachPlaceOfVersion1) {
  const TemporaryDirectory folder;
  for (const std::uint64_t at :
       {std::uint64_t{4096}, std::uint64_t{0}, std::uint64_t{kDevice - 8192}}) {
    const Buffer bytes = device_with(super_1(at, 0), at);
    write_file(folder / "member", bytes);
    const auto member = foreign::md_membership(*file_device(folder / "member"));
    ASSERT_TRUE(member) << at;
    EXPECT_EQ(member->group, "10111213-1415-1617-1819-1a1b1c1d1e1f");
    EXPECT_EQ(member->group_name, "md host:data");
    EXPECT_EQ(member->member, "40414243-4445-4647-4849-4a4b4c4d4e4f");
    EXPECT_EQ(member->generation, 17U);
    EXPECT_EQ(member->expected, 2U);
    EXPECT_FALSE(member->opened_together);
    if (!have_program("mdadm")) continue;
    const std::string says = examined(folder, bytes);
    EXPECT_NE(says.find("MD_DEVICES=2"), std::string::npos) << says;
    EXPECT_NE(says.find("MD_EVENTS=17"), std::string::npos) << says;
    EXPECT_NE(says.find("MD_UUID=10111213:14151617:18191a1b:1c1d1e1f"), std::string::npos) << says;
  }
}

TEST(MdMember, ASpareIsNoneOfThoseThatAreNeeded) {
  const TemporaryDirectory folder;
  write_file(folder / "member", device_with(super_1(4096, 0xffff), 4096));
  const auto member = foreign::md_membership(*file_device(folder / "member"));
  ASSERT_TRUE(member);
  EXPECT_EQ(member->expected, 0U);
}

TEST(MdMember, Version090AtTheEnd) {
  const TemporaryDirectory folder;
  constexpr std::uint64_t kAt = kDevice - 65536;
  Buffer super(4096);
  put(super, 0, 0xa92b4efc, 4);
  put(super, 4, 0, 4);
  put(super, 8, 90, 4);
  put(super, 20, 0x11111111, 4);
  put(super, 28, 1, 4);     // level
  put(super, 32, 8000, 4);  // size
  put(super, 36, 3, 4);     // nr_disks
  put(super, 40, 3, 4);     // raid_disks
  put(super, 52, 0x22222222, 4);
  put(super, 56, 0x33333333, 4);
  put(super, 60, 0x44444444, 4);
  put(super, 156, 9, 8);           // events
  put(super, 992 * 4, 2, 4);       // this_disk.number
  put(super, 992 * 4 + 12, 2, 4);  // raid_disk
  put(super, 992 * 4 + 16, 6, 4);  // state: active, sync
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < super.size(); i += 4) sum += word(super, i);
  put(super, 152, (sum & 0xffffffff) + (sum >> 32U), 4);  // sb_csum
  const Buffer bytes = device_with(super, kAt);
  write_file(folder / "member", bytes);
  const auto member = foreign::md_membership(*file_device(folder / "member"));
  ASSERT_TRUE(member);
  EXPECT_EQ(member->group, "11111111-2222-2222-3333-333344444444");
  EXPECT_EQ(member->member, "2");
  EXPECT_EQ(member->generation, 9U);
  EXPECT_EQ(member->expected, 3U);
  if (!have_program("mdadm")) return;
  const std::string says = examined(folder, bytes);
  EXPECT_NE(says.find("MD_DEVICES=3"), std::string::npos) << says;
  EXPECT_NE(says.find("MD_UUID=11111111:22222222:33333333:44444444"), std::string::npos) << says;
}

TEST(MdMember, AnythingElseIsNone) {
  const TemporaryDirectory folder;
  const auto none = [&](const Buffer& bytes) {
    write_file(folder / "member", bytes);
    return !foreign::md_membership(*file_device(folder / "member"));
  };
  EXPECT_TRUE(none(Buffer(kDevice)));
  EXPECT_TRUE(none(Buffer(4096)));
  EXPECT_TRUE(none(Buffer(0)));
  EXPECT_TRUE(none(device_with(super_1(4096, 0), 0))) << "a copy that lies elsewhere";
  // What no array has: a number of disks, and a place among the roles.
  Buffer many = super_1(4096, 0);
  put(many, 92, 0xffffffff, 4);
  put(many, 160, 0xffffffff, 4);
  write_file(folder / "member", device_with(many, 4096));
  const auto member = foreign::md_membership(*file_device(folder / "member"));
  ASSERT_TRUE(member);
  EXPECT_EQ(member->expected, 0U);
}

}  // namespace
}  // namespace peelfs::test

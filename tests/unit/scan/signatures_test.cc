// What a person is told where several signatures stand on one device.
#include <gtest/gtest.h>

#include "scan/signatures.h"

namespace peelfs {
namespace {

Identity identity_of(std::vector<Identity::Signature> signatures, const char* pttype = "",
                     unsigned partitions = 0) {
  Identity identity;
  identity.signatures = std::move(signatures);
  identity.pttype = pttype;
  identity.partitions = partitions;
  return identity;
}

std::string note(const Identity& identity, std::string_view taken) {
  const auto trouble = several_signatures(identity, taken);
  if (!trouble) return "";
  EXPECT_EQ(trouble->state, Trouble::note);
  return trouble->reason;
}

const Identity::Signature kExt{"ext4", "filesystem", 0x438};
const Identity::Signature kXfs{"xfs", "filesystem", 0};
const Identity::Signature kSecondLuks{"crypto_LUKS", "crypto", 0x4000};
const Identity::Signature kLuks{"crypto_LUKS", "crypto", 0};
const Identity::Signature kPv{"LVM2_member", "raid", 0x218};
const Identity::Signature kMd{"linux_raid_member", "raid", 0x3fff000};
const Identity::Signature kIntel{"isw_raid_member", "raid", 0x3fffc00};
const Identity::Signature kIso{"iso9660", "filesystem", 0x8001};

TEST(Signatures, OneIsNothingToSpeakOf) {
  EXPECT_EQ(note(identity_of({}), ""), "");
  EXPECT_EQ(note(identity_of({kExt}), "ext4"), "");
  EXPECT_EQ(note(identity_of({}, "gpt", 3), "gpt"), "");
  EXPECT_EQ(note(identity_of({}, "dos", 3), "dos"), "");
  EXPECT_EQ(note(identity_of({kLuks}), "crypto_LUKS"), "");
  EXPECT_EQ(note(identity_of({kSecondLuks}), "crypto_LUKS"), "");
}

TEST(Signatures, BothAreNamedAndTheOneThatIsUsed) {
  EXPECT_EQ(note(identity_of({kExt, kXfs}), "xfs"),
            "two signatures: xfs at 0x0, which is used, and ext4 at 0x438");
  EXPECT_EQ(note(identity_of({kExt, kPv}), "LVM2_member"),
            "two signatures: LVM2_member at 0x218, which is used, and ext4 at 0x438");
  EXPECT_EQ(note(identity_of({kExt}, "dos", 2), "dos"),
            "two signatures: an MBR partition table, which is used, and ext4 at 0x438");
  EXPECT_EQ(note(identity_of({kLuks}, "gpt", 2), "crypto_LUKS"),
            "two signatures: crypto_LUKS at 0x0, which is used, and a GPT");
  EXPECT_EQ(
      note(identity_of({kExt, kXfs, kPv}), "xfs"),
      "several signatures: xfs at 0x0, which is used, ext4 at 0x438 and LVM2_member at 0x218");
}

TEST(Signatures, WhatIsLeftOfLuks) {
  EXPECT_EQ(note(identity_of({kSecondLuks, kXfs}), "xfs"),
            "two signatures: xfs at 0x0, which is used, and a second LUKS2 header at 0x4000 "
            "without the first (to open that, give this device's image with --header NAME=PATH)");
}

TEST(Signatures, WhatBelongsTogether) {
  EXPECT_EQ(note(identity_of({kIso, {"udf", "filesystem", 0x8001}}), "iso9660"), "");
  EXPECT_EQ(note(identity_of({kIso}, "dos", 1), "dos"), "");
  EXPECT_EQ(note(identity_of({kIso}, "gpt", 1), "iso9660"), "");
  EXPECT_EQ(note(identity_of({kMd, kExt}, "gpt", 1), "linux_raid_member"),
            "");  // a mirror's content
  EXPECT_EQ(
      note(identity_of({{"BitLocker", "crypto", 0}, {"vfat", "filesystem", 82}}), "BitLocker"), "");
  EXPECT_EQ(note(identity_of({}, "dos", 1), "bsd"), "");  // its boot block
  EXPECT_EQ(note(identity_of({{"BitLocker", "crypto", 0}}, "dos", 1), "BitLocker"), "");
  EXPECT_EQ(note(identity_of({kExt}, "dos", 0), "ext4"), "");  // a boot loader's sector
  EXPECT_EQ(note(identity_of({kExt, {"minix", "filesystem", 0x410}}), "ext4"), "");
}

TEST(Signatures, ALeftoverOfARaid) {
  EXPECT_EQ(note(identity_of({kIntel}, "gpt", 2), "gpt"),
            "two signatures: a GPT, which is used, and isw_raid_member at 0x3fffc00");
  EXPECT_EQ(note(identity_of({kIntel, kExt}), "ext4"),
            "two signatures: ext4 at 0x438, which is used, and isw_raid_member at 0x3fffc00");
}

}  // namespace
}  // namespace peelfs

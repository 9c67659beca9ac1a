// Each way in which a LUKS2 header can be wrong.
#include <gtest/gtest.h>

#include "luks2_fixture.h"

namespace peelfs::test {
namespace {

TEST_F(Luks2Damage, SoundDiskOpens) {
  const Opened opened = try_open();
  EXPECT_FALSE(opened.trouble) << reason_of(opened);
  EXPECT_EQ(plaintext(opened).size(), 64U);
}

TEST_F(Luks2Damage, SecondaryServesWhenThePrimaryChecksumIsWrong) {
  editor_->damage(5000, Luks2Editor::primary);
  EXPECT_TRUE(probe(*editor_->device()));
  const Opened opened = try_open();
  EXPECT_EQ(plaintext(opened), sound_plaintext());
  EXPECT_TRUE(contains(reason_of(opened),
                       "note: the primary header is damaged: its sha256 checksum is wrong "
                       "(found "));
  EXPECT_TRUE(contains(reason_of(opened),
                       "the secondary header is used, nothing was repaired on the disk"));
}

TEST_F(Luks2Damage, SecondaryServesWhenThePrimaryIsGone) {
  editor_->erase(Luks2Editor::primary);
  const auto claim = probe(*editor_->device());
  ASSERT_TRUE(claim);
  EXPECT_EQ(claim->format, "crypto_LUKS");
  EXPECT_EQ(claim->label, "name");
  EXPECT_EQ(claim->uuid.size(), 36U);
  const Opened opened = try_open();
  EXPECT_EQ(plaintext(opened), sound_plaintext());
  EXPECT_TRUE(contains(reason_of(opened), "there is no magic number at 0x0"));
}

TEST_F(Luks2Damage, SecondaryServesWhenAFieldOfThePrimaryIsAbsurd) {
  const std::string sound = sound_plaintext();
  for (const auto& [field, value, size] : {std::tuple{8, 0ULL, 8},
                                           {8, ~0ULL, 8},
                                           {8, 0x5000ULL, 8},
                                           {8, 0x8000000ULL, 8},
                                           {6, 3ULL, 2},
                                           {256, 0x4000ULL, 8}}) {
    Luks2Editor editor(sound_luks2_disk());
    editor.set_be(static_cast<std::size_t>(field), value, static_cast<std::size_t>(size),
                  Luks2Editor::primary);
    const Opened opened = open(editor.device(), keys_.ring);
    EXPECT_EQ(plaintext(opened), sound) << field;
    EXPECT_TRUE(contains(reason_of(opened), "the primary header is damaged")) << field;
  }
}

TEST_F(Luks2Damage, ASecondaryOfADiskInOtherUseIsNotClaimed) {
  editor_->erase(Luks2Editor::primary);
  Identity other;
  other.type = "ext4";
  EXPECT_FALSE(probe(*editor_->device(), other));
  other = {};
  other.pttype = "gpt";
  EXPECT_FALSE(probe(*editor_->device(), other));
  other = {};
  other.type = "crypto_LUKS";
  EXPECT_TRUE(probe(*editor_->device(), other));
  // One whose checksum is wrong says nothing about the disk.
  editor_->damage(5000, Luks2Editor::secondary);
  EXPECT_FALSE(probe(*editor_->device()));
}

TEST_F(Luks2Damage, ARaidMemberIsNotTheVolume) {
  Identity raid;
  raid.type = "linux_raid_member";
  EXPECT_FALSE(probe(*editor_->device(), raid));
}

TEST_F(Luks2Damage, SecondaryDamageIsSaid) {
  editor_->damage(5000, Luks2Editor::secondary);
  const Opened opened = try_open();
  EXPECT_EQ(plaintext(opened), sound_plaintext());
  EXPECT_TRUE(
      contains(reason_of(opened), "note: the secondary header is damaged: its sha256 checksum"));
  editor_->erase(Luks2Editor::secondary);
  EXPECT_TRUE(contains(reason_of(try_open()), "there is no magic number at 0x4000"));
}

TEST_F(Luks2Damage, TheNewerCopyWins) {
  // The older copy would lead to other bytes.
  const auto misplace = [](Json& root) { root["segments"]["0"]["offset"] = "1056768"; };
  editor_->edit(misplace, Luks2Editor::secondary);
  editor_->set_be(16, 2, 8, Luks2Editor::secondary);
  editor_->set_be(16, 3, 8, Luks2Editor::primary);
  EXPECT_EQ(plaintext(try_open()), sound_plaintext());
  EXPECT_TRUE(contains(reason_of(try_open()),
                       "the secondary header is older (epoch 3 in the primary, 2 in"));
  editor_.emplace(sound_luks2_disk());
  editor_->edit(misplace, Luks2Editor::primary);
  editor_->set_be(16, 2, 8, Luks2Editor::primary);
  editor_->set_be(16, 3, 8, Luks2Editor::secondary);
  EXPECT_EQ(plaintext(try_open()), sound_plaintext());
  EXPECT_TRUE(contains(reason_of(try_open()), "the secondary header is used"));
}

TEST_F(Luks2Damage, BothCopiesDamaged) {
  editor_->damage(5000, Luks2Editor::both);
  EXPECT_TRUE(probe(*editor_->device()));
  EXPECT_TRUE(
      contains(error(),
               "damaged: no LUKS2 header is usable: the primary header is damaged: its sha256 "
               "checksum is wrong (found "));
  EXPECT_TRUE(contains(
      error(), "; the secondary header is damaged: at 0x4000 its sha256 checksum is wrong"));
  EXPECT_TRUE(contains(error(), "--header NAME=PATH"));
}

TEST_F(Luks2Damage, UnknownChecksumAlgorithm) {
  for (const char* name : {"", "nosuch", "crc32", "md5"}) {
    Luks2Editor editor(sound_luks2_disk());
    for (const std::size_t at : {std::size_t{0}, Luks2Editor::hdr_size}) {
      std::fill_n(editor.bytes().begin() + static_cast<std::ptrdiff_t>(at + 72), 32, std::byte{0});
      std::copy_n(as_bytes(name).begin(), std::string_view(name).size(),
                  editor.bytes().begin() + static_cast<std::ptrdiff_t>(at + 72));
    }
    EXPECT_TRUE(contains(error_of([&] { open(editor.device(), keys_.ring); }),
                         "its checksum algorithm is not known (found \"" + std::string(name)));
  }
}

TEST_F(Luks2Damage, JsonThatIsWrongUnderARightChecksum) {
  // In one copy: the other serves.
  editor_->set_json("{\"keyslots\":", Luks2Editor::primary);
  const Opened opened = try_open();
  EXPECT_EQ(plaintext(opened), sound_plaintext());
  EXPECT_TRUE(contains(reason_of(opened), "primary header: "));
  // In both.
  for (const std::string& text :
       {std::string("{\"keyslots\":"), std::string(), std::string("[]"), std::string("{}"),
        std::string("\x01"), std::string(12000, '['), std::string(12288, 'x')}) {
    editor_->set_json(text);
    EXPECT_TRUE(contains(error(), "damaged: LUKS header is not valid: primary header: "))
        << text.substr(0, 20);
  }
}

TEST_F(Luks2Damage, CutOff) {
  const auto at = [&](std::size_t size) {
    Buffer disk(sound_luks2_disk().begin(),
                sound_luks2_disk().begin() + static_cast<std::ptrdiff_t>(size));
    const DevicePtr device = std::make_shared<MemoryDevice>(std::move(disk));
    EXPECT_EQ(probe(*device).has_value(), size >= 8) << size;
    return error_of([&] {
      const Opened opened = open(device, keys_.ring);
      throw Error(Fault::io, reason_of(opened));
    });
  };
  EXPECT_TRUE(contains(at(8), "it is cut off (found 8 bytes, expected 4096)"));
  EXPECT_TRUE(contains(at(512), "it is cut off (found 512 bytes, expected 4096)"));
  EXPECT_TRUE(contains(at(10000), "it is cut off (found a device of 10000 bytes, expected 16384)"));
  EXPECT_TRUE(
      contains(at(20000),
               "the device ends before the encrypted data begins (found 20000 bytes, expected "
               "more than 1048576)"));
  EXPECT_TRUE(contains(at(1U << 20U), "note: this is a LUKS header without data"));
  EXPECT_TRUE(contains(at((1U << 20U) + 100), "note: "));
}

TEST_F(Luks2Damage, Segments) {
  const auto segment = [&](const Edit& edit) {
    return reason([&](Json& root) { edit(root["segments"]["0"]); });
  };
  EXPECT_TRUE(contains(
      segment([](Json& s) { s["offset"] = "99999744"; }),
      "the device ends before the encrypted data begins (found 3145728 bytes, expected more"));
  EXPECT_TRUE(contains(segment([](Json& s) { s["offset"] = "18446744073709551104"; }),
                       "the device ends before the encrypted data begins"));
  EXPECT_TRUE(contains(segment([](Json& s) { s["offset"] = "1049000"; }),
                       "Offset field has to be aligned to sector size: 512"));
  for (const char* offset : {"0", "4096", "99999999999999999999", "-512", "x"}) {
    EXPECT_NE(segment([&](Json& s) { s["offset"] = offset; }), "(opened)") << offset;
  }
  EXPECT_TRUE(contains(segment([](Json& s) { s["type"] = "linear"; }), "segment"));
  EXPECT_TRUE(contains(
      segment([](Json& s) { s["type"] = "hw-opal"; }),
      "unsupported: LUKS2 segment type cannot be read yet (found hw-opal, expected crypt)"));
  EXPECT_TRUE(contains(segment([](Json& s) { s["encryption"] = "serpent-xts-benbi"; }),
                       "the IV generator benbi is not known"));
  EXPECT_TRUE(
      contains(segment([](Json& s) { s["encryption"] = "cipher_null-ecb"; }), "cipher_null-ecb"));
  EXPECT_TRUE(contains(segment([](Json& s) {
                         s["integrity"] = {{"type", "hmac(sha256)"},
                                           {"journal_encryption", "none"},
                                           {"journal_integrity", "none"}};
                       }),
                       "dm-integrity"));
  for (const int size : {0, 1, 256, 513, 1536, 8192, 1 << 30}) {
    EXPECT_TRUE(contains(segment([&](Json& s) { s["sector_size"] = size; }), "damaged: ")) << size;
  }
  EXPECT_TRUE(contains(segment([](Json& s) { s["size"] = "1000"; }), "damaged: "));
  EXPECT_TRUE(contains(segment([](Json& s) { s["size"] = "18446744073709551104"; }), "damaged: "));
}

TEST_F(Luks2Damage, ASegmentLargerThanTheDevice) {
  editor_->edit([](Json& root) { root["segments"]["0"]["size"] = "4194304"; });
  const Opened opened = try_open();
  ASSERT_EQ(opened.devices.size(), 1U) << reason_of(opened);
  const Inner& inner = opened.devices[0];
  EXPECT_EQ(inner.device->size(), 4194304U);
  EXPECT_EQ(inner.device->sector_size(), 512U);
  ASSERT_TRUE(inner.trouble);
  EXPECT_EQ(inner.trouble->state, Trouble::damaged);
  EXPECT_TRUE(contains(inner.trouble->reason, "(found 3145728 bytes, expected at least 5242880)"));
  EXPECT_NO_THROW(read_bytes(*inner.device, 0, 2U << 20U));
  EXPECT_TRUE(contains(error_of([&] { read_bytes(*inner.device, (2U << 20U) - 512, 1024); }),
                       "the device ends before this part of the encrypted data"));
}

TEST_F(Luks2Damage, ASegmentSmallerThanTheDevice) {
  editor_->edit([](Json& root) { root["segments"]["0"]["size"] = "1048576"; });
  const Opened opened = try_open();
  ASSERT_EQ(opened.devices.size(), 1U) << reason_of(opened);
  EXPECT_FALSE(opened.devices[0].trouble);
  EXPECT_EQ(opened.devices[0].device->size(), 1048576U);
}

TEST_F(Luks2Damage, IvTweakIsAdded) {
  const Buffer sound = read_bytes(*try_open().devices.at(0).device, 8192, 4096);
  // 8 KiB further in, with an IV that is 16 sectors further on: the same bytes.
  editor_->edit([](Json& root) {
    root["segments"]["0"]["iv_tweak"] = "16";
    root["segments"]["0"]["offset"] = std::to_string((1U << 20U) + 8192);
  });
  EXPECT_EQ(read_bytes(*try_open().devices.at(0).device, 0, 4096), sound);
}

TEST_F(Luks2Damage, Reencryption) {
  const auto second = [](Json& root) {
    Json segment = root["segments"]["0"];
    root["segments"]["0"]["size"] = "1048576";
    segment["offset"] = "2097152";
    root["segments"]["1"] = segment;
    root["digests"]["0"]["segments"].push_back("1");
  };
  EXPECT_TRUE(contains(reason(second), "unsupported: LUKS2 with several data segments"));
  const auto requirement = [](const char* name) {
    return
        [name](Json& root) { root["config"]["requirements"]["mandatory"] = Json::array({name}); };
  };
  EXPECT_TRUE(contains(reason(requirement("inline-hw-tags")), "(found inline-hw-tags)"));
  EXPECT_TRUE(contains(reason(requirement("offline-reencrypt")), "(found offline-reencrypt)"));
  EXPECT_TRUE(contains(reason(requirement("online-reencrypt-v9")), "(found online-reencrypt-v9)"));
}

TEST_F(Luks2Damage, KeysizesOfAreaThatIsTooLarge) {
  EXPECT_TRUE(contains(reason([](Json& root) { root["config"]["keyslots_size"] = "99999999999"; }),
                       "damaged: "));
  EXPECT_TRUE(
      contains(reason([](Json& root) { root["config"]["json_size"] = "4096"; }), "damaged: "));
}

TEST_F(Luks2Damage, AVersionThatDoesNotExist) {
  editor_->set_be(6, 3, 2, Luks2Editor::both);
  EXPECT_TRUE(probe(*editor_->device()));
  EXPECT_TRUE(
      contains(error(), "unsupported: LUKS version is not known (found 3, expected 1 or 2)"));
}

TEST_F(Luks2Damage, NothingIsWrittenToTheDisk) {
  const TemporaryDirectory folder;
  editor_->damage(5000, Luks2Editor::primary);
  write_file(folder / "disk", editor_->bytes());
  must_run("touch -d 2020-01-01 " + (folder / "disk"));
  const std::string before = must_run("stat -c '%y %z' " + (folder / "disk"));
  EXPECT_EQ(open(file_device(folder / "disk"), keys_.ring).devices.size(), 1U);
  EXPECT_EQ(must_run("stat -c '%y %z' " + (folder / "disk")), before);
  EXPECT_EQ(read_file(folder / "disk"), editor_->bytes());
}

}  // namespace
}  // namespace peelfs::test

// Each way in which the keyslots of a LUKS2 header can be wrong, dear or of no use.
#include <gtest/gtest.h>

#include <thread>

#include "luks2_fixture.h"

namespace peelfs::test {
namespace {

using Luks2Keyslots = Luks2Damage;

TEST_F(Luks2Keyslots, AHeaderCutOffInTheKeyslots) {
  // As a detached header: the data are all there, the keyslots are not.
  Buffer disk(sound_luks2_disk().begin(), sound_luks2_disk().begin() + 100'000);
  const DevicePtr header = std::make_shared<MemoryDevice>(std::move(disk));
  const std::string text =
      error_of([&] { open(editor_->device(), keys_.ring, quick_limits(), header); });
  EXPECT_TRUE(contains(
      text,
      "keyslots 0, 1 are not tried, keyslot 0 because its area is cut off (found a device of "
      "100000 bytes, expected at least 32768 + "));
}

TEST_F(Luks2Keyslots, KeyDerivationThatIsTooDear) {
  const auto kdf = [&](const Edit& edit) {
    return reason([&](Json& root) {
      root["keyslots"].erase("1");
      root["digests"]["0"]["keyslots"] = Json::array({"0"});
      edit(root["keyslots"]["0"]["kdf"]);
    });
  };
  EXPECT_TRUE(contains(
      kdf([](Json& k) { k["memory"] = 300'000; }),
      "keyslot 0 is not tried: it demands 300000 KiB of memory for argon2id, the limit is 262144 "
      "KiB; raise it with --kdf-memory"));
  EXPECT_TRUE(
      contains(kdf([](Json& k) { k["memory"] = 2'147'483'647; }), "raise it with --kdf-memory"));
  EXPECT_TRUE(contains(kdf([](Json& k) { k["time"] = 2'000'000'000; }),
                       "it demands 2000000000 argon2id passes over 32 KiB"));
  EXPECT_TRUE(contains(kdf([](Json& k) { k["cpus"] = 1000; }), "it demands 1000 threads"));
  EXPECT_NE(kdf([](Json& k) { k["type"] = "scrypt"; }).find("scrypt"), std::string::npos);
  const auto pbkdf2 = [&](const Edit& edit) {
    return reason([&](Json& root) {
      root["keyslots"].erase("0");
      root["digests"]["0"]["keyslots"] = Json::array({"1"});
      edit(root["keyslots"]["1"]["kdf"]);
    });
  };
  EXPECT_TRUE(contains(
      pbkdf2([](Json& k) { k["iterations"] = 2'000'000'000; }),
      "keyslot 1 is not tried: it demands 2000000000 PBKDF2 iterations, the limit is 100000000; "
      "raise it with --kdf-iterations"));
  EXPECT_TRUE(
      contains(reason([](Json& root) { root["digests"]["0"]["iterations"] = 2'000'000'000; }),
               "checking a key of this LUKS header demands too many iterations (found 2000000000"));
}

// LUKS2 has up to 32 of them; what holds for all is said once.
TEST_F(Luks2Keyslots, AReasonOfManySlotsIsSaidOnce) {
  const std::string text = reason([](Json& root) {
    root["config"]["keyslots_size"] = std::to_string(32 * 4096);
    Json slot = root["keyslots"]["0"];
    slot["area"]["size"] = "4096";
    root["keyslots"] = Json::object();
    root["digests"]["0"]["keyslots"] = Json::array();
    for (int number = 0; number < 32; ++number) {
      slot["type"] = number == 17 ? "other" : "future";
      slot["area"]["offset"] = std::to_string(32768 + number * 4096);
      root["keyslots"][std::to_string(number)] = slot;
      root["digests"]["0"]["keyslots"].push_back(std::to_string(number));
    }
  });
  EXPECT_EQ(text,
            "unsupported: keyslots 0-16, 18-31 are not tried, each because its type future is not "
            "known; keyslot 17 is not tried: its type other is not known");
}

// Each slot is within the limit, all of them together would take hours.
TEST_F(Luks2Keyslots, ManyDearSlots) {
  editor_->edit([](Json& root) {
    root["config"]["keyslots_size"] = "1015808";
    root["keyslots"].erase("0");
    Json slot = root["keyslots"]["1"];
    root["keyslots"].erase("1");
    slot["key_size"] = slot["area"]["key_size"] = 32;
    slot["area"]["size"] = "131072";
    root["digests"]["0"]["keyslots"] = Json::array();
    for (int number = 0; number < 6; ++number) {
      slot["area"]["offset"] = std::to_string(32768 + number * 131072);
      slot["kdf"]["iterations"] = 1000 + number;
      root["keyslots"][std::to_string(number)] = slot;
      root["digests"]["0"]["keyslots"].push_back(std::to_string(number));
    }
  });
  Limits limits = quick_limits();
  limits.kdf_iterations = 1010;
  const Keys wrong{"wrong"};
  const std::string text = reason_of(open(editor_->device(), wrong.ring, limits));
  EXPECT_TRUE(contains(text,
                       "(keyslots 4, 5 are not tried, keyslot 4 because with the keyslots before "
                       "it, it demands 5010 "
                       "iterations, the limit is 4 times 1010; raise it with --kdf-iterations)"));
  limits.kdf_iterations = 10'000;
  EXPECT_EQ(reason_of(open(editor_->device(), wrong.ring, limits)).find("not tried"),
            std::string::npos);
}

TEST_F(Luks2Keyslots, ADearSlotDoesNotHideAnother) {
  editor_->edit([](Json& root) {
    root["keyslots"]["0"]["kdf"]["memory"] = 300'000;
    root["keyslots"]["0"]["kdf"]["time"] = 1;
  });
  EXPECT_EQ(plaintext(try_open()), sound_plaintext());
  const Keys wrong{"wrong"};
  EXPECT_TRUE(contains(
      reason_of(open(editor_->device(), wrong.ring)),
      "locked: the key given does not open it (keyslot 0 is not tried: it demands 300000 KiB"));
  Limits more = quick_limits();
  more.kdf_memory = 320ULL << 20;
  EXPECT_EQ(reason_of(open(editor_->device(), wrong.ring, more)).find("not tried"),
            std::string::npos);
}

TEST_F(Luks2Keyslots, Keyslots) {
  const auto slot = [&](const Edit& edit) {
    return reason([&](Json& root) {
      edit(root["keyslots"]["0"]);
      edit(root["keyslots"]["1"]);
    });
  };
  // What libcryptsetup refuses makes the header invalid; what it lets pass is ours to refuse.
  for (const char* offset : {"0", "16384", "99999999", "18446744073709551104", "-4096", "x"}) {
    EXPECT_TRUE(contains(slot([&](Json& s) { s["area"]["offset"] = offset; }), "damaged: "))
        << offset;
  }
  EXPECT_TRUE(contains(slot([](Json& s) { s["area"]["size"] = "99999999999"; }), "damaged: "));
  EXPECT_TRUE(contains(slot([](Json& s) { s["area"]["encryption"] = "serpent-xts-plain64"; }),
                       "cipher serpent-xts-plain64 of the keyslot cannot be decrypted yet"));
  EXPECT_TRUE(
      contains(slot([](Json& s) { s["area"]["encryption"] = "aes-xts-random"; }), "random"));
  for (const int size : {0, -1, 1, 63, 4096, 2'000'000'000}) {
    const std::string text = slot([&](Json& s) { s["key_size"] = size; });
    EXPECT_NE(text, "(opened)") << size;
    EXPECT_EQ(text.find("wrong"), std::string::npos) << text;
    EXPECT_NE(slot([&](Json& s) { s["area"]["key_size"] = size; }), "(opened)") << size;
  }
  EXPECT_TRUE(contains(slot([](Json& s) { s["type"] = "future"; }),
                       "keyslots 0, 1 are not tried, each because its type future is not known"));
  EXPECT_TRUE(contains(slot([](Json& s) { s["af"]["hash"] = "nosuch"; }),
                       "keyslot 1 failed: Hash algorithm nosuch is not available"));
  EXPECT_NE(slot([](Json& s) { s.erase("area"); }), "(opened)");
  EXPECT_NE(slot([](Json& s) { s.erase("kdf"); }), "(opened)");
}

TEST_F(Luks2Keyslots, AKeyslotOfAnotherKeyIsNotTheVolumes) {
  // Both slots open, but the digest says that they are of no segment.
  EXPECT_NE(reason([](Json& root) { root["digests"]["0"]["segments"] = Json::array(); }),
            "(opened)");
  EXPECT_TRUE(contains(reason([](Json& root) { root["digests"]["0"]["keyslots"] = Json::array(); }),
                       "Keyslot 0 is not assigned to exactly 1 digest"));
}

TEST_F(Luks2Keyslots, ADamagedKeyslotAreaIsNotAKey) {
  std::fill_n(editor_->bytes().begin() + 32768, 700'000, std::byte{0x77});
  EXPECT_TRUE(contains(reason_of(try_open()), "locked: the key given does not open it"));
}

TEST_F(Luks2Keyslots, ThreadsUnlockAtOnce) {
  const std::string sound = sound_plaintext();
  std::vector<std::string> digests(6);
  std::vector<std::thread> threads;
  for (std::string& digest : digests) {
    threads.emplace_back([&] { digest = plaintext(open(editor_->device(), keys_.ring)); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& digest : digests) EXPECT_EQ(digest, sound);
}

}  // namespace
}  // namespace peelfs::test

// The seeds of fuzz_luks open: a fuzzer that never gets past the keyslots looks at half of the
// layer. They are also volumes that another implementation of LUKS (seeds_luks.py) encrypted.
#include <gtest/gtest.h>

#include "luks_support.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

Opened open_seed(const std::string& name) {
  Buffer disk = read_file(source_folder() + "/tests/fuzz/corpus/luks/" + name);
  disk.resize(3U << 20U);
  const Keys keys{"fuzz"};
  return open(std::make_shared<MemoryDevice>(std::move(disk)), keys.ring);
}

TEST(LuksSeeds, Open) {
  for (const char* name : {"luks1-xts", "luks1-essiv", "luks2-512", "luks2-4096", "luks2-too-large",
                           "luks2-secondary"}) {
    const Opened opened = open_seed(name);
    EXPECT_EQ(opened.devices.size(), 1U) << name << ": " << reason_of(opened);
  }
}

}  // namespace
}  // namespace peelfs::test

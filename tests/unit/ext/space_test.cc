// Files of ext filesystems whose device runs out of space.
#include <random>

#include "peelfs/partial_write.h"
#include "support/scarce.h"
#include "write_support.h"

namespace peelfs::test {
namespace {

TEST_F(ExtWrite, WhatFindsNoSpaceHasNotChanged) {
  for (const std::string& kind : kinds()) {
    const auto storage = std::make_shared<Scarcity>();
    storage->put(make(kind));
    unsigned refused = 0;
    for (const std::string name : {"sparse.img", "many.img"}) {
      SCOPED_TRACE(kind + " " + name);
      Buffer whole;
      {
        const SeenImage seen(device_on(storage));
        const DevicePtr file = seen.at(name).device;
        whole = read_bytes(*file, 0, file->size());
        std::mt19937_64 random(name.size());
        for (unsigned i = 0; i < 150; ++i) {
          if (i % 4 == 0) storage->allow(random() % 20);
          const std::uint64_t offset = random() % whole.size();
          const Buffer bytes =
              pattern(std::min<std::uint64_t>(whole.size() - offset, 1 + random() % 70'000), i);
          std::size_t written = 0;
          try {
            written = write_some(*file, offset, bytes);
          } catch (const Error& error) {
            ASSERT_EQ(error.error_number(), ENOSPC) << error.what();
          }
          if (written < bytes.size()) ++refused;
          std::copy_n(bytes.begin(), written, whole.begin() + static_cast<std::ptrdiff_t>(offset));
          ASSERT_TRUE(read_bytes(*file, 0, whole.size()) == whole) << i;
          // All writes that were accepted can be made durable.
          if (i % 10 == 9) file->flush();
        }
        file->flush();
      }
      put_image(storage->bytes());
      EXPECT_EQ(fsck("-fn"), 0) << said_;
      EXPECT_TRUE(dump(name) == whole);
      EXPECT_TRUE(dump("other.img") == pattern(300'000, 5));
    }
    EXPECT_GT(refused, 0U) << kind;
  }
}

}  // namespace
}  // namespace peelfs::test

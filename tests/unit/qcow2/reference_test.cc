// Backing files and external data files: what may be named, what happens when it cannot be had.
#include <gtest/gtest.h>

#include "image_maker.h"
#include "qcow2/read/open.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

using namespace std::string_literals;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class ReferenceTest : public ::testing::Test {
 protected:
  void SetUp() override { NEED_PROGRAM("qemu-img"); }
  std::string in(const std::string& command) {
    return must_run("cd '" + directory_.path() + "' && " + command);
  }
  std::string path(const std::string& name) const { return directory_ / name; }

  /// An image whose first 64 KiB are its own (7), the rest its backing file's.
  void make_overlay(const std::string& name, const std::string& backing,
                    const std::string& format) {
    in("qemu-img create -q -f qcow2 " + name +
       " 1M && qemu-io -c 'write -P 7 0 64k' -c "
       "'write -z 64k 64k' " +
       name + " && qemu-img rebase -u -b '" + backing + "' -F " + format + " " + name);
  }
  /// Expects that the image opens, that its own clusters are readable and the others fail with
  /// `parts`.
  static void expect_degraded(const OpenedImage& image, const std::vector<std::string>& parts,
                              const char* state = "degraded") {
    const Inner& disk = image.opened.devices.at(0);
    ASSERT_TRUE(disk.trouble);
    EXPECT_EQ(state_name(disk.trouble->state), state);
    EXPECT_EQ(read_bytes(*disk.device, 0, 65536), Buffer(65536, std::byte{7}));
    EXPECT_EQ(read_bytes(*disk.device, 65536, 65536), Buffer(65536));
    const std::string message = read_error(*disk.device, 131072);
    for (const std::string& part : parts) {
      EXPECT_TRUE(contains(disk.trouble->reason, part)) << disk.trouble->reason;
      EXPECT_TRUE(contains(message, part)) << message;
    }
  }
  TemporaryDirectory directory_;
};

TEST_F(ReferenceTest, MissingBackingFile) {
  make_overlay("top.qcow2", "gone.qcow2", "qcow2");
  expect_degraded(open_qcow2(path("top.qcow2")), {"backing file 'gone.qcow2'", "cannot be used"});
  try {
    read_bytes(open_qcow2(path("top.qcow2")).disk(), 131072, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.error_number(), EIO);
    EXPECT_EQ(error.fault(), Fault::missing);
  }
}

TEST_F(ReferenceTest, AnImageInsideOfADiskNamesNothing) {
  make_overlay("top.qcow2", "base.raw", "raw");
  in("truncate -s 1M base.raw");
  expect_degraded(open_qcow2(file_device(path("top.qcow2")), nullptr),
                  {"backing file 'base.raw'", "inside of another disk", "may not name host files"},
                  "denied");
}

TEST_F(ReferenceTest, PseudoProtocols) {
  EXPECT_EQ(qcow2::referenced_path("base.qcow2"), "base.qcow2");
  EXPECT_EQ(qcow2::referenced_path("/a/b:c.qcow2"), "/a/b:c.qcow2");
  EXPECT_EQ(qcow2::referenced_path("./b:c.qcow2"), "./b:c.qcow2");
  EXPECT_EQ(qcow2::referenced_path("file:base.qcow2"), "base.qcow2");
  for (const std::string name :
       {"nbd://host:10809/disk", "json:{\"driver\":\"raw\"}", "nbd:unix:/run/x",
        "host_device:/dev/sda", "a:b", "file:", ":x", "fat:rw:/"}) {
    try {
      qcow2::referenced_path(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::unsupported);
      EXPECT_TRUE(contains(error.what(), "'" + name + "' is not the name of a file"))
          << error.what();
      EXPECT_TRUE(contains(error.what(), "protocol '" + name.substr(0, name.find(':')) + "'"))
          << error.what();
    }
  }
}

TEST_F(ReferenceTest, ProtocolAsBackingFile) {
  make_overlay("top.qcow2", "nbd://localhost:1/x", "raw");
  expect_degraded(open_qcow2(path("top.qcow2")),
                  {"nbd://localhost:1/x", "protocol 'nbd'", "qemu-img rebase"});
}

TEST_F(ReferenceTest, BackingFileOfAnotherFormat) {
  in("qemu-img create -q -f vmdk base.vmdk 1M");
  make_overlay("top.qcow2", "base.vmdk", "vmdk");
  expect_degraded(open_qcow2(path("top.qcow2")),
                  {"format 'vmdk'", "expected raw, qcow2, or another"});
  // Its format is recognised, too, where none is stored: to take it as raw would be wrong bytes.
  Spoiled image(path("top.qcow2"));
  std::size_t at = 104;
  while (image.get32(at) != 0xe2792aca) at += 8;
  image.put32(at, 0x12345678);
  for (const char* format : {"vmdk", "vdi", "vhdx", "qed", "parallels"}) {
    in("qemu-img create -q -f " + std::string(format) + " base.vmdk 1M");
    expect_degraded(open_qcow2(image.device(), references_beneath(directory_.path())),
                    {"format '" + std::string(format) + "'", "expected raw, qcow2, or another"});
  }
}

TEST_F(ReferenceTest, RawThatLooksLikeQcow2StaysRawWhenSaid) {
  in("qemu-img create -q -f qcow2 base.raw 64M");
  make_overlay("top.qcow2", "base.raw", "raw");
  const OpenedImage image = open_qcow2(path("top.qcow2"));
  EXPECT_FALSE(image.opened.devices.at(0).trouble);
  Buffer expected = read_file(path("base.raw"));
  expected.resize(262144);
  EXPECT_EQ(read_bytes(image.disk(), 131072, 131072),
            Buffer(expected.begin() + 131072, expected.end()));
}

TEST_F(ReferenceTest, BackingFileThatIsNotWhatTheImageSays) {
  in("truncate -s 1M base.raw");
  make_overlay("top.qcow2", "base.raw", "qcow2");
  expect_degraded(open_qcow2(path("top.qcow2")), {"base.raw", "no magic number"});
}

TEST_F(ReferenceTest, DamagedBackingFile) {
  in("qemu-img create -q -f qcow2 base.qcow2 1M");
  Spoiled base(path("base.qcow2"));
  base.put32(20, 99);
  write_file(path("base.qcow2"), base.bytes());
  make_overlay("top.qcow2", "base.qcow2", "qcow2");
  expect_degraded(open_qcow2(path("top.qcow2")), {"base.qcow2", "cluster_bits", "found 99"});
}

TEST_F(ReferenceTest, MissingLinkFurtherDown) {
  make_overlay("middle.qcow2", "gone.raw", "raw");
  make_overlay("top.qcow2", "middle.qcow2", "qcow2");
  const OpenedImage image = open_qcow2(path("top.qcow2"));
  expect_degraded(image, {"backing file 'gone.raw'"});
  EXPECT_TRUE(contains(image.opened.devices[0].trouble->reason, "backing file middle.qcow2: "));
}

TEST_F(ReferenceTest, Loops) {
  make_overlay("self.qcow2", "self.qcow2", "qcow2");
  expect_degraded(open_qcow2(path("self.qcow2")), {"the backing chain is a loop", "self.qcow2"});
  make_overlay("a.qcow2", "b.qcow2", "qcow2");
  make_overlay("b.qcow2", "c.qcow2", "qcow2");
  make_overlay("c.qcow2", "./b.qcow2", "qcow2");
  expect_degraded(open_qcow2(path("a.qcow2")), {"the backing chain is a loop"});
  in("ln b.qcow2 hard.qcow2");
  make_overlay("c.qcow2", "hard.qcow2", "qcow2");
  expect_degraded(open_qcow2(path("a.qcow2")), {"loop", "hard.qcow2"});
}

/// A chain without end: every name leads to another copy of the image in memory.
class Endless : public References {
 public:
  explicit Endless(Buffer bytes) : bytes_(std::move(bytes)) {}
  Found open(std::string_view name) const override {
    return {std::make_shared<MemoryDevice>(bytes_), std::make_shared<Endless>(bytes_),
            std::string(name)};
  }

 private:
  const Buffer bytes_;
};

TEST_F(ReferenceTest, EndlessChain) {
  in("qemu-img create -q -f qcow2 -o cluster_size=512 -u -b next.qcow2 -F qcow2 top.qcow2 16k");
  const Buffer bytes = read_file(path("top.qcow2"));
  const OpenedImage image =
      open_qcow2(std::make_shared<MemoryDevice>(bytes), std::make_shared<Endless>(bytes));
  ASSERT_TRUE(image.opened.devices.at(0).trouble);
  EXPECT_TRUE(contains(image.opened.devices[0].trouble->reason, "more than 256 images"));
  EXPECT_TRUE(contains(read_error(image.disk(), 0), "chain is too long"));
}

TEST_F(ReferenceTest, LongChainReads) {
  in("truncate -s 16k link000 && printf x | dd of=link000 conv=notrunc status=none");
  in("qemu-img create -q -f qcow2 -u -o cluster_size=512 -b link999 -F qcow2 last 16k");
  Spoiled link(path("last"));
  const std::size_t digits = link.get64(8) + 4;
  for (std::uint64_t i = 1; i <= 200; ++i) {
    if (i == 1) {
      in("qemu-img create -q -f qcow2 -o cluster_size=512 -b link000 -F raw link001");
      continue;
    }
    link.put8(digits, static_cast<std::uint8_t>('0' + (i - 1) / 100));
    link.put8(digits + 1, static_cast<std::uint8_t>('0' + (i - 1) / 10 % 10));
    link.put8(digits + 2, static_cast<std::uint8_t>('0' + (i - 1) % 10));
    const std::string number = std::to_string(1000 + i).substr(1);
    write_file(path("link" + number), link.bytes());
  }
  const OpenedImage image = open_qcow2(path("link200"));
  EXPECT_FALSE(image.opened.devices.at(0).trouble);
  EXPECT_EQ(read_bytes(image.disk(), 0, 2), (Buffer{std::byte{'x'}, std::byte{0}}));
}

TEST_F(ReferenceTest, TroublesOfTheChainAreSaid) {
  in("qemu-img create -q -f qcow2 base.qcow2 1M");
  Spoiled base(path("base.qcow2"));
  base.put64(72, 1);
  write_file(path("base.qcow2"), base.bytes());
  make_overlay("top.qcow2", "base.qcow2", "qcow2");
  const OpenedImage image = open_qcow2(path("top.qcow2"));
  ASSERT_TRUE(image.opened.devices.at(0).trouble);
  EXPECT_EQ(image.opened.devices[0].trouble->state, Trouble::note);
  EXPECT_TRUE(contains(image.opened.devices[0].trouble->reason,
                       "backing file base.qcow2: the image is marked dirty"));
}

TEST_F(ReferenceTest, MissingDataFile) {
  in("qemu-img create -q -f qcow2 -o data_file=data top.qcow2 1M && qemu-io -c 'write -P 7 0 64k' "
     "-c 'write -z 64k 64k' top.qcow2 && rm data");
  const OpenedImage image = open_qcow2(path("top.qcow2"));
  ASSERT_TRUE(image.opened.devices.at(0).trouble);
  EXPECT_EQ(image.opened.devices[0].trouble->state, Trouble::degraded);
  EXPECT_TRUE(contains(image.opened.devices[0].trouble->reason, "data file 'data'"));
  EXPECT_TRUE(contains(read_error(image.disk(), 0), "data file 'data'"));
  EXPECT_EQ(read_bytes(image.disk(), 65536, 512), Buffer(512));
}

TEST_F(ReferenceTest, DataFileThatIsNotNamed) {
  in("qemu-img create -q -f qcow2 -o data_file=data top.qcow2 1M && qemu-io -c 'write -P 7 0 64k' "
     "top.qcow2");
  Spoiled image(path("top.qcow2"));
  std::size_t at = 104;
  while (image.get32(at) != 0x44415441) at += 8;
  image.put32(at, 0x12345678);
  const OpenedImage opened = open_qcow2(image.device(), references_beneath(directory_.path()));
  EXPECT_TRUE(contains(read_error(opened.disk(), 0), "needs an external data file but names none"));
}

TEST_F(ReferenceTest, DataFileOffsetsAndCompression) {
  in("qemu-img create -q -f qcow2 -o data_file=data top.qcow2 1M && qemu-io -c 'write -P 7 0 256k' "
     "top.qcow2");
  const auto references = references_beneath(directory_.path());
  Spoiled moved(path("top.qcow2"));
  moved.put64(moved.l2_entry(0, 1), moved.get64(moved.l2_entry(0, 2)));
  const OpenedImage image = open_qcow2(moved.device(), references);
  EXPECT_TRUE(contains(read_error(image.disk(), 65536), "elsewhere than in the guest"));
  EXPECT_TRUE(contains(read_error(image.disk(), 65536), "host offset 0x20000"));
  EXPECT_EQ(read_bytes(image.disk(), 0, 1).at(0), std::byte{7});
  Spoiled compressed(path("top.qcow2"));
  compressed.put64(compressed.l2_entry(0, 1), 1ULL << 62U | 65536 * 3);
  EXPECT_TRUE(contains(read_error(open_qcow2(compressed.device(), references).disk(), 65536),
                       "compressed cluster"));
}

TEST_F(ReferenceTest, DataFileThatIsTooShort) {
  in("qemu-img create -q -f qcow2 -o data_file=data top.qcow2 1M && qemu-io -c 'write -P 7 0 256k' "
     "top.qcow2 && truncate -s 70000 data");
  const OpenedImage image = open_qcow2(path("top.qcow2"));
  EXPECT_EQ(read_bytes(image.disk(), 65536, 1).at(0), std::byte{7});
  EXPECT_TRUE(contains(read_error(image.disk(), 131072), "data's end at 0x11170"));
}

}  // namespace
}  // namespace peelfs::test

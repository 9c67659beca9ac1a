// Ranges known to be missing, by the real program: a truncated image, a physical volume that is not
// there. However large they are: one line, one hole, and soon.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/program.h"
#include "support/fixtures.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;
constexpr std::uint64_t tib = 1ULL << 40;

class Gone : public ::testing::Test {
 protected:
  /// A GPT disk whose partition 1 begins at 1 MiB and has `size` bytes, cut off behind 8 MiB.
  std::string truncated(std::uint64_t size) {
    const std::string path = folder_ / "cut.img";
    must_run("truncate -s " + std::to_string(size + 4 * mib) + " '" + path +
             "' && printf 'label: gpt\\nstart=2048, size=" + std::to_string(size / 512) +
             "\\n' | PATH=$PATH:/usr/sbin:/sbin sfdisk -q '" + path + "' && truncate -s 8M '" +
             path + "' && dd status=none if=/dev/urandom of='" + path +
             "' bs=1M seek=1 count=7 conv=notrunc");
    return path;
  }

  /// A qcow2 image of `size` bytes of which `count` L1 entries from `first` on lead out of the
  /// file.
  std::string tables_led_out(std::uint64_t size, std::size_t first, std::size_t count) {
    const std::string path = folder_ / "led.qcow2";
    must_run("qemu-img create -q -f qcow2 '" + path + "' " + std::to_string(size));
    Buffer bytes = read_file(path);
    std::uint64_t l1 = 0;
    for (std::size_t i = 40; i < 48; ++i) l1 = l1 << 8U | std::to_integer<std::uint64_t>(bytes[i]);
    const std::uint64_t end = l1 + (first + count) * 8;
    if (bytes.size() < end) bytes.resize(end);
    for (std::size_t i = first; i < first + count; ++i) bytes.at(l1 + i * 8 + 2) = std::byte{1};
    write_file(path, bytes);
    return path;
  }

  static Outputs soon(const std::string& arguments) {
    const auto begin = std::chrono::steady_clock::now();
    Outputs outputs = peelfs_apart(arguments);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20)) << arguments;
    return outputs;
  }

  static std::size_t count(const std::string& text, const std::string& what) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) {
      ++found;
    }
    return found;
  }

  TemporaryDirectory folder_;
};

TEST_F(Gone, MapOfAPartitionThatIsCutOffIsTwoLines) {
  SKIP_WITHOUT("sfdisk");
  const Outputs map = soon("map --json '" + truncated(3 * tib) + "' cutp1");
  EXPECT_EQ(map.exit_code, 1);
  const auto runs = nlohmann::json::parse(map.output);
  ASSERT_EQ(runs.size(), 2U) << map.output.substr(0, 2000);
  EXPECT_EQ(runs[0]["type"], "data");
  EXPECT_EQ(runs[0]["length"], 7 * mib);
  EXPECT_EQ(runs[1]["type"], "unreadable");
  EXPECT_EQ(runs[1]["start"], 7 * mib);
  EXPECT_EQ(runs[1]["length"], 3 * tib - 7 * mib);
}

TEST_F(Gone, ExportOfAPartitionThatIsCutOffIsOneHole) {
  SKIP_WITHOUT("sfdisk");
  const std::string image = truncated(3 * tib);
  const std::string copy = folder_ / "copy";
  const Outputs exported = soon("export '" + image + "' cutp1 '" + copy + "'");
  EXPECT_EQ(exported.exit_code, 1) << exported.errors;
  EXPECT_EQ(count(exported.errors, "unreadable: offset"), 1U) << exported.errors;
  EXPECT_NE(exported.errors.find(std::to_string(3 * tib - 7 * mib) + " bytes in 1 place could"),
            std::string::npos)
      << exported.errors;
  struct stat status {};
  ASSERT_EQ(::stat(copy.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(3 * tib));
  EXPECT_LT(status.st_blocks, static_cast<blkcnt_t>(16 * mib / 512)) << "a hole";
  must_run("cmp -n 7340032 -i 0:1048576 '" + copy + "' '" + image + "'");
}

TEST_F(Gone, EncryptedBytesOfWhatIsMissingAreMissing) {
  SKIP_WITHOUT("sfdisk");
  SKIP_WITHOUT("qemu-img");
  const std::string image = truncated(tib);
  write_file(folder_ / "key", as_bytes("correct horse"));
  must_run("qemu-img create -q --object secret,id=k,file='" + (folder_ / "key") +
           "' -f luks -o key-secret=k,iter-time=20 '" + (folder_ / "luks") +
           "' 1M && dd status=none conv=notrunc bs=1M seek=1 if='" + (folder_ / "luks") + "' of='" +
           image + "'");
  const std::string options = "--key-file '" + (folder_ / "key") + "' ";
  const Outputs map = soon("map --json " + options + "'" + image + "' cutp1_crypt");
  EXPECT_EQ(map.exit_code, 1) << map.errors;
  const auto runs = nlohmann::json::parse(map.output);
  ASSERT_EQ(runs.size(), 2U) << map.output.substr(0, 2000);
  EXPECT_EQ(runs[0]["type"], "computed");
  EXPECT_EQ(runs[1]["type"], "unreadable");
  const Outputs exported =
      soon("export " + options + "'" + image + "' cutp1_crypt '" + (folder_ / "copy") + "'");
  EXPECT_EQ(exported.exit_code, 1) << exported.errors;
  EXPECT_EQ(count(exported.errors, "unreadable: offset"), 1U) << exported.errors;
  struct stat status {};
  ASSERT_EQ(::stat((folder_ / "copy").c_str(), &status), 0);
  EXPECT_LT(status.st_blocks, static_cast<blkcnt_t>(32 * mib / 512)) << "a hole";
}

TEST_F(Gone, AVolumeWithAPartOnAMissingPhysicalVolume) {
  const Outputs map = soon("map --json '" + fixture_image("part-a") + "' vgpart-split");
  EXPECT_EQ(map.exit_code, 1) << map.errors;
  const auto runs = nlohmann::json::parse(map.output);
  EXPECT_EQ(std::count_if(runs.begin(), runs.end(),
                          [](const auto& run) { return run["type"] == "unreadable"; }),
            1)
      << map.output.substr(0, 2000);
  const Outputs exported =
      soon("export '" + fixture_image("part-a") + "' vgpart-split '" + (folder_ / "copy") + "'");
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_EQ(count(exported.errors, "unreadable: offset"), 1U) << exported.errors;
}

TEST_F(Gone, ADiskOfWhichNoTableCanBeFollowed) {
  SKIP_WITHOUT("qemu-img");
  const std::string image = tables_led_out(8 * tib, 0, 16384);
  const Outputs map = soon("map --json '" + image + "' led");
  EXPECT_EQ(map.exit_code, 1) << map.errors;
  const auto runs = nlohmann::json::parse(map.output);
  ASSERT_EQ(runs.size(), 1U) << map.output.substr(0, 2000);
  EXPECT_EQ(runs[0]["type"], "unreadable");
  EXPECT_EQ(runs[0]["length"], 8 * tib);
}

TEST_F(Gone, OneTableThatCannotBeFollowedIsOneHole) {
  SKIP_WITHOUT("qemu-img");
  const std::uint64_t gib = 1024 * mib;
  const std::string image = tables_led_out(64 * gib, 64, 1);
  const Outputs map = soon("map --json '" + image + "' led");
  EXPECT_EQ(map.exit_code, 1) << map.errors;
  const auto runs = nlohmann::json::parse(map.output);
  ASSERT_EQ(runs.size(), 3U) << map.output.substr(0, 2000);
  EXPECT_EQ(runs[1]["type"], "unreadable");
  EXPECT_EQ(runs[1]["start"], 32 * gib);
  EXPECT_EQ(runs[1]["length"], 512 * mib);
  const std::string copy = folder_ / "copy";
  const Outputs exported = soon("export '" + image + "' led '" + copy + "'");
  EXPECT_EQ(exported.exit_code, 1) << exported.errors;
  EXPECT_EQ(count(exported.errors, "unreadable: offset"), 1U) << exported.errors;
  EXPECT_NE(exported.errors.find(std::to_string(512 * mib) + " bytes in 1 place could"),
            std::string::npos)
      << exported.errors;
  struct stat status {};
  ASSERT_EQ(::stat(copy.c_str(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(64 * gib));
  EXPECT_LT(status.st_blocks, static_cast<blkcnt_t>(mib / 512)) << "a hole";
}

TEST_F(Gone, StoppingAtTheFirstErrorStopsThere) {
  SKIP_WITHOUT("sfdisk");
  const Outputs exported =
      soon("export --stop-on-error '" + truncated(tib) + "' cutp1 '" + (folder_ / "copy") + "'");
  EXPECT_EQ(exported.exit_code, 1);
  EXPECT_NE(exported.errors.find("is incomplete"), std::string::npos) << exported.errors;
}

TEST(FileSizeLimit, IsAFailureThatIsSaidAndNotASignal) {
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(4 * mib, 1));
  const CommandResult result = run("ulimit -f 1024; " PEELFS_PROGRAM " export raw:'" +
                                   (folder / "disk.img") + "' disk '" + (folder / "copy") + "'");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_NE(result.output.find("File too large"), std::string::npos) << result.output;
}

}  // namespace
}  // namespace peelfs::test

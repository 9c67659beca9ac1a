// Checkpoints where overlays cannot grow any more: by a limit on how long a file may become, set
// just behind the overlay, a little further, and so on.
#include "overlays.h"

namespace peelfs::test {
namespace {

class FullOverlay : public Overlays {
 protected:
  /// `peelfs VERB --overlay ... MORE` that can make no file longer than `bytes`.
  CommandResult limited(std::uint64_t bytes, const std::string& verb,
                        const std::string& more) const {
    return run("trap '' XFSZ; ulimit -f " + std::to_string(bytes / 512) + "; " +
               std::string(PEELFS_PROGRAM) + " " + verb + " --overlay " + ov_ + " " + more);
  }
  static std::string image(const std::string& overlay) { return sha256(read_file(overlay)); }
  std::string content(const std::string& overlay) const {
    must_run("qemu-img convert -U -O raw " + overlay + " " + (folder_ / "raw"));
    return sha256(read_file(folder_ / "raw"));
  }
  /// Tries until it succeeds: each refused attempt must leave every overlay clean.
  unsigned refused_until_it_succeeds(const std::vector<std::string>& overlays,
                                     const std::string& verb, const std::string& name) const {
    std::uint64_t longest = 0;
    std::vector<std::string> before;
    for (const std::string& overlay : overlays) {
      longest = std::max<std::uint64_t>(longest, fs::file_size(overlay));
      before.push_back(content(overlay));
    }
    unsigned refused = 0;
    for (std::uint64_t limit = round_down(longest, 512); limit < longest + (4U << 20U);
         limit += 32768) {
      SCOPED_TRACE("no file of more than " + std::to_string(limit) + " bytes");
      const CommandResult result = limited(limit, verb, name);
      for (const std::string& overlay : overlays) {
        const CommandResult check = run("qemu-img check -q " + overlay + " 2>&1");
        EXPECT_EQ(check.exit_code, 0) << overlay << ": " << check.output << result.output;
      }
      if (result.exit_code == 0) return refused;
      ++refused;
      EXPECT_TRUE(contains(result.output, "nothing is changed")) << result.output;
      const std::size_t named = result.output.find(overlays.back());
      EXPECT_EQ(result.output.find(overlays.back(), named + 1), std::string::npos) << result.output;
      for (std::size_t i = 0; i < overlays.size(); ++i) EXPECT_EQ(content(overlays[i]), before[i]);
      if (::testing::Test::HasFailure()) return refused;
    }
    ADD_FAILURE() << "it never succeeds";
    return refused;
  }
};

TEST_F(FullOverlay, ACheckpointIsOfAllOverlaysOrOfNone) {
  const std::string second = folder_ / "second.img";
  make_disk(second);
  const std::string both = disk_ + " " + second;
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + both + " " + at_);
  // The second overlay is the longer one, and the one that reaches the limit.
  must_run("printf MARK | dd of=" + at_ + "/disk bs=1 seek=5000 conv=notrunc,fsync status=none");
  must_run("head -c 300000 /dev/urandom | dd of=" + at_ +
           "/second bs=1M seek=1 conv=notrunc,fsync status=none");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  const std::vector<std::string> overlays{ov_ + "/disk.qcow2", ov_ + "/second.qcow2"};
  EXPECT_GT(refused_until_it_succeeds(overlays, "checkpoint", "one"), 0U);
  for (const std::string& overlay : overlays) {
    EXPECT_TRUE(contains(must_run("qemu-img snapshot -l " + overlay), " one ")) << overlay;
  }
  const std::string then = content(overlays[1]);

  // It can be mounted, changed, and gone back, with as little space.
  must_run(std::string(PEELFS_PROGRAM) + " --overlay " + ov_ + " " + both + " " + at_);
  must_run("head -c 700000 /dev/urandom | dd of=" + at_ +
           "/second bs=1M seek=1 conv=notrunc,fsync status=none");
  must_run(std::string(PEELFS_PROGRAM) + " umount " + at_);
  EXPECT_NE(content(overlays[1]), then);
  refused_until_it_succeeds(overlays, "revert", "one");
  EXPECT_EQ(content(overlays[1]), then);
  untouched();
}

}  // namespace
}  // namespace peelfs::test

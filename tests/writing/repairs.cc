#include "writing/repairs.h"

#include <algorithm>
#include <filesystem>

namespace peelfs::test {

namespace fs = std::filesystem;

const std::string tools = "PATH=$PATH:/usr/sbin:/sbin ";
const std::string still = tools +
                          "E2FSCK_TIME=1700000000 E2FSPROGS_FAKE_TIME=1700000000 "
                          "SOURCE_DATE_EPOCH=1700000000 LD_PRELOAD=" +
                          std::string(PEELFS_STILL_CLOCK) + " ";

namespace {

/// In every copy of an ext superblock: s_kbytes_written, which counts how a file takes what is
/// flushed to it, and the checksum.
void mask_superblocks(Buffer& bytes) {
  for (std::size_t at = 0; at + 1024 <= bytes.size(); at += 1024) {
    if (bytes[at + 0x38] != std::byte{0x53} || bytes[at + 0x39] != std::byte{0xef}) continue;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + 0x178), 8, std::byte{0});
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(at + 0x3fc), 4, std::byte{0});
  }
}

std::string replaced(std::string command, const std::string& path) {
  for (std::size_t at = 0; (at = command.find("{}", at)) != std::string::npos; at += path.size()) {
    command.replace(at, 2, path);
  }
  return command;
}

}  // namespace

bool Repairs::take(const std::string& fixture, const std::string& image) {
  const std::string packed = fixture_image(image);
  if (packed.empty()) return false;
  source_ = folder_ / (image + ".raw");
  must_run("cp --sparse=always " + sh(packed) + " " + sh(source_) + " && chmod 600 " + sh(source_));
  const std::string passphrase = passphrase_of(fixture);
  if (!passphrase.empty()) {
    write_file(folder_ / "key", as_bytes(passphrase));
    keys_ = " --key-file " + sh(folder_ / "key");
  }
  return true;
}

std::string Repairs::copy_of(const std::string& device, const std::string& name) {
  const bool covered = fs::exists(overlays_) && !fs::is_empty(overlays_);
  must_run(program() + " export --force" + (covered ? " --overlay " + sh(overlays_) : "") + keys_ +
           " " + sh(source_) + " " + sh(device) + " " + sh(folder_ / name));
  return folder_ / name;
}

std::string Repairs::mount_arguments() const {
  return (way_ == Way::overlay ? "-o overlay=" + sh(overlays_) : "-o rw") + keys_ + " " +
         sh(source_);
}

CommandResult Repairs::through(const std::string& device, const std::string& command) {
  if (way_ == Way::tried) {
    // Without a terminal it keeps; the second time in the overlay that is there.
    return run(program() + " try --keep " + sh(overlays_) + keys_ + " " + sh(source_) + " " +
               sh(device) + " -- sh -c " + sh(command));
  }
  const Mount mount(mount_arguments());
  EXPECT_TRUE(mount.mounted());
  const CommandResult result = run(replaced(command, sh(mount / device)));
  const CommandResult ended = mount.umount();
  EXPECT_EQ(ended.exit_code, 0) << ended.output << mount.log();
  return result;
}

void Repairs::same_on_both(const std::string& device, const std::vector<std::string>& commands,
                           const std::vector<int>& expected) {
  const std::string plain = copy_of(device, "plain");
  const std::string before = must_run("sha256sum < " + sh(plain));
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const CommandResult ours = through(device, commands[i]);
    ASSERT_EQ(ours.exit_code, expected[i]) << commands[i] << "\n" << ours.output;
    const CommandResult theirs = run(replaced(commands[i], sh(plain)));
    ASSERT_EQ(theirs.exit_code, expected[i]) << commands[i] << "\n" << theirs.output;
  }
  EXPECT_NE(must_run("sha256sum < " + sh(plain)), before) << "nothing was written";
  const std::string copy = copy_of(device, "ours");
  Buffer theirs_bytes = read_file(plain);
  Buffer our_bytes = read_file(copy);
  // resize2fs shortens a plain file, which a device does not let itself be.
  ASSERT_GE(theirs_bytes.size(), std::size_t{8} << 20U);
  our_bytes.resize(std::min(our_bytes.size(), theirs_bytes.size()));
  mask_superblocks(theirs_bytes);
  mask_superblocks(our_bytes);
  ASSERT_TRUE(theirs_bytes == our_bytes)
      << commands.back() << " wrote something else at byte "
      << std::mismatch(our_bytes.begin(), our_bytes.end(), theirs_bytes.begin()).first -
             our_bytes.begin();
}

}  // namespace peelfs::test

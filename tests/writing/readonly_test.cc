// With the default options no source of any kind is opened for writing or changed: proven by the
// system calls of the real program, and by everything that stat(2) tells of the files.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <regex>

#include "mount/mounted.h"
#include "support/fixture_trees.h"
#include "writing/cut/replay.h"
#include "writing/outside.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

/// What a program could change of a file, in one line.
std::string state_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return "gone";
  const auto time = [](const timespec& at) {
    return std::to_string(at.tv_sec) + "." + std::to_string(at.tv_nsec);
  };
  return std::to_string(status.st_ino) + " mode " + std::to_string(status.st_mode) + " links " +
         std::to_string(status.st_nlink) + " size " + std::to_string(status.st_size) + " blocks " +
         std::to_string(status.st_blocks) + " mtime " + time(status.st_mtim) + " ctime " +
         time(status.st_ctim) + " atime " + time(status.st_atim);
}

class ReadOnly : public ::testing::TestWithParam<FixtureTree> {
 protected:
  void SetUp() override {
    NEED_PROGRAM("strace");
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "LeakSanitizer does not work under strace";
#endif
    if (run("strace -f -o /dev/null true").exit_code != 0) {
      GTEST_SKIP() << "strace may not trace here";
    }
    fs::create_directory(sources_);
    fs::create_directory(folder_ / "mnt");
    const auto paths = unpacked_sources(GetParam());
    if (paths.empty()) GTEST_SKIP() << "the fixture is not in this checkout";
    for (const std::string& path : paths) add(path);
    if (const std::string passphrase = passphrase_of(GetParam().fixture); !passphrase.empty()) {
      write_file(folder_ / "key", as_bytes(passphrase));
      options_ += " --key-file " + sh(folder_ / "key");
    }
    if (GetParam().fixture == "luks2-keyfile") {
      options_ += " --key-file " + sh(fixture_key("keys/keyfile.bin"));
    }
    if (GetParam().fixture == "luks2-detached") {
      options_ += " --header luks2-det-data=" + sh(add(fixture_image("luks2-det-header")));
      arguments_ = " " + sh(sources_ + "/luks2-det-data.raw");
    }
    before_.clear();
    for (const auto& [path, digest] : digests_) before_[path] = state_of(path);
    before_[sources_] = state_of(sources_);
  }

  /// Copies an image to where it is watched. @return its path there
  std::string add(const std::string& image) {
    const std::string path = sources_ + "/" + fs::path(image).filename().string();
    // Written out at once: the filesystem counts the blocks of its own map of the file only then.
    must_run("cp --sparse=always " + sh(image) + " " + sh(path) + " && chmod 600 " + sh(path) +
             " && sync " + sh(path));
    arguments_ += " " + sh(path);
    digests_[path] = must_run("sha256sum < " + sh(path));
    // Long ago: relatime writes an access time only where it is older than the last change, or a
    // day old, which makes this the case in which it would.
    must_run("touch -a -d '2001-02-03 04:05:06' " + sh(path));
    return path;
  }

  CommandResult traced(const std::string& command, bool detached = false) {
    const std::string calls =
        "open,openat,openat2,creat,truncate,ftruncate,fallocate,write,pwrite64,pwritev,pwritev2,"
        "writev,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,"
        "symlinkat,mknod,mknodat,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,"
        "utimensat,futimesat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,"
        "copy_file_range,sendfile,splice,io_uring_setup";
    // A detached strace keeps its output open for as long as the mount lasts.
    return run("strace -f -qq -y -s 0 -A -E LD_PRELOAD=" + sh(PEELFS_STAY_READABLE) + " -o " +
               sh(trace_) + (detached ? " -D" : "") + " -e trace=" + calls + " -e signal=none " +
               command + (detached ? " > " + sh(folder_ / "output") + " 2>&1" : ""));
  }

  void check_trace(std::size_t least_opens) const;
  void check_files() const;

  TemporaryDirectory folder_;
  const std::string sources_ = fs::path(folder_.path()) / "sources";
  const std::string trace_ = folder_ / "trace";
  std::string arguments_, options_;
  std::map<std::string, std::string> digests_, before_;
};

/// Whether a traced call, which names a file of ours, leaves it as it is.
bool harmless(const std::string& line) {
  static const std::regex opening(R"(\b(open|openat|openat2)\()");
  if (!std::regex_search(line, opening)) return false;
  if (line.find("O_RDONLY") == std::string::npos && line.find("O_PATH") == std::string::npos) {
    return false;
  }
  static const std::regex changing("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_TMPFILE|O_APPEND");
  return !std::regex_search(line, changing);
}

void ReadOnly::check_trace(std::size_t least_opens) const {
  std::ifstream trace(trace_);
  std::size_t opens = 0;
  for (std::string line; std::getline(trace, line);) {
    ASSERT_EQ(line.find("io_uring_setup("), std::string::npos)
        << "strace cannot see what goes through io_uring: " << line;
    if (line.find(sources_) == std::string::npos) continue;
    // The arguments of the program are no access to the file.
    if (line.find("execve(") != std::string::npos) continue;
    // Interrupted by another thread's line; the call's first half has all that matters.
    if (line.find(" resumed>") != std::string::npos) continue;
    ++opens;
    EXPECT_TRUE(harmless(line)) << line;
  }
  EXPECT_GE(opens, least_opens) << "the trace does not show the sources at all";
}

void ReadOnly::check_files() const {
  for (const auto& [path, state] : before_) EXPECT_EQ(state_of(path), state) << path;
}

TEST_P(ReadOnly, NoSourceIsOpenedForWritingOrChanged) {
  // The deepest device that can be read.
  std::string device;
  for (const ExpectedDevice& expected : GetParam().devices) {
    if (expected.state.empty() && !expected.oracle.empty()) device = expected.name;
  }
  const std::string what = options_ + arguments_;
  std::vector<std::string> verbs{"ls" + what};
  if (!device.empty()) {
    verbs.push_back("cat" + what + " " + sh(device) + " > /dev/null");
    verbs.push_back("map" + what + " " + sh(device));
    verbs.push_back("hash" + what + " -- " + sh(device));
    verbs.push_back("export --force" + what + " " + sh(device) + " " + sh(folder_ / "copy"));
  }
  // Each takes a key derivation: in a normal run one of them for each fixture.
  const std::size_t chosen = std::hash<std::string>()(GetParam().fixture) % verbs.size();
  std::size_t done = 0;
  for (std::size_t i = 0; i < verbs.size(); ++i) {
    if (!nightly() && i != chosen) continue;
    ++done;
    const CommandResult result = traced(program() + " " + verbs[i]);
    EXPECT_LE(result.exit_code, i == 0 ? 1 : 0) << verbs[i] << "\n"
                                                << result.output.substr(0, 2000);
  }
  check_trace(done * digests_.size());
  check_files();
}

/// A few of them in a normal run.
std::vector<FixtureTree> mounted_trees() {
  std::vector<FixtureTree> trees = fixture_trees();
  std::erase_if(trees, [](const FixtureTree& tree) {
    const std::string& fixture = tree.fixture;
    return !nightly() && !fixture.starts_with("variant2") && !fixture.starts_with("d") &&
           !fixture.starts_with("qcow2");
  });
  return trees;
}

class ReadOnlyMount : public ReadOnly {};

TEST_P(ReadOnlyMount, NoSourceIsOpenedForWritingOrChanged) {
  NEED_MOUNTS();
  // fusermount3 loses its privileges when it is traced: where root does not need it, strace sees
  // everything; elsewhere the recorder sees what peelfs itself does.
  const bool root = ::geteuid() == 0;
  const std::string mnt = folder_ / "mnt";
  const std::string command = program() + " mount" + options_ + arguments_ + " " + sh(mnt);
  const std::string log = folder_ / "log";
  write_file(log, {});
  const CommandResult mounted =
      root ? traced(command, true)
           : run(std::string(record_directory) + "=" + sh(fs::canonical(sources_)) + " " +
                 record_log + "=" + sh(log) + " LD_PRELOAD=" + sh(PEELFS_RECORDER) + " " + command);
  ASSERT_TRUE(mounted.exit_code == 0 || mounted.exit_code == 64) << mounted.output;
  run("for f in " + sh(mnt) +
      "/*; do [ -f \"$f\" ] && dd status=none bs=1M if=\"$f\" of=/dev/null; "
      "( : >> \"$f\" ) ; done");
  must_run(program() + " umount " + sh(mnt));
  if (root) {
    EXPECT_TRUE(eventually([&] { return run("fuser " + sh(trace_)).exit_code != 0; }));
    check_trace(digests_.size());
  } else {
    std::size_t opens = 0;
    const Log recorded(log);
    for (const Entry& entry : recorded.entries()) {
      opens += entry.header.kind == Record::open ? 1 : 0;
      EXPECT_EQ(entry.header.kind, Record::open) << entry.text();
      EXPECT_EQ(entry.header.argument & (O_ACCMODE | O_CREAT | O_TRUNC), 0U) << entry.text();
    }
    EXPECT_GE(opens, digests_.size());
  }
  check_files();
  for (const auto& [path, digest] : digests_) {
    EXPECT_EQ(must_run("sha256sum < " + sh(path)), digest) << path;
  }
}

INSTANTIATE_TEST_SUITE_P(Some, ReadOnlyMount, ::testing::ValuesIn(mounted_trees()),
                         [](const auto& tree) { return test_name(tree.param); });
INSTANTIATE_TEST_SUITE_P(All, ReadOnly, ::testing::ValuesIn(fixture_trees()),
                         [](const auto& tree) { return test_name(tree.param); });

}  // namespace
}  // namespace peelfs::test

// The control socket: unlocking while mounted, and clients that do not behave.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "host/mountinfo.h"
#include "mount/control_protocol.h"
#include "mount/mount.h"
#include "mounted.h"
#include "peelfs/error.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t mib = 1 << 20;
constexpr std::string_view passphrase = "correct horse";

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Secret secret(std::string_view text) {
  return Secret(as_bytes(text));
}

/// qemu-img makes LUKS1 images with known contents, without device-mapper or privilege.
void make_luks(const std::string& path, const std::string& plain, const std::string& folder) {
  write_file(folder + "/passphrase", as_bytes(passphrase));
  const std::string key = "secret,id=k,file=" + folder + "/passphrase";
  must_run("qemu-img create -q --object " + sh(key) + " -f luks -o key-secret=k,iter-time=20 " +
           sh(path) + " " + std::to_string(fs::file_size(plain)));
  must_run("qemu-img convert -n --object " + sh(key) + " -f raw --target-image-opts " + sh(plain) +
           " " + sh("driver=luks,key-secret=k,file.filename=" + path));
}

/// A LUKS image with a partitioned disk inside. It is made once: that takes qemu-img a second or
/// two.
class Control : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!why_no_mounts().empty() || !have_program("qemu-img") || !have_program("sfdisk")) return;
    made_ = std::make_unique<TemporaryDirectory>();
    make_sparse(*made_ / "plain", 16 * mib, {{4 * mib, 2 * mib}});
    must_run("printf 'label: dos\\nstart=2048,size=10M\\n' | PATH=$PATH:/usr/sbin sfdisk -q " +
             sh(*made_ / "plain"));
    make_luks(*made_ / "disk.img", *made_ / "plain", made_->path());
  }
  static void TearDownTestSuite() { made_.reset(); }

  void SetUp() override {
    NEED_MOUNTS();
    NEED_PROGRAM("qemu-img");
    NEED_PROGRAM("sfdisk");
    plain_ = *made_ / "plain";
    fs::copy_file(*made_ / "disk.img", folder_ / "disk.img");
    mount_.emplace("--no-prompt " + sh(folder_ / "disk.img"));
    ASSERT_TRUE(mount_->mounted());
  }

  static std::unique_ptr<TemporaryDirectory> made_;
  TemporaryDirectory folder_;
  std::string plain_;
  std::optional<Mount> mount_;
};
std::unique_ptr<TemporaryDirectory> Control::made_;

TEST_F(Control, LockedDevicesAreListed) {
  EXPECT_EQ(request_locked(mount_->path()), std::vector<std::string>{"disk"});
}

TEST_F(Control, UnlockMakesWhatIsInsideAppear) {
  struct stat status {};
  EXPECT_EQ(::stat((*mount_ / "disk_crypt").c_str(), &status), -1)
      << "and is remembered as missing";
  ASSERT_EQ(::stat((*mount_ / "disk").c_str(), &status), 0);
  const ino_t inode = status.st_ino;
  const std::string before = text_of(*mount_ / ".peelfs/status.json");

  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  must_run("cmp " + sh(*mount_ / "disk_crypt") + " " + sh(plain_));
  EXPECT_TRUE(fs::exists(*mount_ / "disk_cryptp1"));
  must_run("cmp " + sh(*mount_ / "disk_cryptp1") + " " + sh(plain_) + " 0 1048576 -n 10485760");

  ASSERT_EQ(::stat((*mount_ / "disk").c_str(), &status), 0);
  EXPECT_EQ(status.st_ino, inode);
  const std::string after = text_of(*mount_ / ".peelfs/status.json");
  EXPECT_NE(after, before);
  EXPECT_EQ(after.size(), fs::file_size(*mount_ / ".peelfs/status.json"));
  EXPECT_EQ(after, must_run("printf %s " + sh(std::string(passphrase)) + " >" +
                            sh(folder_ / "key") + " && " + program() + " ls --json --key-file " +
                            sh(folder_ / "key") + " " + sh(folder_ / "disk.img")));
  EXPECT_TRUE(request_locked(mount_->path()).empty());
}

// The kernel gives the number of a mount that is gone to the next one: for a moment two sockets
// have it in their names.
TEST_F(Control, AProcessThatEndsIsNotTakenForTheOneThatServes) {
  const auto entry = find_mount(mount_->path());
  ASSERT_TRUE(entry);
  const std::string name = control::name_prefix(entry->device) + "0";  // asked before the other
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const int listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  ASSERT_EQ(::bind(listening, reinterpret_cast<const sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(listening, 4), 0);
  std::atomic<unsigned> closed{0};
  std::jthread ending([&] {
    for (int client = -1; (client = ::accept(listening, nullptr, nullptr)) >= 0; ++closed) {
      ::close(client);
    }
  });
  EXPECT_EQ(request_locked(mount_->path()), std::vector<std::string>{"disk"});
  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  EXPECT_EQ(closed, 2U) << "both asked it first";
  EXPECT_TRUE(fs::exists(*mount_ / "disk_crypt"));
  ::shutdown(listening, SHUT_RDWR);
  ending.join();
  ::close(listening);
}

TEST_F(Control, WhoHasTheTreeOpenKeepsTheOldOne) {
  const int fd = ::open((*mount_ / ".peelfs/status.json").c_str(), O_RDONLY | O_CLOEXEC);
  const std::string before = text_of(*mount_ / ".peelfs/status.json");
  fs::directory_iterator listing(mount_->path());
  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  std::string text(before.size() + 4096, '\0');
  const ssize_t got = ::pread(fd, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  EXPECT_EQ(text, before) << "one document, not the mixture of two";
  ::close(fd);
  for (const auto& entry : listing) EXPECT_TRUE(fs::exists(entry.symlink_status()));
}

TEST_F(Control, UnlockByTheCommandLine) {
  write_file(folder_ / "key", as_bytes(passphrase));
  must_run(program() + " unlock --key-file " + sh(folder_ / "key") + " " + sh(mount_->path()) +
           " disk");
  EXPECT_TRUE(fs::exists(*mount_ / "disk_crypt"));
}

TEST_F(Control, AWrongKeyChangesNothingAndSaysSo) {
  const auto refused = request_unlock(mount_->path(), "disk", secret("wrong"));
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->empty());
  EXPECT_FALSE(fs::exists(*mount_ / "disk_crypt"));
  EXPECT_EQ(request_locked(mount_->path()), std::vector<std::string>{"disk"});
  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  EXPECT_TRUE(fs::exists(*mount_ / "disk_crypt"));
}

TEST_F(Control, UnlockOfWhatIsNotLockedIsAnError) {
  EXPECT_THROW(request_unlock(mount_->path(), "nothing", secret("x")), Error);
  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  try {
    request_unlock(mount_->path(), "disk", secret("x"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::usage);
    EXPECT_NE(std::string(error.what()).find("not locked"), std::string::npos) << error.what();
  }
}

TEST_F(Control, ReadersGoOnWhileUnlocking) {
  std::atomic<bool> stop = false;
  std::atomic<unsigned> wrong = 0;
  std::vector<std::thread> readers;
  const Buffer truth = read_file(folder_ / "disk.img");
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&, i] {
      std::vector<std::byte> bytes(65536);
      while (!stop) {
        const int fd = ::open((*mount_ / "disk").c_str(), O_RDONLY | O_CLOEXEC);
        const off_t at = i * 65536;
        if (::pread(fd, bytes.data(), bytes.size(), at) != 65536 ||
            !std::equal(bytes.begin(), bytes.end(), truth.begin() + at)) {
          ++wrong;
        }
        ::close(fd);
        for (const auto& entry : fs::recursive_directory_iterator(mount_->path())) {
          std::error_code ignored;
          static_cast<void>(entry.status(ignored));
        }
      }
    });
  }
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(request_unlock(mount_->path(), "disk", secret("wrong")));
  EXPECT_EQ(request_unlock(mount_->path(), "disk", secret(passphrase)), std::nullopt);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0U);
}

TEST_F(Control, SilentClientsKeepNobodyWaiting) {
  std::vector<int> silent;
  for (int i = 0; i < 8; ++i) {
    silent.push_back(connect_abstract(mount_->control_name()));
    ASSERT_GE(silent.back(), 0);
  }
  // One that stops in the middle, and one that announces far more than is allowed.
  control::RequestHeader header;
  header.verb = control::Verb::unlock;
  header.text = 100;
  EXPECT_EQ(::send(silent[0], &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  header.key = 0xffffffff;
  EXPECT_EQ(::send(silent[1], &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  std::byte byte{};
  EXPECT_EQ(::recv(silent[1], &byte, 1, 0), 0) << "dropped at once";

  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(request_locked(mount_->path()).size(), 1U);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, control::kSilenceLimit / 2);
  for (const int socket : silent) {
    EXPECT_LE(::recv(socket, &byte, 1, 0), 0) << "dropped after a while";
    ::close(socket);
  }
}

TEST_F(Control, ManyMoreClientsThanItHoldsAreAllServed) {
  std::vector<int> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(connect_abstract(mount_->control_name()));
  EXPECT_EQ(request_locked(mount_->path()).size(), 1U);
  for (const int socket : silent) ::close(socket);
}

TEST_F(Control, RubbishIsDropped) {
  for (int i = 0; i < 50; ++i) {
    const int socket = connect_abstract(mount_->control_name());
    const Buffer rubbish =
        pattern(static_cast<std::size_t>(1 + i * 7), static_cast<std::uint64_t>(i));
    ::send(socket, rubbish.data(), rubbish.size(), MSG_NOSIGNAL);
    ::close(socket);
  }
  EXPECT_EQ(request_locked(mount_->path()).size(), 1U);
}

TEST_F(Control, AClientThatAnnouncesAnUnmountAndLeavesChangesNothing) {
  for (int i = 0; i < 100; ++i) {
    const int socket = connect_abstract(mount_->control_name());
    control::RequestHeader header;
    header.verb = control::Verb::unmount;
    ::send(socket, &header, sizeof(header), MSG_NOSIGNAL);
    control::AnswerHeader answer;
    EXPECT_EQ(::recv(socket, &answer, sizeof(answer), MSG_WAITALL),
              static_cast<ssize_t>(sizeof(answer)));
    ::close(socket);
  }
  EXPECT_TRUE(mount_->mounted());
  EXPECT_EQ(mount_->umount().exit_code, 0);
}

TEST_F(Control, OthersAreNotHeard) {
  NEED_ROOT();
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(3);
    const int socket = connect_abstract(mount_->control_name());
    control::RequestHeader header;
    ::send(socket, &header, sizeof(header), MSG_NOSIGNAL);
    control::AnswerHeader answer;
    const bool told = ::recv(socket, &answer, sizeof(answer), MSG_WAITALL) == sizeof(answer);
    ::_exit(told && answer.outcome == control::Outcome::failed ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(ControlAsRoot, RootEndsAndUnlocksTheMountOfAUser) {
  NEED_MOUNTS();
  NEED_ROOT();
  NEED_PROGRAM("setpriv");
  if (run("setpriv --reuid=65534 --regid=65534 --clear-groups test -w /dev/fuse").exit_code != 0) {
    GTEST_SKIP() << "/dev/fuse is not for ordinary users here";
  }
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(mib, 1));
  must_run("mkdir " + sh(folder / "m") + " && chmod 755 " + sh(folder.path()) +
           " && chown -R 65534:65534 " + sh(folder / "m") + " " + sh(folder / "disk.img"));
  must_run("setpriv --reuid=65534 --regid=65534 --clear-groups " + program() + " mount " +
           sh(folder / "disk.img") + " " + sh(folder / "m"));
  EXPECT_NE(run("ls " + sh(folder / "m")).exit_code, 0) << "root may not look in";
  EXPECT_TRUE(request_locked(folder / "m").empty());
  must_run(program() + " umount " + sh(folder / "m"));
  EXPECT_FALSE(is_mounted(folder / "m"));
}

}  // namespace
}  // namespace peelfs::test

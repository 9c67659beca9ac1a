// What an image may name besides itself, one test for each shape of name.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>

#include "host/consent.h"
#include "host/image_lock.h"
#include "host/source.h"
#include "peelfs/formats.h"
#include "support/support.h"

namespace peelfs {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

class HostReferences : public ::testing::Test {
 protected:
  void SetUp() override { fs::create_directories(directory_ / "images"); }

  std::string make(const std::string& name, std::size_t size = 4096) {
    const std::string path = directory_ / name;
    fs::create_directories(fs::path(path).parent_path());
    test::write_file(path, test::pattern(size, 1));
    return path;
  }
  References::Found find(const std::string& name, const std::vector<std::string>& allowed = {}) {
    return make_host_references(directory_ / "images", allowed, standard_formats())->open(name);
  }
  /// Expects a refusal. @return its message
  std::string refusal(const std::string& name, Fault fault = Fault::denied,
                      const std::vector<std::string>& allowed = {}) {
    try {
      const auto found = find(name, allowed);
      ADD_FAILURE() << printable(name) << " was opened as " << found.name;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), fault) << error.what();
      return error.what();
    }
    return "";
  }

  test::TemporaryDirectory directory_;
};

// --- what lies beneath the folder, and looks like an image ---

TEST_F(HostReferences, BesideAndBelow) {
  make("images/base.img");
  make("images/sub/base.img");
  const auto found = find("base.img");
  EXPECT_EQ(found.name, fs::canonical(directory_ / "images/base.img"));
  ASSERT_TRUE(found.file);
  EXPECT_FALSE(found.file->writable());
  EXPECT_NO_THROW(find("sub/base.img"));
  EXPECT_NO_THROW(find("./base.img"));
  EXPECT_NO_THROW(find("sub//./base.img"));
  EXPECT_NO_THROW(find("sub/../base.img"));
  EXPECT_NO_THROW(find("../images/base.img"));
}

TEST_F(HostReferences, SiblingsAreListedAndNotOpened) {
  for (const char* const name : {"images/d-2.img", "images/d-1.img", "images/e-1.img", "d-3.img"}) {
    make(name);
  }
  fs::create_directory(directory_ / "images/d-dir.img");
  fs::create_symlink("/etc/passwd", directory_ / "images/d-link.img");
  ASSERT_EQ(::mkfifo((directory_ / "images/d-fifo.img").c_str(), 0600), 0);
  const auto references =
      make_host_references(directory_ / "images", std::vector<std::string>{}, standard_formats());
  // Only names are asked for; what each of them is, open_part() looks at.
  EXPECT_EQ(references->siblings("d-"), (std::vector<std::string>{"d-1.img", "d-2.img", "d-dir.img",
                                                                  "d-fifo.img", "d-link.img"}));
  EXPECT_EQ(references->open_part("d-2.img", false).name, directory_ / "images/d-2.img");
  for (const char* const odd : {"d-dir.img", "d-link.img", "d-fifo.img"}) {
    EXPECT_THROW((void)references->open_part(odd, false), Error) << odd;
  }
  for (const char* const name : {"", "../d", "/", "images/d"}) {
    EXPECT_TRUE(references->siblings(name).empty()) << name;
  }
}

TEST_F(HostReferences, ABlockDeviceHasNoSiblings) {
  make("images/d.E02");
  const auto references = make_host_references(
      directory_ / "images",
      std::make_shared<const Consent>(std::vector<std::string>{}, standard_formats()), false, true);
  EXPECT_TRUE(references->siblings("d.").empty());
}

TEST_F(HostReferences, AbsoluteNamesOfTheSameFile) {
  make("images/base.img");
  EXPECT_NO_THROW(find(directory_ / "images/base.img"));
  EXPECT_NO_THROW(find("//" + (directory_ / "images/base.img")));
  fs::create_directory_symlink(directory_ / "images", directory_ / "way");
  const auto references = make_host_references(directory_ / "way", {}, standard_formats());
  EXPECT_NO_THROW((void)references->open(directory_ / "way/base.img"))
      << "the folder as the person named it";
  EXPECT_NO_THROW((void)references->open(directory_ / "images/base.img"));
  EXPECT_TRUE(contains(refusal(directory_ / "way/base.img"), "does not lie beneath"))
      << "nobody named that link";
}

TEST_F(HostReferences, WhatDoesNotLookLikeAnImage) {
  make("images/id_rsa");
  EXPECT_TRUE(contains(refusal("id_rsa"), "does not look like a disk image"));
  EXPECT_TRUE(contains(refusal("id_rsa"), "--allow-reference " + (directory_ / "images/id_rsa")));
  EXPECT_NO_THROW(find("id_rsa", {directory_ / "images/id_rsa"}));
  Buffer image(4096);
  std::copy_n(as_bytes("QFI\xfb").data(), 4, image.data());
  test::write_file(directory_ / "images/snapshot", image);
  EXPECT_NO_THROW(find("snapshot")) << "by its signature";
}

// --- lexical: refused before anything is touched ---

TEST_F(HostReferences, Absolute) {
  const std::string message = refusal("/etc/passwd");
  EXPECT_TRUE(contains(message, "/etc/passwd; refused, because it does not lie beneath"));
  EXPECT_TRUE(contains(message, "--allow-reference /etc/passwd"));
  EXPECT_TRUE(contains(refusal("//etc/passwd"), "the file /etc/passwd; refused"));
  EXPECT_TRUE(contains(refusal("/../etc/passwd"), "the file /etc/passwd; refused"));
}

TEST_F(HostReferences, Outwards) {
  make("secret.img");
  make("images/sub/x.img");
  EXPECT_TRUE(contains(refusal("../secret.img"), "does not lie beneath"));
  EXPECT_TRUE(contains(refusal("sub/../../secret.img"), "does not lie beneath"));
  EXPECT_TRUE(contains(refusal("absent/../../secret.img"), "and back"));
}

TEST_F(HostReferences, ThroughALinkAndBackIsNotTheSameFile) {
  make("images/base.img");
  make("other/base.img");
  fs::create_directory(directory_ / "other/sub");
  fs::create_directory_symlink(directory_ / "other/sub", directory_ / "images/link");
  EXPECT_TRUE(contains(refusal("link/../base.img"), "goes through"));
  EXPECT_TRUE(contains(refusal("../other/../images/base.img"), "goes through"))
      << "what lies outside is not looked at";
}

TEST_F(HostReferences, NamesOfDirectories) {
  fs::create_directory(directory_ / "images/sub.img");
  for (const std::string name : {".", "..", "/", "sub.img/", "sub.img/.", "sub.img/.."}) {
    EXPECT_TRUE(contains(refusal(name), "names a directory")) << name;
  }
  EXPECT_TRUE(contains(refusal("sub.img"), "is a directory"));
}

TEST_F(HostReferences, EmptyAndNul) {
  refusal("", Fault::damaged);
  make("images/a.img");
  EXPECT_TRUE(contains(refusal(std::string("a.img\0b", 7), Fault::damaged), "NUL"));
}

TEST_F(HostReferences, Long) {
  EXPECT_TRUE(contains(refusal(std::string(256, 'x'), Fault::damaged), "too long"));
  EXPECT_NO_THROW(refusal(std::string(255, 'x'), Fault::missing));
  std::string deep;
  while (deep.size() < 5000) deep += "sub/";
  EXPECT_TRUE(contains(refusal(deep + "x.img", Fault::damaged), "too long"));
  std::string mibibyte(1U << 20U, '/');
  EXPECT_TRUE(contains(refusal(mibibyte + "x", Fault::damaged), "too long"));
}

TEST_F(HostReferences, ProtocolsAreNoProtocolsHere) {
  for (const std::string name :
       {R"(json:{"driver":"raw","file":{"filename":"/etc/passwd"}})", "file:/etc/passwd",
        "nbd://localhost/x", "fat:rw:/etc", "host_device:/dev/sda", "http://x/y.img"}) {
    refusal(name, Fault::missing);
  }
}

TEST_F(HostReferences, NewlinesAndEscapes) {
  const std::string name = "a\n\x1b[31m\xff.img";
  make("images/" + name);
  EXPECT_NO_THROW(find(name));
  const std::string message = refusal("../b\n\x1b[31m\xff.img");
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

// --- what is found is looked at before it is opened ---

TEST_F(HostReferences, LinkAtTheEnd) {
  make("images/real.img");
  fs::create_symlink("/etc/passwd", directory_ / "images/a.img");
  fs::create_symlink("../secret", directory_ / "images/b.img");
  fs::create_symlink("real.img", directory_ / "images/c.img");
  for (const std::string name : {"a.img", "b.img", "c.img"}) {
    EXPECT_TRUE(contains(refusal(name), name + " is a symbolic link")) << name;
  }
  EXPECT_NO_THROW(find("c.img", {directory_ / "images/c.img"})) << "a person named the link";
}

TEST_F(HostReferences, LinkInTheMiddle) {
  make("elsewhere/base.img");
  fs::create_directory_symlink(directory_ / "elsewhere", directory_ / "images/sub");
  EXPECT_TRUE(contains(refusal("sub/base.img"), "sub is a symbolic link"));
  make("images/real/base.img");
  fs::create_directory_symlink("real", directory_ / "images/within");
  EXPECT_TRUE(contains(refusal("within/base.img"), "within is a symbolic link"));
  EXPECT_TRUE(contains(refusal("real/base.img/x", Fault::missing), "Not a directory"));
}

TEST_F(HostReferences, MagicLinks) {
  fs::create_directory_symlink("/proc/self", directory_ / "images/self");
  refusal("self/fd/0");
  refusal("/proc/self/fd/0");
  EXPECT_THROW((void)make_host_references("/proc/self", {}, standard_formats())->open("fd/0"),
               Error);
  EXPECT_THROW((void)make_host_references("/proc/self/fd", {}, standard_formats())->open("0"),
               Error);
  EXPECT_THROW((void)make_host_references("/proc/self", {}, standard_formats())->open("cwd/x.img"),
               Error);
}

TEST_F(HostReferences, MountCrossing) {
  make("images/sub/base.img");
  make("bound/base.img");
  make("images/file.img");
  const std::string sub = directory_ / "images/sub", file = directory_ / "images/file.img";
  // Of the same filesystem: its device number says nothing.
  if (::mount((directory_ / "bound").c_str(), sub.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    GTEST_SKIP() << "may not mount here";
  }
  EXPECT_TRUE(contains(refusal("sub/base.img"), "another filesystem is mounted on"));
  EXPECT_NO_THROW(find("sub/base.img", {sub})) << "a person named what is mounted";
  EXPECT_TRUE(contains(refusal("sub/base.img", Fault::denied, {directory_ / "images"}),
                       "another filesystem is mounted on"));
  EXPECT_EQ(::umount(sub.c_str()), 0);
  ASSERT_EQ(
      ::mount((directory_ / "bound/base.img").c_str(), file.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_TRUE(contains(refusal("file.img"), "another filesystem is mounted on"));
  EXPECT_EQ(::umount(file.c_str()), 0);
}

/// Blocks in opening a FIFO for writing until another process opens it for reading.
class FifoWriter {
 public:
  explicit FifoWriter(std::string path)
      : path_(std::move(path)), thread_([this] {
          const int fd = ::open(path_.c_str(), O_WRONLY);
          woken_ = true;
          ::close(fd);
        }) {}
  ~FifoWriter() {
    const int fd = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK);
    thread_.join();
    ::close(fd);
  }
  FifoWriter(const FifoWriter&) = delete;
  FifoWriter& operator=(const FifoWriter&) = delete;
  bool woken() const {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return woken_;
  }

 private:
  const std::string path_;
  std::atomic<bool> woken_ = false;
  std::thread thread_;
};

TEST_F(HostReferences, AFifoKeepsItsBytes) {
  const std::string path = directory_ / "images/fifo.img";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const FifoWriter writer(path);
  EXPECT_TRUE(contains(refusal("fifo.img"), "is a FIFO"));
  EXPECT_TRUE(contains(refusal("fifo.img", Fault::denied, {directory_ / "images"}), "is a FIFO"));
  EXPECT_TRUE(contains(refusal("fifo.img", Fault::denied, {path}), "is a FIFO"));
  EXPECT_FALSE(writer.woken());
}

TEST_F(HostReferences, Sockets) {
  const std::string path = directory_ / "images/socket.img";
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_TRUE(contains(refusal("socket.img"), "is a socket"));
  ::close(fd);
}

TEST_F(HostReferences, CharacterDevices) {
  refusal("/dev/loop-control");
  const std::string path = directory_ / "images/loop-control.img";
  // That of /dev/loop-control: opening it would load a module.
  if (::mknod(path.c_str(), S_IFCHR | 0600, makedev(10, 237)) != 0) {
    GTEST_SKIP() << "may not make devices here";
  }
  EXPECT_TRUE(contains(refusal("loop-control.img"), "is a character device"));
  EXPECT_TRUE(contains(refusal("loop-control.img", Fault::denied, {path}), "character device"));
}

TEST_F(HostReferences, BlockDevicesNeedAPerson) {
  const std::string path = directory_ / "images/disk.img";
  if (::mknod(path.c_str(), S_IFBLK | 0600, makedev(7, 250)) != 0) {
    GTEST_SKIP() << "may not make devices here";
  }
  const std::string message = refusal("disk.img");
  EXPECT_TRUE(contains(message, "is a block device"));
  EXPECT_TRUE(contains(message, "--allow-reference"));
}

/// Proved by strace: nothing but O_PATH touches what is not opened in the end.
TEST_F(HostReferences, NothingIsOpenedBeforeItIsChecked) {
  if (!test::have_program("strace")) GTEST_SKIP() << "strace is not installed";
  if (test::run("strace -o /dev/null true").exit_code != 0) GTEST_SKIP() << "strace cannot trace";
  const std::string self = fs::read_symlink("/proc/self/exe");
  ASSERT_EQ(mkfifo((directory_ / "images/fifo.img").c_str(), 0600), 0);
  make("images/key");
  make("secret.img");
  fs::create_symlink("../secret.img", directory_ / "images/link.img");
  const std::string trace = directory_ / "trace";
  // LeakSanitizer does not work in a process that is traced.
  const auto traced =
      test::run("ASAN_OPTIONS=detect_leaks=0 PEELFS_NAMES_IN='" + (directory_ / "images") +
                "' strace -f -qq -o '" + trace + "' -e trace=%file,openat2 '" + self +
                "' --gtest_also_run_disabled_tests "
                "--gtest_filter='HostReferences.DISABLED_OpensNames'");
  ASSERT_EQ(traced.exit_code, 0) << traced.output;
  const std::string lines = test::must_run("cat '" + trace + "'");
  std::istringstream stream(lines);
  std::size_t seen = 0;
  for (std::string line; std::getline(stream, line);) {
    const bool opens =
        contains(line, "open(") || contains(line, "openat(") || contains(line, "openat2(");
    for (const std::string name : {"fifo.img", "link.img", "secret.img", "loop-control", "shadow",
                                   "/proc/self/fd/0\"", "outside"}) {
      if (!opens || !contains(line, name)) continue;
      ++seen;
      EXPECT_TRUE(contains(line, "O_PATH")) << line;
    }
    EXPECT_FALSE(contains(line, "shadow") || contains(line, "loop-control") ||
                 contains(line, "outside") || contains(line, "/automount"))
        << "touched, although its name alone is refused: " << line;
  }
  EXPECT_GE(seen, 2U) << "the trace shows nothing";
}

/// The process that the test above looks at.
TEST_F(HostReferences, DISABLED_OpensNames) {
  const char* const images = std::getenv("PEELFS_NAMES_IN");
  ASSERT_NE(images, nullptr);
  const auto references = make_host_references(images, {}, standard_formats());
  for (const std::string name :
       {"fifo.img", "link.img", "link.img/x", "/etc/shadow", "/dev/loop-control", "/proc/self/fd/0",
        "../outside/x.img", "../outside/../images/x.img", "/automount/x.img"}) {
    EXPECT_THROW((void)references->open(name), Error) << name;
    EXPECT_THROW((void)references->open_part(name, true), Error) << name;
  }
}

// --- what a person named ---

TEST_F(HostReferences, AllowedByName) {
  const std::string base = make("elsewhere/base");
  EXPECT_NO_THROW(find("../elsewhere/base", {base}));
  EXPECT_NO_THROW(find(base, {directory_ / "elsewhere"}));
  EXPECT_NO_THROW(find(base, {(directory_ / "elsewhere") + "/"}));
  refusal("/etc/passwd", Fault::denied, {base});
  fs::create_symlink("/etc/passwd", directory_ / "elsewhere/link");
  EXPECT_TRUE(contains(refusal("../elsewhere/link", Fault::denied, {directory_ / "elsewhere"}),
                       "is a symbolic link"));
  try {
    (void)find("x", {directory_ / "absent"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::usage);
    EXPECT_TRUE(contains(error.what(), "--allow-reference " + (directory_ / "absent")));
  }
}

TEST_F(HostReferences, WhatWasAllowedIsHeld) {
  const std::string base = make("elsewhere/base");
  const auto references =
      make_host_references(directory_ / "images", std::vector{base}, standard_formats());
  fs::rename(base, base + ".old");
  fs::create_symlink("/etc/passwd", base);
  EXPECT_EQ(references->open(base).device->size(), 4096U) << "the file that was there";
}

TEST_F(HostReferences, ChainsStayBeneathTheFolderOfTheSource) {
  make("images/sub/overlay.img");
  make("images/base.img");
  make("secret.img");
  const auto first = find("sub/overlay.img");
  EXPECT_NO_THROW((void)first.references->open("../base.img"));
  EXPECT_THROW((void)first.references->open("../../secret.img"), Error);
  // Also behind a link that a person allowed elsewhere.
  make("elsewhere/middle.img");
  make("elsewhere/base.img");
  const auto middle = find("../elsewhere/middle.img", {directory_ / "elsewhere/middle.img"});
  EXPECT_THROW((void)middle.references->open("base.img"), Error);
  EXPECT_NO_THROW((void)middle.references->open("../images/base.img"));
}

TEST_F(HostReferences, ABlockDeviceAllowsNone) {
  const std::string base = make("images/base.img");
  const std::vector<std::string> none, one{base};
  const auto on_device = [&](const std::vector<std::string>& allowed) {
    return make_host_references(directory_ / "images",
                                std::make_shared<const Consent>(allowed, standard_formats()), false,
                                true);
  };
  try {
    (void)on_device(none)->open("base.img");
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), "on a block device may name no host file"));
  }
  EXPECT_NO_THROW((void)on_device(one)->open(base));
}

// --- parts of an image that is written ---

class Parts : public HostReferences {
 protected:
  OpenedSources open(const std::vector<std::string>& paths,
                     const std::vector<std::string>& allowed = {}) {
    std::vector<SourceSpec> specs;
    for (const std::string& path : paths) {
      SourceSpec spec;
      spec.path = path;
      spec.writable = true;
      specs.push_back(std::move(spec));
    }
    OpenedSources opened = open_sources(specs, allowed, standard_formats());
    EXPECT_TRUE(opened.failures.empty());
    return opened;
  }
  const std::string image_ = directory_ / "images/image.img", data_ = directory_ / "images/d.raw";
  void SetUp() override {
    HostReferences::SetUp();
    make("images/image.img");
    make("images/d.raw");
  }
};

TEST_F(Parts, AreOnlyReadIfNobodyNamedThem) {
  const auto opened = open({image_});
  const auto found = opened.sources[0].references->open_part("d.raw", true);
  EXPECT_FALSE(found.device->writable());
  EXPECT_FALSE(found.file->writable());
  EXPECT_TRUE(contains(found.device->read_only_reason(), "which you did not name"));
  EXPECT_TRUE(contains(found.device->read_only_reason(), "--allow-reference " + data_));
  EXPECT_FALSE(opened.sources[0].references->named_part("d.raw"));
}

TEST_F(Parts, AreWrittenIfAllowed) {
  const auto opened = open({image_}, {data_});
  const References& references = *opened.sources[0].references;
  const auto found = references.open_part("d.raw", true);
  EXPECT_TRUE(found.device->writable());
  EXPECT_EQ(references.named_part("d.raw"), found.file->id());
  // Once more, and for reading: its own locks are not in the way, and it is one description.
  EXPECT_EQ(references.open_part("d.raw", true).file, found.file);
  EXPECT_FALSE(references.open_part("d.raw", false).file->writable());
  EXPECT_THROW(lock_image(*HostFile::open(data_), ImageUse::relied_on), Error) << "locked";
}

TEST_F(Parts, OfAnAllowedFolderAreWritten) {
  const auto opened = open({image_}, {directory_ / "images"});
  EXPECT_TRUE(opened.sources[0].references->open_part("d.raw", true).device->writable());
}

TEST_F(Parts, AreWrittenIfNamedAsSources) {
  const auto opened = open({image_, data_});
  const auto found = opened.sources[0].references->open_part("d.raw", true);
  EXPECT_EQ(found.file, opened.sources[1].file) << "one description, one lock";
  EXPECT_TRUE(opened.sources[0].references->named_part("d.raw"));
  const auto backwards = open({make("images/x.img"), make("images/y.raw")});
  EXPECT_TRUE(backwards.sources[0].references->open_part("y.raw", true).device->writable());
}

TEST_F(Parts, ADirectoryNamesNone) {
  const auto opened = open({directory_ / "images"});
  ASSERT_EQ(opened.sources.size(), 2U);
  const References& references = *opened.sources[1].references;
  EXPECT_FALSE(references.named_part("d.raw"));
  try {
    (void)references.open_part("d.raw", true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_TRUE(contains(error.what(), "a source of its own")) << error.what();
  }
}

TEST_F(Parts, AnImageOfItsOwnIsNone) {
  Buffer image(4096);
  std::copy_n(as_bytes("QFI\xfb").data(), 4, image.data());
  test::write_file(data_, image);
  const auto opened = open({image_, data_});
  EXPECT_FALSE(opened.sources[0].references->named_part("d.raw"));
  EXPECT_THROW((void)opened.sources[0].references->open_part("d.raw", true), Error);
}

}  // namespace
}  // namespace peelfs

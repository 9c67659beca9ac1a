#include "ext_support.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "peelfs/error.h"
#include "peelfs/formats.h"

namespace peelfs::test {

SeenImage::SeenImage(DevicePtr device, const Limits& limits, const Identity& identity,
                     unsigned image_depth) {
  claim_ = ext_probe({*device, identity});
  if (!claim_) return;
  const Member member{std::move(device), &*claim_, "disk", "disk", false, nullptr};
  opened_ = ext_open(
      {{&member, 1}, keys_, limits, nullptr, image_depth, nullptr, nullptr, &standard_formats()});
}

std::string SeenImage::trouble() const {
  return opened_.trouble ? text_of(*opened_.trouble) : "";
}

const Inner* SeenImage::find(const std::string& path) const {
  for (const Inner& inner : opened_.devices) {
    std::string joined;
    for (const std::string& component : inner.path) joined += "/" + component;
    if (joined == "/" + path) return &inner;
  }
  return nullptr;
}

const Inner& SeenImage::at(const std::string& path) const {
  const Inner* found = find(path);
  if (found == nullptr) throw std::runtime_error("no image " + path + "; trouble: " + trouble());
  return *found;
}

ScratchDirectory::ScratchDirectory() : path_("/dev/shm/peelfs-test-XXXXXX") {
  if (mkdtemp(path_.data()) != nullptr) return;
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/peelfs-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

bool can_mount() {
  static const bool can = [] {
    if (geteuid() != 0 || !have_program("mke2fs")) return false;
    const TemporaryDirectory directory;
    const std::string image = directory / "image";
    if (!make_filesystem(image, "8M", "-t ext4")) return false;
    return KernelMount(image, "ro").mounted();
  }();
  return can;
}

KernelMount::KernelMount(const std::string& image, const std::string& options) {
  mounted_ =
      run("mount -o loop," + options + " '" + image + "' '" + directory_.path() + "'").exit_code ==
      0;
}

KernelMount::~KernelMount() {
  unmount();
}

void KernelMount::unmount() {
  if (mounted_) must_run("umount '" + directory_.path() + "'");
  mounted_ = false;
}

bool make_filesystem(const std::string& image, const std::string& size,
                     const std::string& options) {
  const CommandResult result = run("truncate -s " + size + " '" + image +
                                   "' && /sbin/mke2fs -q -F " + options + " '" + image + "'");
  EXPECT_EQ(result.exit_code, 0) << options << "\n" << result.output;
  return result.exit_code == 0;
}

void write_at(const std::string& path, std::uint64_t offset, Bytes bytes) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  ASSERT_GE(fd, 0) << path << ": " << strerror(errno);
  const ssize_t done = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  EXPECT_EQ(done, static_cast<ssize_t>(bytes.size())) << path << ": " << strerror(errno);
  close(fd);
}

namespace {

constexpr std::uint64_t step = 1U << 20U;

std::string compare_data(const BlockDevice& device, int fd, std::uint64_t begin,
                         std::uint64_t end) {
  Buffer ours(std::min(step, end - begin)), theirs(ours.size());
  for (std::uint64_t at = begin; at < end; at += step) {
    const std::size_t length = std::min(step, end - at);
    read(device, at, MutableBytes(ours).first(length));
    if (pread(fd, theirs.data(), length, static_cast<off_t>(at)) != static_cast<ssize_t>(length)) {
      return "the kernel cannot read at " + std::to_string(at);
    }
    const auto differs =
        std::mismatch(ours.begin(), ours.begin() + static_cast<long>(length), theirs.begin());
    if (differs.first != ours.begin() + static_cast<long>(length)) {
      return "byte " +
             std::to_string(at + static_cast<std::uint64_t>(differs.first - ours.begin())) +
             " differs";
    }
  }
  return "";
}

/// Ours may call more a hole than the kernel does, but never data, and here never less.
std::string compare_hole(const BlockDevice& device, std::uint64_t begin, std::uint64_t end) {
  while (begin < end) {
    const Run run = block_status(device, begin, end - begin);
    if (run.data) return "a hole is called data at " + std::to_string(begin);
    begin += run.length;
  }
  return "";
}

}  // namespace

std::string compare_with_file(const BlockDevice& device, const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "cannot open " + path + ": " + strerror(errno);
  struct stat status {};
  fstat(fd, &status);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::string difference;
  if (size != device.size()) {
    difference = "size " + std::to_string(device.size()) + ", expected " + std::to_string(size);
  }
  for (std::uint64_t at = 0; difference.empty() && at < size;) {
    const off_t found = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    const std::uint64_t data = found < 0 ? size : static_cast<std::uint64_t>(found);
    difference = compare_hole(device, at, data);
    if (data == size || !difference.empty()) break;
    const auto hole = static_cast<std::uint64_t>(lseek(fd, static_cast<off_t>(data), SEEK_HOLE));
    difference = compare_data(device, fd, data, hole);
    at = hole;
  }
  close(fd);
  return difference;
}

std::string read_failure(const BlockDevice& device) {
  try {
    (void)sha256(device);
    return "";
  } catch (const Error& error) {
    return std::string(fault_name(error.fault())) + ": " + error.what();
  }
}

std::uint32_t get32(const Buffer& bytes, std::size_t at) {
  return ByteReader(bytes, "test").le32(at);
}
std::uint16_t get16(const Buffer& bytes, std::size_t at) {
  return ByteReader(bytes, "test").le16(at);
}
void put32(Buffer& bytes, std::size_t at, std::uint32_t value) {
  for (unsigned i = 0; i < 4; ++i) bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}
void put16(Buffer& bytes, std::size_t at, std::uint16_t value) {
  for (unsigned i = 0; i < 2; ++i) bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}

}  // namespace peelfs::test

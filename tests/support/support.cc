#include "support/support.h"

#include <fcntl.h>
#include <gcrypt.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "peelfs/host_file.h"

namespace peelfs::test {

namespace fs = std::filesystem;

void MemoryDevice::compute(std::uint64_t offset, MutableBytes out) const {
  std::memcpy(out.data(), bytes_.data() + offset, out.size());
}

void MemoryDevice::store(std::uint64_t offset, Bytes data) const {
  std::memcpy(bytes_.data() + offset, data.data(), data.size());
}

void MemoryDevice::store_zeroes(std::uint64_t offset, std::uint64_t length, WriteKind) const {
  std::memset(bytes_.data() + offset, 0, length);
}

std::shared_ptr<MemoryDevice> writable_memory(Buffer bytes, std::uint32_t sector_size) {
  return std::make_shared<MemoryDevice>(std::move(bytes), sector_size,
                                        MemoryDevice::Access::read_write);
}

TemporaryDirectory::TemporaryDirectory() {
  const char* base = std::getenv("TMPDIR");
  path_ = std::string(base != nullptr ? base : "/tmp") + "/peelfs-test-XXXXXX";
  if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp " + path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

namespace {

CommandResult run_once(const std::string& command) {
  CommandResult result;
  // The command's own redirections come first, so that a test may send its output elsewhere. What
  // hangs is this command's failure (124), not that of the whole program after many minutes.
  std::string quoted;
  for (const char c : command) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  const std::string limited = "timeout --kill-after=10 400 sh -c '{ " + quoted + "\n} 2>&1' 2>&1";
  FILE* pipe = popen((limited + " </dev/null").c_str(), "re");
  if (pipe == nullptr) return result;
  std::array<char, 65536> buffer{};
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), pipe)) {
    result.output.append(buffer.data(), got);
  }
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace

CommandResult run(const std::string& command) {
  CommandResult result = run_once(command);
  // qemu measures how fast it derives keys, and gives up where others keep the processor busy.
  for (int again = 0; again < 20 && result.exit_code != 0 &&
                      result.output.find("accurate CPU usage") != std::string::npos;
       ++again) {
    result = run_once(command);
  }
  return result;
}

std::string must_run(const std::string& command) {
  const CommandResult result = run(command);
  EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.output;
  return result.output;
}

bool have_program(const std::string& name) {
  // Tools for administrators are not on the PATH of every user.
  return run("PATH=$PATH:/usr/sbin:/sbin command -v " + name).exit_code == 0;
}

void write_file(const std::string& path, Bytes bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("writing " + path);
}

Buffer read_file(const std::string& path) {
  Buffer bytes(fs::file_size(path));
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw std::runtime_error("reading " + path);
  return bytes;
}

DevicePtr file_device(const std::string& path) {
  return make_storage_device(HostFile::open(path));
}

DevicePtr writable_file_device(const std::string& path) {
  return make_storage_device(HostFile::open(path, HostFile::Access::read_write));
}

namespace {

class Sha256 {
 public:
  Sha256() {
    if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P) == 0) {
      gcry_check_version(nullptr);
      gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
      gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
    }
    gcry_md_open(&handle_, GCRY_MD_SHA256, 0);
  }
  ~Sha256() { gcry_md_close(handle_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(Bytes bytes) { gcry_md_write(handle_, bytes.data(), bytes.size()); }
  std::string text() {
    static constexpr std::string_view digits = "0123456789abcdef";
    const unsigned char* digest = gcry_md_read(handle_, 0);
    std::string result;
    for (int i = 0; i < 32; ++i) {
      result += digits[digest[i] >> 4U];
      result += digits[digest[i] & 15U];
    }
    return result;
  }

 private:
  gcry_md_hd_t handle_ = nullptr;
};

}  // namespace

std::string sha256(Bytes bytes) {
  Sha256 digest;
  digest.add(bytes);
  return digest.text();
}

std::string sha256(const BlockDevice& device) {
  Sha256 digest;
  Buffer buffer(1U << 20U);
  for (std::uint64_t offset = 0; offset < device.size();) {
    const std::size_t length = std::min<std::uint64_t>(buffer.size(), device.size() - offset);
    read(device, offset, MutableBytes(buffer).first(length));
    digest.add(Bytes(buffer).first(length));
    offset += length;
  }
  return digest.text();
}

Buffer pattern(std::size_t size, std::uint64_t seed) {
  Buffer bytes(size);
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (std::size_t at = 0; at < size; ++at) {
    if (at % 8 == 0) {
      state ^= state << 13U;
      state ^= state >> 7U;
      state ^= state << 17U;
    }
    bytes[at] = static_cast<std::byte>(state >> (8 * (at % 8)));
  }
  return bytes;
}

}  // namespace peelfs::test

// No library that peelfs uses may touch the kernel's storage: libcryptsetup attaches a loop device
// and asks device-mapper, or AF_ALG, for what its own ciphers cannot do, and a header says what
// that is. Headers with every cipher specification are opened below strace.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/program.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uint64_t MiB = 1U << 20U;

struct Spec {
  std::string cipher, mode;
  unsigned key_bits;
};

std::vector<Spec> all_specs() {
  std::vector<Spec> specs;
  for (const std::string cipher : {"aes", "AES", "serpent", "twofish", "camellia", "cast5", "cast6",
                                   "des3_ede", "sm4", "cipher_null", "capi:xts(aes)"}) {
    for (const std::string mode :
         {"xts-plain64",      "xts-plain",        "xts-plain64be",    "xts-essiv:sha256",
          "xts-essiv:sha512", "xts-null",         "xts-benbi",        "xts-eboiv",
          "xts-random",       "xts-lmk",          "xts-tcw",          "xts-elephant",
          "cbc-plain64",      "cbc-plain",        "cbc-plain64be",    "cbc-null",
          "cbc-essiv:sha256", "cbc-essiv:SHA256", "cbc-essiv:md5",    "cbc-essiv:sha1",
          "cbc-essiv:sha224", "cbc-essiv:sha384", "cbc-essiv:sha512", "cbc-essiv:whirlpool",
          "cbc-essiv:crc32",  "cbc-eboiv",        "cbc-elephant",     "ecb",
          "ecb-null",         "ctr-plain64",      "lrw-benbi",        "pcbc-plain64",
          "cfb-plain64",      "gcm-random",       "adiantum-plain64", "plain"}) {
      for (unsigned bits = 128; bits <= 512; bits += 64) specs.push_back({cipher, mode, bits});
    }
  }
  // The same names, divided elsewhere.
  for (const unsigned bits : {128U, 256U, 512U}) {
    specs.push_back({"aes-xts", "plain64", bits});
    specs.push_back({"aes-cbc", "plain64", bits});
    specs.push_back({"aes-cbc-essiv:sha256", "", bits});
    specs.push_back({"aes-xts-plain64", "", bits});
  }
  return specs;
}

void put_be(Buffer& out, std::size_t at, std::uint64_t number, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    out.at(at + i) = static_cast<std::byte>((number >> (8 * (size - 1 - i))) & 0xff);
  }
}
void put_text(Buffer& out, std::size_t at, std::string_view text) {
  std::copy_n(as_bytes(text).begin(), text.size(), out.begin() + static_cast<std::ptrdiff_t>(at));
}

void write_sparse(const std::string& path, const Buffer& head) {
  write_file(path, head);
  fs::resize_file(path, 4 * MiB);
}

/// A LUKS1 header that has the first slot in use. No key fits, but that is found out by decrypting.
Buffer luks1(const Spec& spec) {
  Buffer header(1024);
  put_text(header, 0, "LUKS\xba\xbe");
  put_be(header, 6, 1, 2);
  put_text(header, 8, spec.cipher);
  put_text(header, 40, spec.mode);
  put_text(header, 72, "sha256");
  put_be(header, 104, 3 * MiB / 512, 4);  // payload
  put_be(header, 108, spec.key_bits / 8, 4);
  put_be(header, 164, 1000, 4);
  put_text(header, 168, "01234567-89ab-cdef-0123-456789abcdef");
  for (std::size_t slot = 0; slot < 8; ++slot) {
    const std::size_t at = 208 + 48 * slot;
    put_be(header, at, slot == 0 ? 0x00AC71F3 : 0x0000DEAD, 4);
    put_be(header, at + 4, slot == 0 ? 1000 : 0, 4);
    put_be(header, at + 40, 8 + slot * 512, 4);
    put_be(header, at + 44, 4000, 4);
  }
  return header;
}

constexpr std::size_t luks2_size = 16384;

void seal(Buffer& header, std::size_t at) {
  const Bytes copy = Bytes(header).subspan(at, luks2_size);
  const std::string digits = sha256(copy);
  for (std::size_t i = 0; i < 32; ++i) {
    header.at(at + 448 + i) =
        static_cast<std::byte>(std::stoi(digits.substr(2 * i, 2), nullptr, 16));
  }
}

/// @param slot how the keyslot is encrypted @param segment how the data is
Buffer luks2(const Spec& slot, const Spec& segment) {
  const std::string salt = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
  Json root;
  root["keyslots"]["0"] = {
      {"type", "luks2"},
      {"key_size", segment.key_bits / 8},
      {"af", {{"type", "luks1"}, {"stripes", 4000}, {"hash", "sha256"}}},
      {"area",
       {{"type", "raw"},
        {"offset", "32768"},
        {"size", "258048"},
        {"encryption", slot.cipher + "-" + slot.mode},
        {"key_size", slot.key_bits / 8}}},
      {"kdf", {{"type", "pbkdf2"}, {"hash", "sha256"}, {"iterations", 1000}, {"salt", salt}}}};
  root["tokens"] = Json::object();
  root["segments"]["0"] = {{"type", "crypt"},
                           {"offset", "3145728"},
                           {"size", "dynamic"},
                           {"iv_tweak", "0"},
                           {"encryption", segment.cipher + "-" + segment.mode},
                           {"sector_size", 512}};
  root["digests"]["0"] = {{"type", "pbkdf2"}, {"keyslots", {"0"}},  {"segments", {"0"}},
                          {"hash", "sha256"}, {"iterations", 1000}, {"salt", salt},
                          {"digest", salt}};
  root["config"] = {{"json_size", "12288"}, {"keyslots_size", "1048576"}};
  Buffer header(2 * luks2_size);
  for (std::size_t copy = 0; copy < 2; ++copy) {
    const std::size_t at = copy * luks2_size;
    put_text(header, at, copy == 0 ? "LUKS\xba\xbe" : "SKUL\xba\xbe");
    put_be(header, at + 6, 2, 2);
    put_be(header, at + 8, luks2_size, 8);
    put_be(header, at + 16, 1, 8);
    put_text(header, at + 72, "sha256");
    put_text(header, at + 168, "01234567-89ab-cdef-0123-456789abcdef");
    put_be(header, at + 256, at, 8);
    put_text(header, at + 4096, root.dump());
    seal(header, at);
  }
  return header;
}

class KernelCrypto : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("strace");
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "LeakSanitizer does not work under strace";
#endif
    if (run("strace -f -o /dev/null true").exit_code != 0) {
      GTEST_SKIP() << "strace may not trace here";
    }
    fs::create_directory(images_);
    write_file(folder_ / "key", as_bytes("not the key"));
  }

  CommandResult traced(const std::string& command) const {
    return run("strace -f -qq --seccomp-bpf -o '" + trace_ +
               "' -e trace=open,openat,openat2,socket,mknod,mknodat,mount,finit_module,add_key " +
               command);
  }
  /// Lines of the trace that speak of the kernel's storage or crypto.
  std::string reached() const {
    std::ifstream trace(trace_);
    std::string found;
    std::size_t lines = 0;
    for (std::string line; std::getline(trace, line); ++lines) {
      // peelfs asks loop devices that others have set up whether they show one of its sources.
      if (line.find("O_RDONLY|O_NONBLOCK|O_CLOEXEC") != std::string::npos &&
          line.find("\"/dev/loop-control") == std::string::npos) {
        continue;
      }
      for (const char* const what :
           {"/dev/loop", "/dev/mapper", "AF_ALG", "/sys/block", "/sys/dev/block", "/dev/dm-",
            "/dev/md", "/dev/nbd", "mknod", "mount(", "finit_module", "add_key"}) {
        if (line.find(what) != std::string::npos) found += line + "\n";
      }
    }
    EXPECT_GT(lines, 20U) << "the trace shows nothing";
    return found;
  }
  /// Lists everything in the directory. @return how often the reasons hold `part`
  std::size_t list(const std::string& part) {
    const CommandResult listed =
        traced(PEELFS_PROGRAM " ls -o NAME,REASON --no-prompt --key-file '" + (folder_ / "key") +
               "' '" + images_ + "' 2>&1");
    std::size_t count = 0;
    std::istringstream lines(listed.output);
    for (std::string line; std::getline(lines, line);) {
      count += line.find(part) != std::string::npos ? 1 : 0;
    }
    EXPECT_EQ(reached(), "");
    return count;
  }

  TemporaryDirectory folder_;
  const std::string images_ = folder_ / "images", trace_ = folder_ / "trace";
};

constexpr char tried[] = "the key given does not open it";

TEST_F(KernelCrypto, Luks1) {
  std::size_t number = 0;
  for (const Spec& spec : all_specs()) {
    write_sparse(images_ + "/" + std::to_string(number++) + ".img", luks1(spec));
  }
  EXPECT_GE(list(tried), 20U) << "of aes with xts and cbc every possible key size is tried";
}

TEST_F(KernelCrypto, Luks2Keyslots) {
  std::size_t number = 0;
  for (const Spec& spec : all_specs()) {
    write_sparse(images_ + "/" + std::to_string(number++) + ".img",
                 luks2(spec, {"aes", "xts-plain64", 512}));
  }
  EXPECT_GE(list(tried), 20U);
}

TEST_F(KernelCrypto, Luks2Data) {
  std::size_t number = 0;
  for (const Spec& spec : all_specs()) {
    write_sparse(images_ + "/" + std::to_string(number++) + ".img",
                 luks2({"aes", "xts-plain64", 512}, spec));
  }
  EXPECT_GE(list(tried), 20U);
}

TEST_F(KernelCrypto, AKeyOf48BytesIsRefusedByItsSize) {
  const Spec spec{"aes", "xts-plain64", 384};
  write_sparse(images_ + "/1.img", luks1(spec));
  write_sparse(images_ + "/2.img", luks2(spec, {"aes", "xts-plain64", 512}));
  EXPECT_EQ(list("384 bits"), 2U);
}

/// An encrypted qcow2 has a LUKS1 header of its own.
TEST_F(KernelCrypto, Qcow2) {
  SKIP_WITHOUT("qemu-img");
  std::size_t number = 0;
  for (unsigned bits = 128; bits <= 512; bits += 64) {
    const std::string path = images_ + "/" + std::to_string(number++) + ".qcow2";
    must_run(
        "qemu-img create -q -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,"
        "encrypt.key-secret=s,encrypt.iter-time=10 '" +
        path + "' 1M");
    Buffer image = read_file(path);
    const Buffer magic{as_bytes("LUKS\xba\xbe").begin(), as_bytes("LUKS\xba\xbe").end()};
    const auto at = std::search(image.begin(), image.end(), magic.begin(), magic.end());
    ASSERT_NE(at, image.end());
    put_be(image, static_cast<std::size_t>(at - image.begin()) + 108, bits / 8, 4);
    write_file(path, image);
  }
  EXPECT_GE(list("384 bits"), 1U);
}

/// That the trace would show it: libcryptsetup's own program does what peelfs must not.
TEST_F(KernelCrypto, CryptsetupItselfReachesForTheKernel) {
  SKIP_WITHOUT("cryptsetup");
  write_sparse(folder_ / "one.img", luks1({"aes", "xts-plain64", 384}));
  (void)traced("cryptsetup open --test-passphrase --key-file '" + (folder_ / "key") + "' '" +
               (folder_ / "one.img") + "' 2>&1");
  EXPECT_NE(reached(), "");
}

}  // namespace
}  // namespace peelfs::test

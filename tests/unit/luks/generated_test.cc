// Volumes that cryptsetup formats here, read against QEMU (LUKS1) and OpenSSL by way of Python
// (LUKS2).
#include <gtest/gtest.h>

#include "luks/volume.h"
#include "luks_support.h"
#include "peelfs/devices.h"

namespace peelfs::test {
namespace {

constexpr std::string_view passphrase = "pass \xc3\xa4 1";

class Generated : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    write_file(folder_ / "key", as_bytes(passphrase));
    write_file(folder_ / "key2", as_bytes("second"));
  }

  std::string path(const std::string& name) const { return folder_ / name; }

  /// `cryptsetup luksFormat` on a new file, with the cheapest key derivation there is.
  void format(const std::string& name, const std::string& size, const std::string& options) const {
    must_run("truncate -s " + size + " " + path(name));
    std::string cost = options.find("argon2") == std::string::npos
                           ? " --pbkdf-force-iterations 1000"
                           : " --pbkdf-force-iterations 4 --pbkdf-memory 32 --pbkdf-parallel 1";
    if (options.find("luks1") == std::string::npos &&
        options.find("--pbkdf ") == std::string::npos) {
      cost += " --pbkdf pbkdf2";
    }
    must_run("cryptsetup luksFormat -q " + options + cost + " " + path(name) + " " + path("key"));
  }

  /// Has QEMU write `plain` into the volume from its first byte on.
  void qemu_writes(const std::string& name, const Buffer& plain,
                   const std::string& offset = "0") const {
    write_file(path("plain"), plain);
    must_run("qemu-io --object secret,id=s,file=" + path("key") +
             " --image-opts driver=luks,key-secret=s," +
             "file.driver=file,file.filename=" + path(name) + " -c 'write -s " + path("plain") +
             " " + offset + " " + std::to_string(plain.size()) + "'");
  }

  Opened open_file(const std::string& name, std::string_view key = passphrase) const {
    const Keys keys{key};
    return open(file_device(path(name)), keys.ring);
  }

  /// Writes at random through the volume; @return what must then be in it.
  Buffer we_write(const std::string& name) const {
    const Keys keys{passphrase};
    const Opened opened = open(writable_file_device(path(name)), keys.ring);
    EXPECT_EQ(opened.devices.size(), 1U) << reason_of(opened);
    if (opened.devices.size() != 1U) return {};
    return check_write_contract(*opened.devices[0].device);
  }

  TemporaryDirectory folder_;
};

TEST_F(Generated, QemuWritesWhatWeRead) {
  if (!have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const Buffer plain = pattern(std::size_t{300} * 1024, 7);
  int number = 0;
  for (const char* cipher :
       {"aes-xts-plain64 --key-size 256", "aes-xts-plain64 --key-size 512",
        "aes-xts-plain --key-size 512", "aes-xts-essiv:sha256 --key-size 512",
        "aes-cbc-essiv:sha256 --key-size 256", "aes-cbc-essiv:sha256 --key-size 128",
        "aes-cbc-plain --key-size 256", "aes-cbc-plain64 --key-size 256"}) {
    for (const char* hash : {"sha1", "sha256", "sha512"}) {
      const std::string name = "volume" + std::to_string(number++);
      format(name, "3M", std::string("--type luks1 --hash ") + hash + " --cipher " + cipher);
      qemu_writes(name, plain, "4096");
      const Opened opened = open_file(name);
      ASSERT_EQ(opened.devices.size(), 1U) << cipher << reason_of(opened);
      const BlockDevice& device = *opened.devices[0].device;
      EXPECT_TRUE(read_bytes(device, 4096, plain.size()) == plain) << cipher << " " << hash;
      // QEMU agrees on the size too.
      const std::string info =
          must_run("qemu-img info --output=json --object secret,id=s,file=" + path("key") +
                   " --image-opts driver=luks,key-secret=s,file.driver=file,"
                   "file.filename=" +
                   path(name));
      EXPECT_TRUE(contains(info, "\"virtual-size\": " + std::to_string(device.size())));
      if (std::string_view(hash) != "sha256") continue;
      const Buffer written = we_write(name);
      must_run("qemu-img convert --object secret,id=s,file=" + path("key") +
               " --image-opts driver=luks,key-secret=s,file.driver=file,file.filename=" +
               path(name) + " -O raw " + path("converted"));
      EXPECT_TRUE(read_file(path("converted")) == written) << cipher;
    }
  }
}

// Beyond 2 TiB the IV "plain" repeats and "plain64" does not; both must be QEMU's.
TEST_F(Generated, PlainAndPlain64Beyond2TiB) {
  if (!have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const Buffer plain = pattern(std::size_t{64} * 1024, 8);
  constexpr std::uint64_t two_tib = 2ULL << 40, end = 3ULL << 40;
  std::vector<Buffer> ciphertexts;
  for (const char* iv : {"plain", "plain64"}) {
    const std::string name = std::string("large-") + iv;
    format(name, std::to_string(end + (2U << 20U)),
           std::string("--type luks1 --cipher aes-xts-") + iv);
    for (const std::uint64_t offset : {two_tib - 32768, end - plain.size()}) {
      qemu_writes(name, plain, std::to_string(offset));
    }
    const Opened opened = open_file(name);
    ASSERT_EQ(opened.devices.size(), 1U) << reason_of(opened);
    const BlockDevice& device = *opened.devices[0].device;
    EXPECT_EQ(device.size(), end);
    EXPECT_TRUE(read_bytes(device, two_tib - 32768, plain.size()) == plain) << iv;
    EXPECT_TRUE(read_bytes(device, end - plain.size(), plain.size()) == plain) << iv;
  }
}

constexpr std::string_view decrypt_script = R"python(
import json, sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
image, key, metadata, out = sys.argv[1:5]
key = open(key, 'rb').read()
segment = json.load(open(metadata))['segments']['0']
name, mode, iv = segment['encryption'].split('-', 2)
size, tweak = segment['sector_size'], int(segment['iv_tweak'])
data = open(image, 'rb').read()[int(segment['offset']):]
if segment['size'] != 'dynamic': data = data[:int(segment['size'])]
with open(out, 'wb') as f:
    for at in range(0, len(data) // size * size, size):
        number = at // 512 + tweak
        v = number.to_bytes(16, 'big' if iv == 'plain64be' else 'little')
        if iv == 'plain': v = (number & 0xffffffff).to_bytes(16, 'little')
        m = modes.XTS(v) if mode == 'xts' else modes.CBC(v)
        d = Cipher(algorithms.AES(key), m).decryptor()
        f.write(d.update(data[at:at + size]) + d.finalize())
)python";

/// The plaintext of a LUKS2 volume as cryptsetup's own volume key and OpenSSL give it.
Buffer openssl_plaintext(const std::string& folder, const std::string& name) {
  write_file(folder + "/decrypt.py", as_bytes(decrypt_script));
  must_run("cd " + folder +
           " && rm -f vk && cryptsetup luksDump -q --dump-volume-key --volume-key-file vk " +
           "--key-file key " + name + " && cryptsetup luksDump --dump-json-metadata " + name +
           " > metadata && /usr/bin/python3 decrypt.py " + name + " vk metadata plaintext");
  return read_file(folder + "/plaintext");
}

TEST_F(Generated, OpensslDecryptsWhatWeRead) {
  if (run("/usr/bin/python3 -c 'import cryptography'").exit_code != 0) {
    GTEST_SKIP() << "python3-cryptography is not installed";
  }
  int number = 0;
  for (const char* options :
       {"--sector-size 512 --pbkdf argon2id", "--sector-size 1024 --pbkdf argon2i",
        "--sector-size 2048", "--sector-size 4096",
        "--sector-size 4096 --cipher aes-xts-plain --key-size 256",
        "--sector-size 2048 --cipher aes-cbc-plain64be --key-size 192", "--cipher aes-cbc-plain64",
        "--luks2-metadata-size 64k --luks2-keyslots-size 512k",
        "--luks2-metadata-size 4m --luks2-keyslots-size 1m --hash sha512", "--offset 4096"}) {
    const std::string name = "volume" + std::to_string(number++);
    const bool metadata = std::string_view(options).find("metadata") != std::string_view::npos;
    format(name, metadata ? "10M" : "3M",
           std::string("--type luks2 --label my --subsystem your ") +
               (metadata ? "" : "--luks2-keyslots-size 512k ") + options);
    // Ciphertext of noise: anything decrypts to something.
    const std::uint64_t size = file_device(path(name))->size();
    write_file(path("noise"), pattern(std::size_t{1} << 20U, 11));
    must_run("dd status=none conv=notrunc bs=1M seek=" + std::to_string(size / (1U << 20U) - 1) +
             " if=" + path("noise") + " of=" + path(name));
    const Buffer expected = openssl_plaintext(folder_.path(), name);
    const Opened opened = open_file(name);
    ASSERT_EQ(opened.devices.size(), 1U) << options << reason_of(opened);
    EXPECT_FALSE(opened.trouble) << reason_of(opened);
    const BlockDevice& device = *opened.devices[0].device;
    ASSERT_EQ(device.size(), expected.size()) << options;
    EXPECT_TRUE(read_bytes(device, 0, expected.size()) == expected) << options;
    EXPECT_EQ(probe(*file_device(path(name)))->label, "my");
    const Buffer written = we_write(name);
    EXPECT_TRUE(openssl_plaintext(folder_.path(), name) == written) << options;
  }
}

TEST_F(Generated, DetachedHeaders) {
  if (!have_program("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  const Buffer plain = pattern(std::size_t{1} << 20U, 12);
  format("attached", "4M", "--type luks1 --cipher aes-cbc-essiv:sha256");
  qemu_writes("attached", plain);
  const Keys keys{passphrase};
  // A backup of the header, for a device whose own is gone.
  must_run("cryptsetup luksHeaderBackup -q --header-backup-file " + path("backup") + " " +
           path("attached"));
  must_run("dd status=none if=/dev/zero of=" + path("attached") + " bs=4k count=1 conv=notrunc");
  const DevicePtr data = file_device(path("attached")), backup = file_device(path("backup"));
  EXPECT_FALSE(probe(*data));
  const Opened restored = open(data, keys.ring, quick_limits(), backup);
  ASSERT_EQ(restored.devices.size(), 1U) << reason_of(restored);
  EXPECT_TRUE(read_bytes(*restored.devices[0].device, 0, plain.size()) == plain);
  EXPECT_TRUE(
      contains(reason_of(open(backup, keys.ring)), "note: this is a LUKS header without data"));

  // A header that was detached from the start: LUKS1's payload offset is 0, or what the person
  // said.
  must_run("truncate -s 4M " + path("header1") + " " + path("header2"));
  for (const char* header : {"header1", "header2"}) {
    must_run("truncate -s 3M " + path("data") + " && cryptsetup luksFormat -q --type luks1 " +
             (header[6] == '2' ? "--align-payload 4096 " : "") +
             "--pbkdf-force-iterations 1000 --header " + path(header) + " " + path("data") + " " +
             path("key"));
    const Opened opened =
        open(file_device(path("data")), keys.ring, quick_limits(), file_device(path(header)));
    ASSERT_EQ(opened.devices.size(), 1U) << header << reason_of(opened);
    EXPECT_EQ(opened.devices[0].device->size(), header[6] == '2' ? 1U << 20U : 3U << 20U);
  }
  EXPECT_TRUE(
      contains(reason_of(open(file_device(path("header1")), keys.ring)), "header without data"));
}

TEST_F(Generated, AnOddEndIsLeftOutAndSaid) {
  format("odd", "3000000",
         "--type luks2 --luks2-keyslots-size 512k --offset 2048 --sector-size 512");
  must_run("truncate -s 2000300 " + path("odd"));
  const Opened opened = open_file("odd");
  ASSERT_EQ(opened.devices.size(), 1U) << reason_of(opened);
  EXPECT_EQ(opened.devices[0].device->size(), (2000300U - (1U << 20U)) / 512 * 512);
  ASSERT_TRUE(opened.devices[0].trouble);
  EXPECT_EQ(opened.devices[0].trouble->state, Trouble::note);
  EXPECT_TRUE(
      contains(opened.devices[0].trouble->reason,
               std::to_string((2000300U - (1U << 20U)) % 512) + " bytes at the end are less"));
}

TEST_F(Generated, KeysAreFoundByNameAndUuid) {
  format("v", "4M",
         "--type luks2 --luks2-keyslots-size 512k --uuid 6e28b17b-20dc-40c6-89de-fdafbbc49899");
  const DevicePtr device = file_device(path("v"));
  for (const char* name : {"disk", "vg-disk", "disk_crypt", "6e28b17b-20dc-40c6-89de-fdafbbc49899",
                           "6E28B17B-20DC-40C6-89DE-FDAFBBC49899"}) {
    KeyRing ring;
    ring.add_for_all(secret("wrong"));
    ring.add_for(name, secret(passphrase));
    EXPECT_EQ(open(device, ring).devices.size(), 1U) << name;
  }
  KeyRing other;
  other.add_for("another", secret(passphrase));
  EXPECT_TRUE(contains(reason_of(open(device, other)), "locked: no key given"));
}

TEST_F(Generated, EverySlotIsTried) {
  format("v", "4M", "--type luks2 --luks2-keyslots-size 1m");
  const auto cryptsetup = [&](const std::string& arguments) {
    must_run("cryptsetup " + arguments);
  };
  cryptsetup(
      "luksAddKey -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --new-key-slot 2 --key-file " +
      path("key") + " " + path("v") + " " + path("key2"));
  EXPECT_EQ(open_file("v", "second").devices.size(), 1U);
  cryptsetup("config -q --key-slot 2 --priority prefer " + path("v"));
  EXPECT_EQ(open_file("v", "second").devices.size(), 1U);
  EXPECT_EQ(open_file("v").devices.size(), 1U);
  // An unbound slot holds a key that is not the volume's: it must never be used as one.
  write_file(path("unbound"), as_bytes("unbound"));
  cryptsetup(
      "luksAddKey -q --unbound --key-size 512 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "
      "--new-key-slot 3 " +
      path("v") + " " + path("unbound"));
  EXPECT_TRUE(
      contains(reason_of(open_file("v", "unbound")), "locked: the key given does not open it"));
  // Without any slot the volume is lost, and that is said.
  cryptsetup("luksKillSlot -q --key-file " + path("key") + " " + path("v") + " 2");
  cryptsetup("erase -q " + path("v"));
  EXPECT_TRUE(
      contains(reason_of(open_file("v")), "locked: no keyslot of this LUKS header is in use"));
}

TEST_F(Generated, BinaryAndLongKeys) {
  Buffer key = pattern(100'000, 13);
  key[5] = std::byte{0};
  key[6] = std::byte{'\n'};
  write_file(path("key"), key);
  format("v", "4M", "--type luks2 --luks2-keyslots-size 512k");
  EXPECT_EQ(open_file("v", as_text(key)).devices.size(), 1U);
  EXPECT_TRUE(open_file("v", as_text(Bytes(key).first(99'999))).devices.empty());
}

TEST_F(Generated, UnlockLuksTellsWhatQcow2Needs) {
  format("v", "4M", "--type luks1 --cipher aes-xts-plain64 --key-size 512 --hash sha256");
  must_run("cryptsetup luksDump -q --dump-volume-key --volume-key-file " + path("vk") +
           " --key-file " + path("key") + " " + path("v"));
  const Buffer disk = read_file(path("v"));
  // QEMU keeps the header apart from the data: all there is ends with the payload offset.
  const DevicePtr header = make_slice(file_device(path("v")), 0, 2U << 20U, "header");
  const Keys keys{"wrong", passphrase};
  const LuksVolume volume = unlock_luks(*header, luks_keys(keys.ring, {}), quick_limits());
  EXPECT_EQ(volume.cipher, "aes-xts-plain64");
  EXPECT_EQ(Buffer(volume.key.bytes().begin(), volume.key.bytes().end()), read_file(path("vk")));
  EXPECT_EQ(volume.data_offset, 2U << 20U);
  EXPECT_EQ(volume.sector_size, 512U);
  EXPECT_EQ(volume.uuid.size(), 36U);
  EXPECT_EQ(volume.note, "");
}

// cryptsetup prepares and runs reencryptions of files without the kernel.
TEST_F(Generated, Reencryption) {
  const std::string volume = "--type luks2 --luks2-keyslots-size 512k --offset 2048";
  const std::string start =
      "cryptsetup reencrypt -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file " +
      path("key") + " --init-only ";
  const auto plaintext = [&](const std::string& name) {
    const Opened opened = open_file(name);
    EXPECT_EQ(opened.devices.size(), 1U) << reason_of(opened);
    return opened.devices.empty() ? Buffer() : read_bytes(*opened.devices[0].device, 0, 1U << 20U);
  };
  for (const std::string resilience : {"checksum", "journal"}) {
    format(resilience, "2M", volume);
    const Buffer before = plaintext(resilience);
    must_run(start + "--resilience " + resilience + " " + path(resilience));
    EXPECT_TRUE(contains(reason_of(open_file(resilience)), "note: a reencryption was prepared"));
    EXPECT_TRUE(plaintext(resilience) == before);
    // And when it has ended, under another key.
    must_run("cryptsetup reencrypt -q --resume-only --force-offline-reencrypt --key-file " +
             path("key") + " " + path(resilience));
    EXPECT_FALSE(open_file(resilience).trouble);
    EXPECT_TRUE(plaintext(resilience) == before);
  }
  // Without resilience it is not known which sectors were written.
  format("none", "2M", volume);
  must_run(start + "--resilience none " + path("none"));
  EXPECT_TRUE(
      contains(error_of([&] { open_file("none"); }),
               "unsupported: a reencryption of this LUKS2 volume is in progress (found mode "
               "\"reencrypt\", resilience \"none\""));
  // First encryption, in place: the data move.
  must_run(
      "truncate -s 16M " + path("plain") +
      " && cryptsetup reencrypt -q --encrypt --init-only --reduce-device-size 8M --pbkdf pbkdf2 "
      "--pbkdf-force-iterations 1000 --key-file " +
      path("key") + " " + path("plain"));
  EXPECT_TRUE(contains(error_of([&] { open_file("plain"); }),
                       "unsupported: LUKS2 with several data segments cannot be read yet"));
}

// Another cipher for the keyslot than for the data, both ways.
TEST_F(Generated, KeyslotsMayHaveAnotherCipher) {
  format("v", "4M",
         "--type luks2 --luks2-keyslots-size 512k --keyslot-cipher aes-cbc-essiv:sha256 "
         "--keyslot-key-size 256");
  EXPECT_EQ(open_file("v").devices.size(), 1U) << reason_of(open_file("v"));
}

}  // namespace
}  // namespace peelfs::test

// Random operations on images of many kinds, against a model in memory; qemu-img is the judge.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "host/source.h"
#include "peelfs/formats.h"
#include "peelfs/host_file.h"
#include "peelfs/layer.h"
#include "qcow2/overlay.h"
#include "qcow2/qcow2.h"
#include "support/support.h"

namespace peelfs {
namespace {

using test::must_run;
using test::pattern;
using test::run;
using test::TemporaryDirectory;

struct Kind {
  std::string name;
  std::string create;  ///< options of qemu-img create, and the size
  std::uint64_t size = 0;
  std::string prepare = "";  ///< a shell command; $I is the image
  bool backing = false;
  bool snapshots = true;  ///< whether the format lets us take some
};

constexpr std::uint64_t mib = 1U << 20U;

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all{
      {"v3", "", 24 * mib},
      {"v2", "-o compat=0.10", 24 * mib, "", false, false},
      {"tiny_clusters", "-o cluster_size=512", 3 * mib},
      {"small_clusters", "-o cluster_size=4k", 8 * mib},
      {"large_clusters", "-o cluster_size=2M", 64 * mib},
      {"extended", "-o extended_l2=on", 24 * mib},
      {"one_bit_counts", "-o refcount_bits=1,cluster_size=4k", 8 * mib, "", false, false},
      {"wide_counts", "-o refcount_bits=64,cluster_size=512", 3 * mib},
      {"metadata", "-o preallocation=metadata", 24 * mib},
      {"full", "-o preallocation=falloc", 24 * mib},
      {"odd_size", "", 5 * mib + 512},
      {"backed", "", 24 * mib, "", true},
      {"backed_v2", "-o compat=0.10", 24 * mib, "", true, false},
      {"backed_extended", "-o extended_l2=on", 24 * mib, "", true},
      {"snapshots", "", 24 * mib,
       "qemu-io -f qcow2 -c 'write -P 7 1M 9M' $I && qemu-img snapshot -c one $I && "
       "qemu-io -f qcow2 -c 'write -P 8 3M 1M' $I && qemu-img snapshot -c two $I"},
      {"snapshots_extended", "-o extended_l2=on", 24 * mib,
       "qemu-io -f qcow2 -c 'write -P 7 1M 9M' $I && qemu-img snapshot -c one $I"},
      {"bitmaps", "", 24 * mib,
       "qemu-io -f qcow2 -c 'write -P 7 1M 9M' $I && qemu-img bitmap --add -g 4096 $I one && "
       "qemu-img bitmap --add $I two"},
      {"compressed", "", 24 * mib,
       "for i in $(seq 0 300); do echo write -c -P $((i % 250 + 1)) $((i * 64))k 64k; done | "
       "qemu-io -f qcow2 $I"},
      {"compressed_extended", "-o extended_l2=on,compression_type=zstd", 24 * mib,
       "for i in $(seq 0 300); do echo write -c -P $((i % 250 + 1)) $((i * 64))k 64k; done | "
       "qemu-io -f qcow2 $I"},
  };
  return all;
}

struct OpenImage {
  DevicePtr disk;
  std::vector<DevicePtr> snapshots;
};

/// Opens an image as the scanner does.
OpenImage open(const std::string& path, HostFile::Access access, const std::string& directory) {
  static const KeyRing keys;
  static const Limits limits;
  Claim claim;
  Member member;
  member.device = make_storage_device(HostFile::open(path, access));
  member.claim = &claim;
  member.stem = "image";
  member.unpacks_to_stem = true;
  member.references = make_host_references(directory, {}, standard_formats());
  OpenInput input{{&member, 1}, keys, limits, nullptr, 0};
  input.formats = &standard_formats();
  const peelfs::Opened opened = qcow2_open(input);
  OpenImage result;
  for (const Inner& inner : opened.devices) {
    if (inner.kind == "disk")
      result.disk = inner.device;
    else
      result.snapshots.push_back(inner.device);
  }
  return result;
}

/// Snapshots that we took ourselves, and the disk as it was.
class Taken {
 public:
  /// Takes one, goes back to one, or deletes one.
  void change(const std::string& image, Buffer& model, std::mt19937_64& random) {
    const DevicePtr file = make_storage_device(HostFile::open(image, HostFile::Access::read_write));
    const std::uint64_t choice = random() % 3;
    if (disks_.empty() || choice == 0) {
      const std::string name = "taken" + std::to_string(next_++);
      qcow2::create_snapshot(file, name);
      disks_[name] = model;
    } else {
      auto at = disks_.begin();
      std::advance(at, random() % disks_.size());
      if (choice == 1) {
        qcow2::revert_to_snapshot(file, at->first);
        model = at->second;
      } else {
        qcow2::delete_snapshot(file, at->first);
        disks_.erase(at);
      }
    }
    const auto check = run("qemu-img check " + image);
    ASSERT_EQ(check.exit_code, 0) << choice << "\n" << check.output;
  }
  void compare(const std::string& image, const std::string& raw) const {
    for (const auto& [name, disk] : disks_) {
      must_run("qemu-img convert -l snapshot.name=" + name + " -O raw " + image + " " + raw);
      EXPECT_EQ(test::sha256(test::read_file(raw)), test::sha256(disk)) << name;
    }
  }

 private:
  std::map<std::string, Buffer> disks_;
  unsigned next_ = 0;
};

class RandomOperations : public ::testing::TestWithParam<Kind> {};

TEST_P(RandomOperations, LeaveTheModelsBytes) {
  const Kind& kind = GetParam();
  const TemporaryDirectory folder;
  const std::string image = folder / "image.qcow2";
  Buffer model(kind.size);
  std::string backing;
  if (kind.backing) {
    // Shorter than the image.
    const Buffer base = pattern(kind.size - 3 * mib - 512, 99);
    test::write_file(folder / "base.raw", base);
    std::copy(base.begin(), base.end(), model.begin());
    backing = " -b base.raw -F raw ";
  }
  must_run("cd " + folder.path() + " && qemu-img create -q -f qcow2 " + kind.create + backing +
           " image.qcow2 " + std::to_string(kind.size));
  if (!kind.prepare.empty()) {
    must_run("I=" + image + "; " + kind.prepare + " >/dev/null");
    must_run("qemu-img convert -O raw " + image + " " + (folder / "start.raw"));
    model = test::read_file(folder / "start.raw");
  }
  std::vector<std::string> before;
  for (const DevicePtr& snapshot :
       open(image, HostFile::Access::read_only, folder.path()).snapshots) {
    before.push_back(test::sha256(*snapshot));
  }

  std::mt19937_64 random(kind.size + kind.name.size() * 7);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  Taken taken;
  OpenImage opened = open(image, HostFile::Access::read_write, folder.path());
  ASSERT_TRUE(opened.disk->writable());
  for (unsigned operation = 0; operation < 1200; ++operation) {
    std::uint64_t length = 1 + below(below(4) == 0 ? 3 * mib : 200000);
    std::uint64_t offset = below(kind.size);
    if (below(2) == 0) offset = round_down(offset, 4096);
    if (below(2) == 0) length = round_up(length, 4096);
    length = std::min(length, kind.size - offset);
    const auto at = static_cast<std::ptrdiff_t>(offset);
    const auto size = static_cast<std::ptrdiff_t>(length);
    switch (below(12)) {
      case 0:
      case 1: {
        const WriteKind how = below(2) == 0 ? WriteKind::discard : WriteKind::zeroes;
        try {
          zero(*opened.disk, offset, length, how);
        } catch (const Error& error) {
          ASSERT_EQ(error.error_number(), EOPNOTSUPP) << error.what();
          write(*opened.disk, offset, Buffer(length));
        }
        std::fill(model.begin() + at, model.begin() + at + size, std::byte{0});
        break;
      }
      case 2: {
        const Buffer got = read_bytes(*opened.disk, offset, length);
        ASSERT_TRUE(std::equal(got.begin(), got.end(), model.begin() + at))
            << "operation " << operation;
        break;
      }
      case 3:
        opened.disk->flush();
        if (below(4) != 0) break;
        ASSERT_EQ(run("qemu-img check -U " + image).exit_code, 0)
            << operation << "\n"
            << run("qemu-img check -U " + image).output;
        break;
      case 4:
        if (below(5) != 0) break;
        opened.disk->flush();
        opened = {};
        if (kind.snapshots) taken.change(image, model, random);
        opened = open(image, HostFile::Access::read_write, folder.path());
        ASSERT_TRUE(opened.disk->writable());
        break;
      default: {
        const Buffer data = pattern(length, random());
        write(*opened.disk, offset, data);
        std::copy(data.begin(), data.end(), model.begin() + at);
      }
    }
  }
  ASSERT_EQ(test::sha256(*opened.disk), test::sha256(model));
  opened.disk->flush();
  opened = {};
  const auto check = run("qemu-img check " + image);
  EXPECT_EQ(check.exit_code, 0) << check.output;
  must_run("qemu-img convert -O raw " + image + " " + (folder / "end.raw"));
  EXPECT_EQ(test::sha256(test::read_file(folder / "end.raw")), test::sha256(model));
  taken.compare(image, folder / "end.raw");
  const OpenImage again = open(image, HostFile::Access::read_only, folder.path());
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(test::sha256(*again.snapshots.at(i)), before.at(i)) << "snapshot " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All, RandomOperations, ::testing::ValuesIn(kinds()),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace peelfs

// Images of every sort that qemu-img can make, compared byte for byte with qemu-img convert, their
// snapshots with qemu-img convert -l, their holes with qemu-img map.
#include <gtest/gtest.h>

#include <set>

#include "image_maker.h"
#include "qcow2_support.h"

namespace peelfs::test {
namespace {

class Matrix : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_PROGRAM("qemu-img");
    NEED_PROGRAM("qemu-io");
    maker_.emplace();
  }
  ImageMaker& maker() { return *maker_; }

  std::uint64_t seed() { return ++seed_ * 7919; }
  std::string next_name() { return "image" + std::to_string(seed_ + 1) + ".qcow2"; }

  void make_and_check(const ImageOptions& options) {
    const std::string name = next_name();
    SCOPED_TRACE(describe(options));
    maker().make(name, options, seed());
    maker().check(name, options.encryption);
    forget(name);
  }
  void forget(const std::string& name) { run("rm -f '" + maker().path(name) + "'*"); }

  static std::string describe(const ImageOptions& options) {
    return "version " + std::to_string(options.version) + " cluster " +
           std::to_string(options.cluster) + " size " + std::to_string(options.size) + " " +
           options.more + " " + options.backing + " " + options.encryption;
  }

  static std::vector<std::uint64_t> clusters(unsigned from_bits, unsigned to_bits,
                                             unsigned step = 1) {
    std::vector<std::uint64_t> sizes;
    for (unsigned bits = from_bits; bits <= to_bits; bits += step) sizes.push_back(1ULL << bits);
    return sizes;
  }
  /// A disk of some clusters, neither a whole number of them nor of 4 KiB.
  static std::uint64_t size_for(std::uint64_t cluster) {
    return cluster >= 512 * 1024 ? 4 * cluster + 66048 : (3U << 20U) + 1536;
  }

 private:
  std::optional<ImageMaker> maker_;
  std::uint64_t seed_ = 0;
};

TEST_F(Matrix, VersionAndClusterSize) {
  for (const int version : {2, 3}) {
    for (const std::uint64_t cluster : clusters(9, 21)) {
      make_and_check({.version = version, .cluster = cluster, .size = size_for(cluster)});
    }
  }
}

TEST_F(Matrix, RefcountWidth) {
  for (const char* bits : {"1", "2", "4", "8", "16", "32", "64"}) {
    for (const std::uint64_t cluster : {4096U, 65536U}) {
      make_and_check({.cluster = cluster,
                      .size = size_for(cluster),
                      .more = "refcount_bits=" + std::string(bits)});
    }
  }
}

TEST_F(Matrix, Zstd) {
  for (const std::uint64_t cluster : clusters(9, 21)) {
    make_and_check(
        {.cluster = cluster, .size = size_for(cluster), .more = "compression_type=zstd"});
  }
}

TEST_F(Matrix, AllCompressed) {
  for (const std::uint64_t cluster : clusters(9, 21, 2)) {
    for (const char* type : {"zlib", "zstd"}) {
      const std::string name = next_name();
      SCOPED_TRACE(name + " " + type + " " + std::to_string(cluster));
      maker().make_raw("source.raw", size_for(cluster), seed());
      must_run("cd '" + maker().directory() +
               "' && qemu-img convert -c -f raw -O qcow2 -o compression_type=" + type +
               ",cluster_size=" + std::to_string(cluster) + " source.raw " + name);
      maker().check(name);
      forget(name);
    }
  }
}

TEST_F(Matrix, ExtendedL2) {
  maker().make_raw("base.raw", 5U << 20U, 5);
  for (const std::uint64_t cluster : clusters(14, 21)) {
    for (const bool backed : {false, true}) {
      for (const char* type : {"zlib", "zstd"}) {
        ImageOptions options{.cluster = cluster,
                             .size = size_for(cluster),
                             .more = "extended_l2=on,compression_type=" + std::string(type),
                             .writes = 48};
        if (backed) {
          options.backing = "base.raw";
          options.backing_format = "raw";
        }
        make_and_check(options);
      }
    }
  }
}

TEST_F(Matrix, ExternalDataFile) {
  for (const std::uint64_t cluster : clusters(9, 21, 3)) {
    for (const char* raw : {"off", "on"}) {
      for (const char* preallocation : {"off", "metadata"}) {
        for (const char* extended : {"off", "on"}) {
          if (std::string(extended) == "on" && cluster < 16384) continue;
          // qemu 7.2 stumbles over its own lazy creation: a raw data file is always preallocated.
          if (std::string(raw) == "on" && std::string(preallocation) == "off") continue;
          ImageOptions options{.cluster = cluster, .size = size_for(cluster), .compressed = false};
          options.more = "data_file=" + next_name() + ".data,data_file_raw=" + raw +
                         ",preallocation=" + preallocation + ",extended_l2=" + extended;
          make_and_check(options);
        }
      }
    }
  }
}

TEST_F(Matrix, ExternalDataFileWithBackingFile) {
  maker().make_raw("base.raw", (2U << 20U) + 512, 8);
  for (const std::uint64_t cluster : {512U, 65536U}) {
    for (const char* extended : {"off", "on"}) {
      if (std::string(extended) == "on" && cluster < 16384) continue;
      ImageOptions options{.cluster = cluster,
                           .size = size_for(cluster),
                           .backing = "base.raw",
                           .backing_format = "raw",
                           .compressed = false};
      options.more = "data_file=" + next_name() + ".data,extended_l2=" + extended;
      make_and_check(options);
    }
  }
}

TEST_F(Matrix, Preallocation) {
  for (const std::uint64_t cluster : {512U, 4096U, 65536U, 2097152U}) {
    for (const char* preallocation : {"metadata", "falloc", "full"}) {
      for (const char* extended : {"off", "on"}) {
        if (std::string(extended) == "on" && cluster < 16384) continue;
        make_and_check(
            {.cluster = cluster,
             .size = size_for(cluster),
             .more = "preallocation=" + std::string(preallocation) + ",extended_l2=" + extended,
             .compressed = false});
      }
    }
  }
}

TEST_F(Matrix, BackingFile) {
  for (const char* format : {"raw", "qcow2"}) {
    // Shorter than, as long as, and longer than the images on it; the first ends inside of a
    // cluster.
    for (const std::uint64_t size : {1537U * 1024 + 512, 3U * 1024 * 1024 + 1536, 6U << 20U}) {
      const std::string base = std::string("base") + std::to_string(size) + "." + format;
      if (std::string(format) == "raw") {
        maker().make_raw(base, size, seed());
      } else {
        maker().make(base, {.cluster = 4096, .size = size, .writes = 60}, seed());
      }
      for (const int version : {2, 3}) {
        for (const std::uint64_t cluster : {512U, 4096U, 65536U, 1048576U}) {
          make_and_check({.version = version,
                          .cluster = cluster,
                          .size = (3U << 20U) + 1536,
                          .backing = base,
                          .backing_format = format});
        }
      }
    }
  }
}

TEST_F(Matrix, BackingChain) {
  maker().make_raw("link0", (2U << 20U) + 512, 3);
  std::string below = "link0";
  const std::vector<std::uint64_t> sizes{5U << 20U, 3U << 20U, (4U << 20U) + 1024,
                                         6U << 20U, 2U << 20U, 7U << 20U};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = "link" + std::to_string(i + 1);
    ImageOptions options{.version = i % 3 == 1 ? 2 : 3,
                         .cluster = 4096ULL << (2 * (i % 3)),
                         .size = sizes[i],
                         .backing = below,
                         .backing_format = i == 0 ? "raw" : "qcow2",
                         .writes = 16};
    if (i % 3 == 2) options.more = "extended_l2=on,compression_type=zstd";
    maker().make(name, options, seed());
    maker().check(name);
    below = name;
  }
}

TEST_F(Matrix, BackingFileElsewhereAndWithoutFormat) {
  run("mkdir '" + maker().directory() + "/below'");
  maker().make_raw("below/deep.raw", 3U << 20U, 4);
  must_run("cd '" + maker().directory() +
           "/below' && qemu-img create -q -f qcow2 -b deep.raw -F raw base.qcow2 5M");
  for (const char* base : {"below/base.qcow2", "below/deep.raw", "file:below/deep.raw"}) {
    const std::string name = next_name();
    SCOPED_TRACE(base);
    maker().make(name, {.cluster = 16384}, seed());
    const std::string format = std::string(base).ends_with("raw") ? "raw" : "qcow2";
    must_run("cd '" + maker().directory() + "' && qemu-img rebase -u -b " + base + " -F " + format +
             " " + name);
    // Without a stored format, as old qemu made them: the extension becomes one of an unknown type.
    Spoiled image(maker().path(name));
    std::size_t at = 104;
    while (image.get32(at) != 0xe2792aca) at += 8;
    image.put32(at, 0x12345678);
    write_file(maker().path(name), image.bytes());
    maker().check(name);
  }
}

TEST_F(Matrix, Snapshots) {
  for (const int version : {2, 3}) {
    for (const std::uint64_t cluster : clusters(9, 21, 3)) {
      for (const char* extended : {"off", "on"}) {
        if (std::string(extended) == "on" && (cluster < 16384 || version == 2)) continue;
        ImageOptions options{.version = version, .cluster = cluster, .size = size_for(cluster)};
        if (version == 3) options.more = "extended_l2=" + std::string(extended);
        const std::string name = next_name();
        SCOPED_TRACE(describe(options));
        const std::string at = "cd '" + maker().directory() + "' && ";
        maker().make(name, options, seed());
        must_run(at + "qemu-img snapshot -c first " + name);
        maker().scribble(name, options, seed(), false);
        must_run(at + "qemu-img snapshot -c 'second one' " + name);
        // qemu resizes images with snapshots from version 3 on, where an entry has its disk's size.
        const std::uint64_t resized = options.size + (version == 3 ? 1U << 20U : 0);
        if (version == 3) {
          must_run(at + "qemu-img resize -q " + name + " " + std::to_string(resized));
        }
        maker().scribble(name, options, seed(), false);
        must_run(at + "qemu-img snapshot -c third " + name);
        must_run(at + "qemu-img snapshot -d 'second one' " + name);
        maker().scribble(name, options, seed(), false);
        maker().check(name);
        const OpenedImage image = open_qcow2(maker().path(name));
        ASSERT_EQ(image.opened.devices.size(), 3U);
        EXPECT_EQ(image.opened.devices[1].name, "os@first");
        EXPECT_EQ(image.opened.devices[1].device->size(), options.size);
        EXPECT_EQ(image.opened.devices[2].name, "os@third");
        EXPECT_EQ(image.opened.devices[2].device->size(), resized);
        forget(name);
      }
    }
  }
}

TEST_F(Matrix, Encryption) {
  maker().make_raw("base.raw", (2U << 20U) + 512, 6);
  for (const char* method : {"aes", "luks"}) {
    for (const int version : {2, 3}) {
      for (const std::uint64_t cluster : {512U, 4096U, 65536U, 2097152U}) {
        for (const bool backed : {false, true}) {
          // qemu takes seconds to measure its key derivation for every LUKS image: a diagonal.
          if (std::string(method) == "luks" &&
              (backed != (cluster == 4096 || cluster == 2097152) ||
               version != (cluster == 512 || cluster == 2097152 ? 2 : 3))) {
            continue;
          }
          ImageOptions options{.version = version,
                               .cluster = cluster,
                               .size = size_for(cluster),
                               .encryption = method};
          if (backed) {
            options.backing = "base.raw";
            options.backing_format = "raw";
          }
          make_and_check(options);
        }
      }
    }
  }
}

TEST_F(Matrix, EncryptionWithSnapshotsSubclustersAndPreallocation) {
  for (const char* method : {"aes", "luks"}) {
    for (const char* more :
         {"extended_l2=on", "extended_l2=off,preallocation=metadata", "refcount_bits=64"}) {
      ImageOptions options{
          .cluster = 32768, .size = (3U << 20U) + 1536, .more = more, .encryption = method};
      const std::string name = next_name();
      SCOPED_TRACE(describe(options));
      maker().make(name, options, seed());
      must_run("cd '" + maker().directory() +
               "' && qemu-img snapshot -c one --object secret,id=key,data='" +
               ImageMaker::passphrase + "' --image-opts driver=qcow2,file.filename=" + name +
               ",encrypt.format=" + method + ",encrypt.key-secret=key");
      maker().scribble(name, options, seed(), false);
      maker().check(name, method);
      EXPECT_EQ(open_qcow2(maker().path(name), {ImageMaker::passphrase}).opened.devices.size(), 2U);
      forget(name);
    }
  }
}

TEST_F(Matrix, LuksCiphers) {
  for (const char* cipher :
       {"encrypt.cipher-alg=aes-128,encrypt.cipher-mode=xts,encrypt.ivgen-alg=plain64",
        "encrypt.cipher-alg=aes-256,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,"
        "encrypt.ivgen-hash-alg=sha256",
        "encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain64",
        "encrypt.cipher-alg=aes-256,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=plain,"
        "encrypt.hash-alg=sha512"}) {
    make_and_check({.cluster = 65536, .more = cipher, .encryption = "luks"});
  }
}

TEST_F(Matrix, ExternalDataFileEncrypted) {
  for (const char* method : {"aes", "luks"}) {
    for (const std::uint64_t cluster : {4096U, 65536U}) {
      if (std::string(method) == "luks" && cluster == 65536) continue;
      ImageOptions options{.cluster = cluster, .size = (3U << 20U) + 1536, .encryption = method};
      options.more = "data_file=" + next_name() + ".data";
      make_and_check(options);
    }
  }
}

}  // namespace
}  // namespace peelfs::test

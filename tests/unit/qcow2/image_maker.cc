#include "image_maker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "qcow2_support.h"

namespace peelfs::test {

namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

/// Text that compresses well and in which every place is different.
Buffer numbered_lines(std::size_t size) {
  std::string text;
  for (std::size_t line = 0; text.size() < size; ++line) {
    text += "line " + number(line * 7919) + " of the numbered text\n";
  }
  text.resize(size);
  return {as_bytes(text).begin(), as_bytes(text).end()};
}

}  // namespace

ImageMaker::ImageMaker() {
  write_file(path("text"), numbered_lines(3U << 20U));
  write_file(path("noise"), pattern(1U << 20U, 99));
}

std::string ImageMaker::image_options(const std::string& name,
                                      const std::string& encryption) const {
  const std::string secret = "--object secret,id=key,data='" + std::string(passphrase) + "'";
  if (encryption.empty()) return "-f qcow2 '" + name + "'";
  return secret + " --image-opts driver=qcow2,file.filename='" + name +
         "',encrypt.format=" + encryption + ",encrypt.key-secret=key";
}

void ImageMaker::make(const std::string& name, const ImageOptions& options, std::uint64_t seed) {
  std::string settings = "compat=" + std::string(options.version == 2 ? "0.10" : "1.1") +
                         ",cluster_size=" + number(options.cluster);
  std::string secret;
  if (!options.encryption.empty()) {
    secret = "--object secret,id=key,data='" + std::string(passphrase) + "' ";
    settings += ",encrypt.format=" + options.encryption + ",encrypt.key-secret=key";
    if (options.encryption == "luks") settings += ",encrypt.iter-time=10";
  }
  if (!options.more.empty()) settings += "," + options.more;
  std::string backing;
  if (!options.backing.empty()) {
    backing = " -b '" + options.backing + "' -F " + options.backing_format;
  }
  const std::string create = "qemu-img create -q " + secret + "-f qcow2 -o " + settings + backing +
                             " '" + name + "' " + number(options.size);
  must_run("cd '" + directory() + "' && " + create);
  ++images_;
  scribble(name, options, seed, options.compressed);
}

void ImageMaker::scribble(const std::string& name, const ImageOptions& options, std::uint64_t seed,
                          bool compressed) {
  std::mt19937_64 random(seed);
  const std::uint64_t clusters = options.size / options.cluster;
  std::string commands;
  const auto add = [&commands](const std::string& command) { commands += " -c '" + command + "'"; };
  if (compressed && options.encryption.empty()) {
    // First, because qemu does not overwrite with compressed data.
    std::vector<std::uint64_t> order(clusters);
    for (std::uint64_t i = 0; i < clusters; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    order.resize(std::min<std::size_t>(order.size(), 12));
    if (clusters > 40) {
      // Also neighbours, which are read in one batch.
      for (std::uint64_t i = 20; i < 28; ++i) {
        if (std::find(order.begin(), order.end(), i) == order.end()) order.push_back(i);
      }
    }
    for (const std::uint64_t cluster : order) {
      add("write -c -s text " + number(cluster * options.cluster) + " " + number(options.cluster));
    }
  }
  const std::uint64_t sectors = options.size / 512;
  for (int i = 0; i < options.writes; ++i) {
    const std::uint64_t begin = random() % sectors;
    const std::uint64_t most = i % 5 == 0 ? 3 * options.cluster / 512 + 3 : 40;
    const std::uint64_t length =
        std::min<std::uint64_t>({1 + random() % most, sectors - begin, 2000});
    const std::string range = number(begin * 512) + " " + number(length * 512);
    switch (options.zeroes ? i % 8 : i % 4) {
      case 4:
        add("write -z " + range);
        break;
      case 5:
        add("write -z -u " + range);
        break;
      case 6: {
        // Whole clusters, so that the cluster itself becomes zero.
        const std::uint64_t first = random() % std::max<std::uint64_t>(clusters, 1);
        const std::uint64_t count = std::min<std::uint64_t>(1 + random() % 3, clusters - first);
        if (count != 0) {
          add((i % 16 < 8 ? "write -z " : "write -z -u ") + number(first * options.cluster) + " " +
              number(count * options.cluster));
        }
        break;
      }
      case 7:
        add("discard " + number(random() % clusters * options.cluster) + " " +
            number(options.cluster));
        break;
      case 1:
        add("write -P " + number(1 + random() % 255) + " " + range);
        break;
      case 2:
        add("write -s noise " + range);
        break;
      default:
        add("write -s text " + range);
        break;
    }
  }
  const std::string output = must_run("cd '" + directory() + "' && qemu-io -d unmap" + commands +
                                      " " + image_options(name, options.encryption));
  ASSERT_EQ(output.find("failed"), std::string::npos) << output;
}

void ImageMaker::make_raw(const std::string& name, std::uint64_t size, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string commands;
  for (int i = 0; i < 12; ++i) {
    const std::uint64_t begin = random() % (size / 512);
    const std::uint64_t length = std::min<std::uint64_t>(1 + random() % 700, size / 512 - begin);
    commands += " -c 'write -s " + std::string(i % 2 == 0 ? "text " : "noise ") +
                number(begin * 512) + " " + number(length * 512) + "'";
  }
  must_run("cd '" + directory() + "' && truncate -s " + number(size) + " '" + name +
           "' && qemu-io -f raw" + commands + " '" + name + "'");
}

void ImageMaker::check(const std::string& name, const std::string& encryption) {
  SCOPED_TRACE(name);
  const std::string in_directory = "cd '" + directory() + "' && ";
  must_run(in_directory + "qemu-img convert -O raw " + image_options(name, encryption) + " '" +
           name + ".raw'");
  std::vector<std::string> keys;
  if (!encryption.empty()) keys.emplace_back(passphrase);
  const OpenedImage image = open_qcow2(path(name), keys);
  const std::optional<Trouble> trouble = image.opened.devices.at(0).trouble;
  if (trouble) {
    EXPECT_EQ(trouble->state, Trouble::note) << trouble->reason;
    if (encryption != "aes") ADD_FAILURE() << trouble->reason;
  }
  EXPECT_EQ(difference(image.disk(), path(name + ".raw")), "");
  check_contract(image.disk());
  check_map(name, encryption, image.disk());
  for (const Inner& inner : image.opened.devices) {
    if (inner.kind != "snapshot") continue;
    SCOPED_TRACE(inner.name);
    const std::string tag = inner.name.substr(inner.name.find('@') + 1);
    must_run(in_directory + "qemu-img convert -l '" + tag + "' -O raw " +
             image_options(name, encryption) + " '" + name + ".snapshot'");
    // qemu-img gives every snapshot the disk's present size.
    must_run(in_directory + "truncate -s " + number(inner.device->size()) + " '" + name +
             ".snapshot'");
    EXPECT_EQ(difference(*inner.device, path(name + ".snapshot")), "");
    check_contract(*inner.device);
  }
}

void ImageMaker::check_map(const std::string& name, const std::string& encryption,
                           const BlockDevice& disk) const {
  const std::string json = must_run("cd '" + directory() + "' && qemu-img map --output=json " +
                                    image_options(name, encryption));
  static const std::regex entry(
      "\"start\": ([0-9]+), \"length\": ([0-9]+), .*\"zero\": (true|false), "
      "\"data\": (true|false)");
  std::uint64_t covered = 0;
  for (auto match = std::sregex_iterator(json.begin(), json.end(), entry);
       match != std::sregex_iterator(); ++match) {
    std::uint64_t at = std::stoull((*match)[1]);
    const std::uint64_t end = at + std::stoull((*match)[2]);
    EXPECT_EQ(at, covered);
    covered = end;
    const bool hole = (*match)[3] == "true" && (*match)[4] == "false";
    while (hole && at < end) {
      const Run run = block_status(disk, at, end - at);
      ASSERT_FALSE(run.data) << "qemu-img map has a hole at " << at << " of " << name;
      at += run.length;
    }
  }
  EXPECT_EQ(covered, disk.size());
}

}  // namespace peelfs::test

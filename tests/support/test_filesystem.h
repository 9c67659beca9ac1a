// A filesystem that is none of peelfs' own: its tables are in memory, and each file has one sector
// on the device that stands for its inode, so that tests see in which order files are looked at.
// Ids have 64 bits in two parts, as those of btrfs and NTFS have.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "fs/owner_map.h"
#include "peelfs/devices.h"
#include "peelfs/error.h"
#include "peelfs/filesystem.h"
#include "peelfs/io.h"

namespace peelfs::test {

class TestFilesystem : public Filesystem {
 public:
  static constexpr std::uint64_t kBlock = 512;
  /// The sector of the file with number 0 would be sector 0.
  static constexpr std::uint64_t kNumber = std::uint64_t{1} << 40U;
  static constexpr std::uint64_t kVolume = 257;

  /// What a directory lists besides its names.
  enum class Listing : std::uint8_t { whole, damaged, encrypted };

  /// @param device holds the sectors of `files` files, and what they contain behind those
  explicit TestFilesystem(DevicePtr device, std::uint64_t files = 64)
      : device_(std::move(device)), data_(files * kBlock) {
    nodes_[0].type = Type::directory;
  }
  /// The same files on another device.
  TestFilesystem(const TestFilesystem& other, DevicePtr device)
      : device_(std::move(device)),
        data_(other.data_),
        nodes_(other.nodes_),
        mounted_on_(other.mounted_on_),
        folds_case_(other.folds_case_) {}

  // Sectors are given by the test: `number` is 1 to `files` - 1. The root has 0.
  Id directory(std::uint64_t parent, const std::string& name, std::uint64_t number) {
    return add(parent, name, number, {.type = Type::directory});
  }
  Id link_to(std::uint64_t parent, const std::string& name, std::uint64_t number,
             const std::string& target) {
    return add(parent, name, number, {.type = Type::symbolic_link, .target = target});
  }
  /// @param offset of its bytes on the device; of the part in front of `hole` bytes at its end
  Id file(std::uint64_t parent, const std::string& name, std::uint64_t number, std::uint64_t offset,
          std::uint64_t length, std::uint64_t hole = 0) {
    return add(parent, name, number,
               {.type = Type::regular, .offset = offset, .length = length, .hole = hole});
  }
  /// One more name.
  void hard_link(std::uint64_t parent, const std::string& name, std::uint64_t number) {
    nodes_.at(parent).names.emplace_back(name, number);
    ++nodes_.at(number).links;
  }
  void set_listing(std::uint64_t number, Listing listing) { nodes_.at(number).listing = listing; }
  void set_mounted_on(std::string path) { mounted_on_ = std::move(path); }
  void fold_case() { folds_case_ = true; }
  void set_state(State state) { state_ = std::move(state); }

  static Id id(std::uint64_t number) { return {kVolume, kNumber + number}; }

  Abilities abilities() const noexcept override {
    return {.names = true, .owners = true, .free_space = true};
  }
  std::string describe() const override { return "a filesystem of tests"; }
  State state() const override { return state_; }
  std::string repair_advice() const override { return "mend the test"; }
  std::string last_mounted() const override { return mounted_on_; }
  Id root() const override { return id(0); }
  std::unique_ptr<Reader> reader() const override { return std::make_unique<TestReader>(*this); }

  std::vector<OwnedRange> owners(std::span<const ByteRange> ranges) const override {
    fs::OwnerMap map(ranges, kBlock);
    map.claim(0, data_ / kBlock, [] { return Owner{Owner::Kind::structure, {}, "inodes"}; });
    for (const auto& [number, node] : nodes_) {
      if (node.type != Type::regular) continue;
      map.claim(node.offset / kBlock, div_round_up(node.length, kBlock), [&, &key = number] {
        return Owner{Owner::Kind::file, id(key), path_of(key)};
      });
    }
    return map.owners();
  }

  std::optional<Error> free_space(
      const std::function<bool(const ByteRange&)>& visit) const override {
    std::vector<ByteRange> used{{0, data_}};
    for (const auto& [number, node] : nodes_) {
      if (node.length != 0) used.push_back({node.offset, round_up(node.length, kBlock)});
    }
    std::sort(used.begin(), used.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    used.push_back({device_->size(), 0});
    std::uint64_t end = 0;
    for (const ByteRange& one : used) {
      if (one.offset > end && !visit({end, one.offset - end})) break;
      end = std::max(end, one.offset + one.length);
    }
    return std::nullopt;
  }

 private:
  struct Node {
    Type type = Type::other;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint64_t hole = 0;
    std::string target = {};
    std::uint32_t links = 1;
    Listing listing = Listing::whole;
    std::vector<std::pair<std::string, std::uint64_t>> names = {};
  };

  /// Bytes that a file's sector describes, and a hole behind them.
  class File : public BlockDevice {
   public:
    File(DevicePtr lower, const Node& node, std::string description)
        : BlockDevice(node.length + node.hole),
          lower_(std::move(lower)),
          offset_(node.offset),
          stored_(node.length),
          description_(std::move(description)) {}
    Extent map(std::uint64_t offset, std::uint64_t length) const override {
      if (offset >= stored_) return Extent::zeroes(length);
      return Extent::in_device(*lower_, offset_ + offset, std::min(length, stored_ - offset));
    }
    std::string describe() const override { return description_; }

   private:
    const DevicePtr lower_;
    const std::uint64_t offset_, stored_;
    const std::string description_;
  };

  class TestReader : public Reader {
   public:
    explicit TestReader(const TestFilesystem& of)
        : device_(of.device_), nodes_(of.nodes_), folds_case_(of.folds_case_) {}

    Stat stat(const Id& id) override {
      const auto known = nodes_.find(id.number - kNumber);
      if (id.volume != kVolume || known == nodes_.end()) {
        throw Error(Fault::damaged, "there is no such file");
      }
      (void)read_bytes(*device_, known->first * kBlock, kBlock);
      const Node& node = known->second;
      Stat stat;
      stat.id = id;
      stat.type = node.type;
      stat.size = node.type == Type::symbolic_link ? node.target.size() : node.length + node.hole;
      stat.allocated = round_up(node.length, kBlock);
      stat.links = node.links;
      stat.detail = std::make_shared<const Node>(node);
      return stat;
    }
    std::optional<Error> list(const Stat& directory, Allowance& allowance,
                              const Visit& visit) override {
      const Node& node = node_of(directory);
      if (node.listing == Listing::encrypted) {
        throw Error(Fault::unsupported, "its names are encrypted");
      }
      for (const auto& [name, number] : node.names) {
        if (allowance.ended()) return std::nullopt;
        allowance.take(1);
        if (!visit(Entry{id(number), nodes_.at(number).type, name})) return std::nullopt;
      }
      if (node.listing == Listing::whole) return std::nullopt;
      return Error(Fault::damaged, "the rest of it is torn");
    }
    DevicePtr file(const Stat& file, std::string description) override {
      return std::make_shared<const File>(device_, node_of(file), std::move(description));
    }
    std::string link_target(const Stat& link) override { return node_of(link).target; }
    bool same_name(std::string_view a, std::string_view b) const override {
      if (!folds_case_) return a == b;
      return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                        [](char x, char y) { return std::tolower(x) == std::tolower(y); });
    }

   private:
    static const Node& node_of(const Stat& stat) {
      return *static_cast<const Node*>(stat.detail.get());
    }
    const DevicePtr device_;
    const std::map<std::uint64_t, Node> nodes_;
    const bool folds_case_;
  };

  Id add(std::uint64_t parent, const std::string& name, std::uint64_t number, Node node) {
    nodes_[number] = std::move(node);
    nodes_.at(parent).names.emplace_back(name, number);
    return id(number);
  }

  std::string path_of(std::uint64_t number) const {
    for (const auto& [parent, node] : nodes_) {
      for (const auto& [name, child] : node.names) {
        if (child != number) continue;
        return (parent == 0 ? "" : path_of(parent)) + "/" + name;
      }
    }
    return "<inode " + std::to_string(number) + ">";
  }

  const DevicePtr device_;
  const std::uint64_t data_;  ///< where sectors of files end, in bytes
  std::map<std::uint64_t, Node> nodes_;
  std::string mounted_on_;
  bool folds_case_ = false;
  State state_;
};

}  // namespace peelfs::test

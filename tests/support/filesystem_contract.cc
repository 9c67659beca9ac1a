#include "support/filesystem_contract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <thread>

#include "peelfs/io.h"
#include "support/support.h"

namespace peelfs::test {

namespace {

using Id = Filesystem::Id;
using Stat = Filesystem::Stat;
using Type = Filesystem::Type;

struct File {
  Stat stat;
  std::set<std::string> paths;
};
using Files = std::map<Id, File>;

/// All that can be reached from the root.
Files walk(const Filesystem& filesystem) {
  Files files;
  const auto reader = filesystem.reader();
  std::vector<std::pair<Id, std::string>> pending{{filesystem.root(), ""}};
  files[filesystem.root()] = {reader->stat(filesystem.root()), {"/"}};
  while (!pending.empty()) {
    const auto [directory, path] = pending.back();
    pending.pop_back();
    Filesystem::Allowance allowance;
    std::vector<std::pair<std::string, Filesystem::Entry>> entries;
    const auto damage =
        reader->list(files.at(directory).stat, allowance, [&](const Filesystem::Entry& entry) {
          entries.emplace_back(entry.name, entry);
          return true;
        });
    EXPECT_FALSE(damage) << path << ": " << damage->what();
    for (const auto& [name, entry] : entries) {
      EXPECT_TRUE(!name.empty() && name.find('/') == std::string::npos && name != "." &&
                  name != "..")
          << path << "/" << name;
      const Stat stat = reader->stat(entry.id);
      EXPECT_EQ(stat.id, entry.id) << path << "/" << name;
      EXPECT_NE(stat.type, Type::unknown) << path << "/" << name;
      if (entry.type != Type::unknown) {
        EXPECT_EQ(stat.type, entry.type) << path << "/" << name;
      }
      const auto found = reader->find(files.at(directory).stat, name, allowance);
      EXPECT_TRUE(found && *found == entry.id) << path << "/" << name << " is not found by name";
      const bool fresh = !files.contains(entry.id);
      files[entry.id].stat = stat;
      files[entry.id].paths.insert(path + "/" + name);
      if (fresh && stat.type == Type::directory) pending.emplace_back(entry.id, path + "/" + name);
    }
    EXPECT_FALSE(reader->find(files.at(directory).stat, "no such name", allowance)) << path;
  }
  return files;
}

/// Where a file lies on the device of the filesystem.
std::vector<ByteRange> places(const BlockDevice& file, const BlockDevice& device) {
  std::vector<ByteRange> ranges;
  for (std::uint64_t at = 0; at < file.size();) {
    const Extent extent = file.map(at, file.size() - at);
    if (extent.kind == ExtentKind::lower && extent.device == &device) {
      ranges.push_back({extent.offset, extent.length});
    }
    at += extent.length;
  }
  return ranges;
}

void check_owners(const Filesystem& filesystem, const BlockDevice& device, const File& file,
                  std::vector<ByteRange> ranges) {
  std::sort(ranges.begin(), ranges.end(),
            [](const ByteRange& a, const ByteRange& b) { return a.offset < b.offset; });
  std::uint64_t asked = 0;
  for (const ByteRange& range : ranges) asked += range.length;
  std::uint64_t told = 0;
  std::uint64_t end = 0;
  for (const Filesystem::OwnedRange& range : filesystem.owners(ranges)) {
    EXPECT_GE(range.offset, end) << "out of order";
    EXPECT_LE(range.offset + range.length, device.size());
    end = range.offset + range.length;
    told += range.length;
    EXPECT_EQ(range.owner.kind, Filesystem::Owner::Kind::file) << *file.paths.begin();
    EXPECT_EQ(range.owner.id, file.stat.id) << *file.paths.begin();
    EXPECT_TRUE(file.paths.contains(range.owner.name)) << range.owner.name;
  }
  EXPECT_EQ(told, asked) << *file.paths.begin();
}

void check_free_space(const Filesystem& filesystem, const BlockDevice& device,
                      const std::vector<ByteRange>& used) {
  std::vector<ByteRange> free;
  std::uint64_t end = 0;
  const auto damage = filesystem.free_space([&](const ByteRange& range) {
    EXPECT_GT(range.length, 0U);
    EXPECT_GE(range.offset, end) << "out of order";
    EXPECT_LE(range.offset + range.length, device.size());
    end = range.offset + range.length;
    free.push_back(range);
    return true;
  });
  EXPECT_FALSE(damage) << damage->what();
  for (const ByteRange& one : used) {
    for (const ByteRange& other : free) {
      const bool apart =
          one.offset + one.length <= other.offset || other.offset + other.length <= one.offset;
      EXPECT_TRUE(apart) << "bytes of a file are called free at " << one.offset;
    }
  }
  for (const Filesystem::OwnedRange& range : filesystem.owners(free)) {
    EXPECT_TRUE(range.owner.kind == Filesystem::Owner::Kind::none ||
                range.owner.kind == Filesystem::Owner::Kind::data)
        << "free bytes at " << range.offset << " belong to " << range.owner.name;
  }
  std::size_t visits = 0;
  (void)filesystem.free_space([&](const ByteRange&) { return ++visits < 2; });
  EXPECT_EQ(visits, std::min<std::size_t>(free.size(), 2)) << "a visit that answers false ends it";
}

void check_allowance(const Filesystem& filesystem) {
  const auto reader = filesystem.reader();
  const Stat root = reader->stat(filesystem.root());
  const auto visits = [&](Filesystem::Allowance allowance) {
    std::size_t count = 0;
    (void)reader->list(root, allowance, [&](const Filesystem::Entry&) { return ++count != 0; });
    return count;
  };
  EXPECT_EQ(visits({.blocks = 0}), 0U);
  const std::atomic<bool> cancelled = true;
  EXPECT_EQ(visits({.cancelled = &cancelled}), 0U);
}

}  // namespace

std::size_t check_filesystem(const Filesystem& filesystem, const BlockDevice& device) {
  const Files files = walk(filesystem);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        const Files again = walk(filesystem);
        EXPECT_EQ(again.size(), files.size());
      });
    }
  }
  // A reader takes what another one said of a file.
  const auto reader = filesystem.reader();
  std::vector<ByteRange> used;
  for (const auto& [id, file] : files) {
    if (file.stat.type == Type::symbolic_link) {
      EXPECT_FALSE(reader->link_target(file.stat).empty()) << *file.paths.begin();
    }
    if (file.stat.type != Type::regular) continue;
    const DevicePtr bytes = reader->file(file.stat, "file " + *file.paths.begin());
    EXPECT_EQ(bytes->size(), file.stat.size) << *file.paths.begin();
    EXPECT_EQ(bytes->describe(), "file " + *file.paths.begin());
    if (bytes->size() == 0) continue;
    const auto ranges = places(*bytes, device);
    if (filesystem.abilities().owners) check_owners(filesystem, device, file, ranges);
    used.insert(used.end(), ranges.begin(), ranges.end());
  }
  if (filesystem.abilities().free_space) check_free_space(filesystem, device, used);
  check_allowance(filesystem);
  EXPECT_THROW((void)reader->stat({~std::uint64_t{0}, ~std::uint64_t{0}}), Error);
  return files.size();
}

}  // namespace peelfs::test

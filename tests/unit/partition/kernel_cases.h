// Strange partition tables, small enough to be built on the fly, and what Linux makes of each.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "unit/partition/table_support.h"

namespace peelfs::test {

/// A disk of which only some sectors are written.
class SparseDisk {
 public:
  SparseDisk(std::uint64_t bytes, unsigned block_size) : size(bytes), block(block_size) {}

  void mbr(std::uint64_t lba, const std::vector<Slot>& slots, std::uint32_t signature = 0);
  void unsign(std::uint64_t lba) { put(lba * block + 510, Buffer(2)); }
  void put(std::uint64_t offset, Bytes bytes);
  void put(std::uint64_t offset, std::string_view text) { put(offset, as_bytes(text)); }

  struct Entry {
    unsigned number;
    std::uint64_t first, last;  ///< LBA
  };
  struct GptOptions {
    bool protective = true, primary = true, backup = true;
    std::uint64_t last_usable = 0;  ///< 0: as it ought to be
    unsigned entry_size = 128, entries = 128;
  };
  void gpt(const std::vector<Entry>& entries, const GptOptions& options);
  void gpt(const std::vector<Entry>& entries) { gpt(entries, GptOptions{}); }

  void write(const std::string& path) const;
  /// As the program that runs the cases under another kernel reads them: "size block", then lines
  /// of "offset hexadecimal".
  std::string text() const;

  const std::uint64_t size;
  const unsigned block;

 private:
  std::map<std::uint64_t, Buffer> sectors_;
};

/// Number, start and size in 512-byte sectors, as /sys/block/D/Dp* has them.
struct KernelPart {
  unsigned number;
  std::uint64_t start, size;
  bool operator==(const KernelPart&) const = default;
};

struct KernelCase {
  const char* name;
  std::uint64_t size;
  unsigned block;
  std::function<void(SparseDisk&)> build;
};

struct KernelAnswer {
  std::vector<KernelPart> linux_shows;  ///< recorded from Linux 6.1 (loop device, partscan)
  std::string why_we_differ;            ///< empty: we show the same
  std::vector<KernelPart> we_show;
};

const std::vector<KernelCase>& kernel_cases();

/// By the name of the case. @throws std::out_of_range
const KernelAnswer& kernel_answer(const std::string& name);

}  // namespace peelfs::test

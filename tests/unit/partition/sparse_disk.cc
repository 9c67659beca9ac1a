#include <algorithm>

#include "partition/crc32.h"
#include "unit/partition/kernel_cases.h"

namespace peelfs::test {

void SparseDisk::put(std::uint64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const std::uint64_t base = offset / 512 * 512;
    const std::size_t step = std::min<std::size_t>(bytes.size(), base + 512 - offset);
    Buffer& sector = sectors_.try_emplace(base, Buffer(512)).first->second;
    std::copy_n(bytes.begin(), step, sector.begin() + static_cast<long>(offset - base));
    offset += step;
    bytes = bytes.subspan(step);
  }
}

void SparseDisk::mbr(std::uint64_t lba, const std::vector<Slot>& slots, std::uint32_t signature) {
  Buffer& sector = sectors_.try_emplace(lba * block, Buffer(512)).first->second;
  put_mbr(sector, 0, slots, signature);
}

void SparseDisk::gpt(const std::vector<Entry>& entries, const GptOptions& options) {
  const std::uint64_t last = size / block - 1;
  const std::uint64_t length = std::uint64_t{options.entries} * options.entry_size;
  const std::uint64_t array_blocks = (length + block - 1) / block;
  Buffer array(length);
  for (const Entry& entry : entries) {
    const std::size_t at = (entry.number - 1) * std::size_t{options.entry_size};
    const Buffer guids = pattern(32, entry.number);
    std::copy(guids.begin(), guids.end(), array.begin() + static_cast<long>(at));
    put_le(array, at + 32, entry.first, 8);
    put_le(array, at + 40, entry.last, 8);
    put_le(array, at + 56, 'p', 2);
  }
  const auto header = [&](std::uint64_t lba, std::uint64_t other, std::uint64_t array_lba) {
    Buffer bytes(512);
    const std::string_view magic = "EFI PART";
    std::copy_n(as_bytes(magic).begin(), magic.size(), bytes.begin());
    put_le(bytes, 8, 0x10000, 4);
    put_le(bytes, 12, 92, 4);
    put_le(bytes, 24, lba, 8);
    put_le(bytes, 32, other, 8);
    put_le(bytes, 40, 2 + array_blocks, 8);
    put_le(bytes, 48, options.last_usable != 0 ? options.last_usable : last - 1 - array_blocks, 8);
    put_le(bytes, 56, 0x1234567890ABCDEF, 8);
    put_le(bytes, 72, array_lba, 8);
    put_le(bytes, 80, options.entries, 4);
    put_le(bytes, 84, options.entry_size, 4);
    put_le(bytes, 88, crc32(array), 4);
    put_le(bytes, 16, crc32(Bytes(bytes).first(92)), 4);
    put(lba * block, bytes);
    put(array_lba * block, array);
  };
  if (options.protective) {
    mbr(0, {{0xEE, 1, static_cast<std::uint32_t>(std::min<std::uint64_t>(last, 0xFFFFFFFF))},
            {},
            {},
            {}});
  }
  if (options.primary) header(1, last, 2);
  if (options.backup) header(last, 1, last - array_blocks);
}

void SparseDisk::write(const std::string& path) const {
  write_file(path, {});
  must_run("truncate -s " + std::to_string(size) + " '" + path + "'");
  // One dd for each run of neighbouring sectors.
  for (auto at = sectors_.begin(); at != sectors_.end();) {
    const std::uint64_t begin = at->first;
    Buffer run;
    for (; at != sectors_.end() && at->first == begin + run.size(); ++at) {
      run.insert(run.end(), at->second.begin(), at->second.end());
    }
    write_file(path + ".run", run);
    must_run("dd if='" + path + ".run' of='" + path +
             "' conv=notrunc bs=512 status=none seek=" + std::to_string(begin / 512));
  }
}

std::string SparseDisk::text() const {
  std::string text = std::to_string(size) + " " + std::to_string(block) + "\n";
  static constexpr std::string_view digits = "0123456789abcdef";
  for (const auto& [offset, sector] : sectors_) {
    text += std::to_string(offset) + " ";
    for (const std::byte byte : sector) {
      text += digits[std::to_integer<unsigned>(byte) >> 4U];
      text += digits[std::to_integer<unsigned>(byte) & 15U];
    }
    text += "\n";
  }
  return text;
}

}  // namespace peelfs::test

#include "unit/partition/table_support.h"

#include <gtest/gtest.h>

#include <ostream>
#include <sstream>
#include <stdexcept>

#include "partition/crc32.h"
#include "partition/partition.h"

namespace peelfs::test {

std::ostream& operator<<(std::ostream& out, const Listed& listed) {
  return out << "p" << listed.number << " at " << listed.start << " size " << listed.size
             << " uuid " << listed.uuid << " label \"" << listed.label << "\" type " << listed.type;
}

std::vector<Listed> Peeled::list() const {
  std::vector<Listed> all;
  for (const Inner& inner : opened.devices) {
    Listed listed;
    listed.number = static_cast<unsigned>(std::stoul(inner.name.substr(inner.name.rfind('p') + 1)));
    listed.size = inner.device->size();
    if (listed.size != 0) {
      try {
        const Resolved place = resolve(*inner.device, 0, 1);
        listed.start =
            place.extent.kind == ExtentKind::computed ? place.offset : place.extent.offset;
      } catch (const Error&) {
        continue;  // beyond the end of the disk
      }
    }
    listed.uuid = inner.partuuid;
    listed.label = inner.partlabel;
    listed.type = inner.parttype;
    EXPECT_EQ(inner.kind, "part");
    EXPECT_EQ(inner.name, "diskp" + std::to_string(listed.number));
    EXPECT_EQ(inner.path, std::vector<std::string>{"p" + std::to_string(listed.number)});
    all.push_back(listed);
  }
  return all;
}

bool Peeled::has(unsigned number) const {
  for (const Inner& inner : opened.devices) {
    if (inner.name == "diskp" + std::to_string(number)) return true;
  }
  return false;
}

const Inner& Peeled::at(unsigned number) const {
  for (const Inner& inner : opened.devices) {
    if (inner.name == "diskp" + std::to_string(number)) return inner;
  }
  throw std::out_of_range("no partition " + std::to_string(number));
}

Peeled peel(const DevicePtr& device, const Identity& identity) {
  Peeled peeled;
  const ProbeInput input{*device, identity};
  auto* open = &gpt_open;
  if (std::optional<Claim> gpt = gpt_probe(input)) {
    peeled.row = "gpt";
    peeled.claim = *gpt;
  } else if (std::optional<Claim> mbr = mbr_probe(input)) {
    peeled.row = "mbr";
    peeled.claim = *mbr;
    open = &mbr_open;
  } else {
    return peeled;
  }
  Member member;
  member.device = device;
  member.claim = &peeled.claim;
  member.stem = "disk";
  member.tail = "disk";
  const KeyRing keys;
  const Limits limits;
  const OpenInput open_input{{&member, 1}, keys, limits, nullptr, 0};
  peeled.opened = open(open_input);
  return peeled;
}

namespace {

/// partx -P writes what is not ASCII as \xNN.
std::string unescaped(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "\\x") == 0 && i + 3 < text.size()) {
      plain += static_cast<char>(std::stoul(text.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

}  // namespace

std::vector<Listed> partx(const std::string& path, const std::string& options) {
  std::istringstream lines(must_run("LC_ALL=C.UTF-8 partx -g -P " + options +
                                    " -o NR,START,SECTORS,UUID,NAME,TYPE '" + path + "'"));
  std::vector<Listed> all;
  for (std::string line; std::getline(lines, line);) {
    const auto field = [&](const std::string& name) {
      const std::size_t at = line.find(name + "=\"") + name.size() + 2;
      return unescaped(line.substr(at, line.find('"', at) - at));
    };
    Listed listed;
    listed.number = static_cast<unsigned>(std::stoul(field("NR")));
    listed.start = std::stoull(field("START")) * 512;
    listed.size = std::stoull(field("SECTORS")) * 512;
    listed.uuid = field(" UUID");
    listed.label = field("NAME");
    listed.type = field("TYPE");
    all.push_back(listed);
  }
  return all;
}

void make_sfdisk(const std::string& path, const std::string& size, const std::string& script) {
  write_file(path + ".script", as_bytes(script));
  must_run("truncate -s " + size + " '" + path + "' && LC_ALL=C.UTF-8 sfdisk -q '" + path +
           "' < '" + path + ".script'");
}

void make_fdisk(const std::string& path, const std::string& size, unsigned sector_size,
                const std::string& keys) {
  write_file(path + ".keys", as_bytes(keys));
  must_run("truncate -s " + size + " '" + path + "' && fdisk -b " + std::to_string(sector_size) +
           " '" + path + "' < '" + path + ".keys'");
}

void put_le(Buffer& bytes, std::size_t at, std::uint64_t value, unsigned width) {
  for (unsigned i = 0; i < width; ++i) bytes.at(at + i) = static_cast<std::byte>(value >> (8 * i));
}

std::uint64_t get_le(const Buffer& bytes, std::size_t at, unsigned width) {
  std::uint64_t value = 0;
  for (unsigned i = width; i-- > 0;) {
    value = value << 8U | std::to_integer<std::uint64_t>(bytes.at(at + i));
  }
  return value;
}

void fix_gpt(Buffer& disk, std::uint64_t header_at, unsigned sector_size, bool array) {
  const auto entries = get_le(disk, header_at + 72, 8) * sector_size;
  const auto length = get_le(disk, header_at + 80, 4) * get_le(disk, header_at + 84, 4);
  if (array && entries <= disk.size() && length <= disk.size() - entries) {
    put_le(disk, header_at + 88, crc32(Bytes(disk).subspan(entries, length)), 4);
  }
  put_le(disk, header_at + 16, 0, 4);
  const auto size = get_le(disk, header_at + 12, 4);
  put_le(disk, header_at + 16, crc32(Bytes(disk).subspan(header_at, size)), 4);
}

void put_mbr(Buffer& disk, std::uint64_t sector, const std::vector<Slot>& slots,
             std::uint32_t signature) {
  const std::size_t base = sector * 512;
  put_le(disk, base + 440, signature, 4);
  put_le(disk, base + 510, 0xAA55, 2);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const std::size_t at = base + 446 + i * 16;
    put_le(disk, at, slots[i].boot, 1);
    put_le(disk, at + 4, slots[i].type, 1);
    put_le(disk, at + 8, slots[i].start, 4);
    put_le(disk, at + 12, slots[i].count, 4);
  }
}

}  // namespace peelfs::test

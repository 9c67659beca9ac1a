#include "writing/cut/replay.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <stdexcept>

#include "support/support.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t sector = 512;
constexpr time_t fixed_time = 1'700'000'000;

bool changes_bytes(const Entry& entry) {
  switch (entry.header.kind) {
    case Record::write:
    case Record::zero:
    case Record::allocate:
    case Record::truncate:
      return true;
    default:
      return false;
  }
}

}  // namespace

Log::Log(const std::string& path) : bytes_(read_file(path)) {
  for (std::size_t at = 0; at < bytes_.size();) {
    Entry entry;
    entry.at = at;
    if (bytes_.size() - at < sizeof(RecordHeader)) throw std::runtime_error("a torn log");
    std::memcpy(&entry.header, bytes_.data() + at, sizeof(RecordHeader));
    at += sizeof(RecordHeader);
    if (entry.header.magic != RecordHeader::expected_magic ||
        entry.header.data_length > bytes_.size() - at) {
      throw std::runtime_error("the log is damaged at " + std::to_string(entry.at));
    }
    entry.data = Bytes(bytes_).subspan(at, entry.header.data_length);
    at += entry.data.size();
    if (entry.header.kind == Record::unrecordable) throw std::runtime_error(entry.text());
    entries_.push_back(entry);
  }
}

void Log::forget_barriers() {
  bool last = false;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    if (entry->header.kind == Record::promise) last = true;
    if (entry->header.kind != Record::sync) continue;
    if (!last) entry->header.kind = Record::note;
    last = false;
  }
}

void Log::forget_syncs() {
  for (Entry& entry : entries_) {
    const bool sync = entry.header.kind == Record::sync || entry.header.kind == Record::sync_names;
    if (sync) entry.header.kind = Record::note;
  }
}

Base base_of(const std::string& directory) {
  Base base;
  for (const auto& found : std::filesystem::recursive_directory_iterator(directory)) {
    if (!found.is_regular_file()) continue;
    struct stat status {};
    const std::string name = std::filesystem::relative(found.path(), directory).string();
    if (::stat(found.path().c_str(), &status) != 0) throw std::runtime_error("stat " + name);
    base.files[name] = read_file(found.path().string());
    base.names[status.st_ino] = name;
  }
  return base;
}

void fix_times(const std::string& directory) {
  const timespec time{fixed_time, 0};
  const timespec times[] = {time, time};
  for (const auto& found : std::filesystem::recursive_directory_iterator(directory)) {
    if (!found.is_regular_file()) continue;
    ::utimensat(AT_FDCWD, found.path().c_str(), times, 0);
  }
}

void put_files(const std::string& directory, const Files& files) {
  namespace fs = std::filesystem;
  for (const auto& found : fs::directory_iterator(directory)) {
    if (!files.contains(found.path().filename().string())) fs::remove_all(found.path());
  }
  for (const auto& [name, bytes] : files) {
    const fs::path path = fs::path(directory) / name;
    fs::create_directories(path.parent_path());
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes.size())) != 0) {
      throw std::runtime_error("cannot make " + path.string());
    }
    static constexpr std::size_t block = 65536;
    static const Buffer zeroes(block);
    for (std::size_t at = 0; at < bytes.size(); at += block) {
      const std::size_t length = std::min(block, bytes.size() - at);
      if (std::memcmp(bytes.data() + at, zeroes.data(), length) == 0) continue;
      if (::pwrite(fd, bytes.data() + at, length, static_cast<off_t>(at)) !=
          static_cast<ssize_t>(length)) {
        throw std::runtime_error("cannot write " + path.string());
      }
    }
    // The same for all states: what an overlay notes of its source is when it was changed last.
    const timespec time{fixed_time, 0};
    const timespec times[] = {time, time};
    ::futimens(fd, times);
    ::close(fd);
  }
}

Replay::Replay(const Base& base, const Log& log) : log_(log) {
  for (const auto& [inode, name] : base.names) {
    numbers_[inode] = files_.size();
    sure_names_[files_.size()] = name;
    files_.push_back({base.files.at(name), {}});
  }
}

void Replay::apply(Buffer& bytes, const Entry& entry) {
  const RecordHeader& header = entry.header;
  const std::uint64_t end = header.offset + header.length;
  switch (header.kind) {
    case Record::write:
      if (bytes.size() < end) bytes.resize(end);
      std::copy(entry.data.begin(), entry.data.end(),
                bytes.begin() + static_cast<std::ptrdiff_t>(header.offset));
      break;
    case Record::zero: {
      if (header.argument != 0 && bytes.size() < end) bytes.resize(end);
      const std::uint64_t last = std::min<std::uint64_t>(end, bytes.size());
      if (header.offset < last) {
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(header.offset),
                  bytes.begin() + static_cast<std::ptrdiff_t>(last), std::byte{0});
      }
      break;
    }
    case Record::allocate:
      if (bytes.size() < end && header.length != 0) bytes.resize(end);
      break;
    case Record::truncate:
      bytes.resize(header.length);
      break;
    default:
      break;
  }
}

void Replay::apply(Names& names, const NameChange& change) {
  for (const auto& [number, name] : change.to) {
    if (name.empty()) {
      names.erase(number);
    } else {
      names[number] = name;
    }
  }
}

Replay::Names Replay::names(std::size_t changes) const {
  Names result = sure_names_;
  for (std::size_t i = 0; i < changes; ++i) apply(result, pending_names_[i]);
  return result;
}

void Replay::take_open(const Entry& entry) {
  const Names now = names(pending_names_.size());
  const auto known = numbers_.find(entry.header.file);
  if (known != numbers_.end() && now.contains(known->second)) return;
  numbers_[entry.header.file] = files_.size();
  pending_names_.push_back({entry.at, {{files_.size(), entry.text()}}});
  files_.emplace_back();
}

void Replay::take_name(const Entry& entry) {
  const std::string text = entry.text();
  const std::string from = text.substr(0, text.find('\0'));
  const std::string to =
      entry.header.kind == Record::rename ? text.substr(text.find('\0') + 1) : std::string();
  NameChange change{entry.at, {}};
  for (const auto& [number, name] : names(pending_names_.size())) {
    if (name == to) change.to[number] = "";
    if (name == from) change.to[number] = to;
  }
  pending_names_.push_back(std::move(change));
}

void Replay::take(const Entry& entry) {
  const RecordHeader& header = entry.header;
  if (header.kind == Record::open) {
    take_open(entry);
  } else if (changes_bytes(entry)) {
    of_inode(header.file).pending.push_back(&entry);
  } else if (header.kind == Record::sync) {
    File& file = of_inode(header.file);
    std::vector<const Entry*> later;
    for (const Entry* const one : file.pending) {
      // An older one behind a newer one would come out in the wrong order.
      if (one->at < header.offset && later.empty()) {
        apply(file.sure, *one);
      } else {
        later.push_back(one);
      }
    }
    file.pending = std::move(later);
  } else if (header.kind == Record::sync_names) {
    while (!pending_names_.empty() && pending_names_.front().at < header.offset) {
      apply(sure_names_, pending_names_.front());
      pending_names_.erase(pending_names_.begin());
    }
  } else if (header.kind == Record::rename || header.kind == Record::unlink) {
    take_name(entry);
  }
}

bool Replay::step() {
  if (next_ == log_.entries().size()) return false;
  take(log_.entries()[next_++]);
  return true;
}

Files Replay::in_order(bool torn, Dice& dice) const {
  const Entry* const last = next_ == 0 ? nullptr : &log_.entries()[next_ - 1];
  Files result;
  for (const auto& [number, name] : names(pending_names_.size())) {
    const File& file = files_[number];
    Buffer bytes = file.sure;
    for (const Entry* const entry : file.pending) {
      if (entry != last || !torn || entry->header.kind != Record::write) {
        apply(bytes, *entry);
        continue;
      }
      Entry part = *entry;
      const std::uint64_t end = part.header.offset + part.header.length;
      const std::uint64_t sectors = end / sector - part.header.offset / sector + 1;
      const std::uint64_t cut = (part.header.offset / sector + dice.below(sectors)) * sector;
      if (cut <= part.header.offset) continue;
      part.header.length = std::min(cut, end) - part.header.offset;
      part.data = part.data.first(part.header.length);
      apply(bytes, part);
    }
    result[name] = std::move(bytes);
  }
  return result;
}

Buffer Replay::some_of(const File& file, Dice& dice) {
  // From the last to the first, since a sector that holds a later write holds all earlier ones.
  struct Choice {
    std::vector<bool> sectors;  ///< of the entry's range
    bool length = false;        ///< the file has become as long as the entry made it
  };
  std::vector<Choice> choices(file.pending.size());
  std::set<std::uint64_t> taken;
  const std::uint64_t keep = std::vector<std::uint64_t>{10, 50, 90}.at(dice.below(3));
  bool truncated = false;
  for (std::size_t i = file.pending.size(); i-- > 0;) {
    const RecordHeader& header = file.pending[i]->header;
    Choice& choice = choices[i];
    choice.length = truncated || dice.chance(50);
    if (header.kind == Record::truncate) {
      truncated = truncated || choice.length;
      continue;
    }
    if (header.kind == Record::allocate || header.length == 0) continue;
    const std::uint64_t first = header.offset / sector;
    const std::uint64_t count = (header.offset + header.length - 1) / sector - first + 1;
    choice.sectors.resize(count);
    // Whole, not at all, up to somewhere, or sectors at random.
    const std::uint64_t how = dice.below(4);
    const bool whole = dice.chance(static_cast<unsigned>(keep));
    const std::uint64_t until = dice.below(count + 1);
    for (std::uint64_t s = 0; s < count; ++s) {
      const bool chosen = how <= 1   ? whole
                          : how == 2 ? s < until
                                     : dice.chance(static_cast<unsigned>(keep));
      choice.sectors[s] = chosen || taken.contains(first + s);
      if (choice.sectors[s]) taken.insert(first + s);
    }
  }
  Buffer bytes = file.sure;
  for (std::size_t i = 0; i < file.pending.size(); ++i) {
    const Entry& entry = *file.pending[i];
    const Choice& choice = choices[i];
    if (choice.sectors.empty()) {
      if (choice.length) apply(bytes, entry);
      continue;
    }
    const std::uint64_t end = entry.header.offset + entry.header.length;
    const bool grows = entry.header.kind == Record::write || entry.header.argument != 0;
    if (choice.length && grows && bytes.size() < end) bytes.resize(end);
    const std::uint64_t first = entry.header.offset / sector;
    for (std::uint64_t s = 0; s < choice.sectors.size(); ++s) {
      if (!choice.sectors[s]) continue;
      const std::uint64_t from = std::max(entry.header.offset, (first + s) * sector);
      const std::uint64_t to = std::min(end, (first + s + 1) * sector);
      Entry part = entry;
      part.header.offset = from;
      part.header.length = to - from;
      if (entry.header.kind == Record::write) {
        part.data = entry.data.subspan(from - entry.header.offset, to - from);
      }
      apply(bytes, part);
    }
  }
  return bytes;
}

Files Replay::reordered(Dice& dice) const {
  Files result;
  for (const auto& [number, name] : names(dice.below(pending_names_.size() + 1))) {
    result[name] = some_of(files_[number], dice);
  }
  return result;
}

bool Replay::anything_pending() const {
  return std::any_of(files_.begin(), files_.end(),
                     [](const File& file) { return !file.pending.empty(); });
}

}  // namespace peelfs::test

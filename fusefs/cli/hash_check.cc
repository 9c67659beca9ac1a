#include "cli/hash_check.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kLongestList = std::size_t{1} << 30U;
constexpr std::size_t kMostShown = 20;  // malformed lines

std::string read_list(const std::string& path, const std::string& name) {
  const bool standard = path == "-";
  const int fd = standard ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0) throw Error::system(errno, "cannot open " + name);
  std::string text;
  std::vector<char> buffer(std::size_t{1} << 16U);
  int problem = 0;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) problem = errno;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kLongestList) problem = EFBIG;
    if (problem != 0) break;
  }
  if (!standard) ::close(fd);
  if (problem != 0) throw Error::system(problem, "cannot read " + name);
  return text;
}

std::string beginning(std::string_view line) {
  constexpr std::size_t kLongest = 60;
  return line.size() <= kLongest ? std::string(line)
                                 : std::string(line.substr(0, kLongest)) + "...";
}

}  // namespace

HashCheck::HashCheck(const std::string& path, const std::vector<const DigestAlgorithm*>& expected)
    : name_(path == "-" ? "standard input" : printable(path)) {
  const std::string text = read_list(path, name_);
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.empty() || line == "\r" || line.starts_with('#')) continue;
    auto says = parse_digest_line(line, expected);
    if (!says) {
      if (++malformed_count_ <= kMostShown) malformed_.emplace_back(number, beginning(line));
      continue;
    }
    if (std::ranges::find(algorithms_, says->algorithm) == algorithms_.end()) {
      algorithms_.push_back(says->algorithm);
    }
    Entry entry;
    entry.line = number;
    entry.says = std::move(*says);
    entries_.push_back(std::move(entry));
  }
  if (!entries_.empty()) return;
  auto error = usage("no line of " + name_ + " is a digest");
  if (malformed_.empty()) throw std::move(error).found("nothing");
  throw std::move(error)
      .found("'" + printable(malformed_.front().second) + "'")
      .expected("lines as sha256sum or 'peelfs hash' write them")
      .advice("-a says which algorithm the list is of, where that is not clear from its lines");
}

void HashCheck::find(Entry& entry, const HashDevices& devices, const Catalog& catalog) const {
  std::string name = entry.says.name;
  if (name.starts_with("./")) name.erase(0, 2);
  entry.device = name;
  const Catalog::Entry* found = catalog.find(name);
  if (found == nullptr) {
    if (const auto piece = parse_piece_name(name)) {
      entry.device = piece->name;
      found = catalog.find(piece->name);
      entry.piece = piece->piece;
    }
  }
  if (found == nullptr) {
    entry.reason = "there is no such device";
    return;
  }
  entry.found = devices.device(*found);
  const std::uint64_t size = found->node->device->size();
  if (entry.piece && (entry.piece->offset > size || entry.piece->length > size ||
                      entry.piece->length > size - entry.piece->offset)) {
    // The piece of an empty device cannot be written otherwise.
    if (size == 0 && entry.piece->offset == 0 && entry.piece->length == 1) {
      entry.piece.reset();
      return;
    }
    entry.reason = "the device ends before, it has " + std::to_string(size) + " bytes";
    entry.outcome = Outcome::wrong;
    entry.found.reset();
  } else if (entry.found->refusal) {
    entry.reason = text_of(*entry.found->refusal);
    entry.outcome = Outcome::unreadable;
  }
}

std::vector<HashSubject> HashCheck::plan(const HashDevices& devices, const Catalog& catalog) {
  std::map<std::uint64_t, std::vector<Entry*>> wanted;  // by node
  for (Entry& entry : entries_) {
    find(entry, devices, catalog);
    if (entry.found && !entry.found->refusal) wanted[entry.found->node->id].push_back(&entry);
  }
  std::vector<HashSubject> subjects;
  for (auto& [id, of_device] : wanted) {
    const auto range = [](const Entry* entry) {
      return entry->piece.value_or(ByteRange{0, entry->found->node->device->size()});
    };
    std::ranges::sort(of_device, {}, [&](const Entry* entry) {
      return std::tuple(range(entry).offset, range(entry).length);
    });
    // Pieces that overlap one another are of several subjects.
    const std::size_t first = subjects.size();
    for (Entry* const entry : of_device) {
      const ByteRange piece = range(entry);
      std::size_t place = first;
      for (; place < subjects.size(); ++place) {
        const ByteRange& last = subjects[place].pieces.back();
        const bool same = last.offset == piece.offset && last.length == piece.length;
        if (!same && last.offset + last.length > piece.offset) continue;
        if (!same) subjects[place].pieces.push_back(piece);
        break;
      }
      if (place == subjects.size()) subjects.push_back(devices.subject(*entry->found, {piece}));
      entry->subject = place;
      entry->place = subjects[place].pieces.size() - 1;
      entry->planned = true;
    }
  }
  return subjects;
}

void HashCheck::compare(const HashDevices& devices, const HashResult& result) {
  for (Entry& entry : entries_) {
    if (!entry.planned) continue;
    const HashedPiece& piece = result.pieces[entry.subject][entry.place];
    std::optional<Trouble> trouble = devices.changed(*entry.found);
    if (piece.failure != nullptr) trouble = *piece.failure;
    if (trouble) {
      entry.reason = text_of(*trouble);
      entry.outcome = Outcome::unreadable;
      continue;
    }
    const auto which = std::ranges::find(algorithms_, entry.says.algorithm);
    entry.digest = piece.digests[static_cast<std::size_t>(which - algorithms_.begin())];
    entry.outcome = entry.digest == entry.says.digest ? Outcome::right : Outcome::wrong;
  }
}

std::string HashCheck::lines(bool quiet) const {
  std::string text;
  for (const Entry& entry : entries_) {
    if (entry.outcome == Outcome::right && quiet) continue;
    text += printable(entry.says.name) + (entry.outcome == Outcome::right ? ": OK\n"
                                          : entry.outcome == Outcome::wrong
                                              ? ": FAILED\n"
                                              : ": FAILED open or read\n");
  }
  return text;
}

std::string HashCheck::json(const std::vector<std::string>& warnings) const {
  using Json = nlohmann::ordered_json;
  Json document;
  document["checked"] = Json::array();
  for (const Entry& entry : entries_) {
    Json object;
    object["line"] = entry.line;
    object["name"] = entry.device;
    if (entry.piece) {
      object["offset"] = entry.piece->offset;
      object["length"] = entry.piece->length;
    }
    object["algorithm"] = entry.says.algorithm->name;
    object["expected"] = entry.says.digest;
    object["found"] = entry.digest.empty() ? Json(nullptr) : Json(entry.digest);
    object["result"] = entry.outcome == Outcome::right     ? "ok"
                       : entry.outcome == Outcome::wrong   ? "failed"
                       : entry.outcome == Outcome::missing ? "missing"
                                                           : "unreadable";
    object["reason"] = entry.reason.empty() ? Json(nullptr) : Json(entry.reason);
    document["checked"].push_back(std::move(object));
  }
  document["malformed-lines"] = malformed_count_;
  document["warnings"] = warnings;
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::vector<std::string> HashCheck::complaints() const {
  std::vector<std::string> result;
  for (const auto& [line, text] : malformed_) {
    result.push_back(name_ + ", line " + std::to_string(line) + ": no digest: '" + printable(text) +
                     "'");
  }
  if (malformed_count_ > malformed_.size()) {
    result.push_back("... and " + std::to_string(malformed_count_ - malformed_.size()) +
                     " more lines that are no digests");
  }
  std::size_t wrong = 0;
  for (const Entry& entry : entries_) {
    wrong += entry.outcome == Outcome::wrong ? 1 : 0;
    if (entry.reason.empty()) continue;
    result.push_back(name_ + ", line " + std::to_string(entry.line) + ": " +
                     printable(entry.says.name) + ": " + entry.reason);
  }
  if (wrong != 0) {
    result.push_back(std::to_string(wrong) + " of " + std::to_string(entries_.size()) +
                     (entries_.size() == 1 ? " digest does" : " digests do") + " not match");
  }
  return result;
}

bool HashCheck::is_good() const {
  return malformed_count_ == 0 && std::ranges::all_of(entries_, [](const Entry& entry) {
           return entry.outcome == Outcome::right;
         });
}

std::vector<std::string> HashCheck::unnamed(const std::vector<HashDevice>& devices) const {
  std::set<std::uint64_t> named;
  for (const Entry& entry : entries_) {
    if (entry.found) named.insert(entry.found->node->id);
  }
  std::vector<std::string> result;
  for (const HashDevice& device : devices) {
    if (!named.contains(device.node->id)) result.push_back(device.name);
  }
  return result;
}

}  // namespace peelfs::cli

#include "fs/search.h"

#include <algorithm>
#include <map>
#include <tuple>
#include <unordered_set>

#include "fs/references.h"
#include "peelfs/budget.h"
#include "peelfs/cancel.h"
#include "peelfs/devices.h"
#include "peelfs/formats.h"

namespace peelfs::fs {

namespace {

using Id = Filesystem::Id;
using Stat = Filesystem::Stat;
using Type = Filesystem::Type;

constexpr std::uint64_t kMinImageSize = std::uint64_t{64} << 10U;
constexpr std::size_t kMaxDepth = 255;             // directories below one another
constexpr std::size_t kMaxPathBytes = 64U << 20U;  // of all paths returned
constexpr std::size_t kMaxDamageShown = 4;
constexpr std::size_t kMaxLimitsShown = 4;
constexpr std::size_t kBatchSize = 4096;  // files whose first sectors are read in one go

struct IdHash {
  std::size_t operator()(const Id& id) const noexcept {
    constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;  // spreads volumes over the numbers
    return static_cast<std::size_t>(id.number ^ (id.volume * kOdd));
  }
};

struct Directory {
  Id id;
  std::size_t parent;  ///< index in the list; the root is its own
  std::size_t depth;
  std::string name;
  std::shared_ptr<const References> references;  ///< made for the first image in it
};

struct Entry {
  Id id;
  std::string name;
};

/// A file that only its contents can tell to be an image.
struct Candidate {
  std::size_t directory;
  std::string name;
  Stat stat;
  DevicePtr file;
  std::uint64_t position;
};

/// Where on the device below the file begins, for reading many files in the order of the disk; 0
/// when nothing is stored or its map is damaged.
std::uint64_t first_byte_on_disk(const BlockDevice& file) {
  try {
    const Extent first = file.size() == 0 ? Extent{} : file.map(0, 1);
    return first.kind == ExtentKind::lower ? first.offset : 0;
  } catch (const Error&) {
    return 0;
  }
}

class Search {
 public:
  Search(const Files& searched, const Files& files, const OpenInput& input)
      : filesystem_(*searched.filesystem),
        reader_(*searched.reader),
        files_(files),
        formats_(*input.formats),
        limits_(input.limits),
        run_(input.budget),
        cancel_(input.cancel),
        most_(limits_.search_files) {
    if (run_ != nullptr) {
      most_ =
          static_cast<std::size_t>(std::min<std::uint64_t>(most_, run_->left(Budget::Kind::files)));
    }
    // Enough for that many names of usual length, and for a good part of them at 255 bytes.
    allowance_.blocks = std::max<std::uint64_t>(allowance_.blocks, limits_.search_files);
  }

  SearchResult run() {
    const Id root = filesystem_.root();
    directories_.push_back({root, 0, 0, "", nullptr});
    seen_.insert(root);
    if (reader_.stat(root).type != Type::directory) {
      throw Error(Fault::damaged, "the root of the filesystem is no directory")
          .advice(filesystem_.repair_advice());
    }
    // directories_ grows while it is walked: nearest first.
    for (std::size_t i = 0; i < directories_.size() && !ended_; ++i) look_into(i);
    look_at_candidates();
    if (run_ != nullptr) run_->take(Budget::Kind::files, looked_at_);
    result_.looked_at = looked_at_;
    result_.repeatable = result_.repeatable && result_.damage_count == 0;
    std::sort(result_.images.begin(), result_.images.end(),
              [](const FoundImage& a, const FoundImage& b) { return a.path < b.path; });
    return std::move(result_);
  }

 private:
  void look_into(std::size_t index) {
    std::vector<Entry> entries;
    bool complete = true;
    try {
      const Stat stat = reader_.stat(directories_[index].id);
      const auto damage = reader_.list(stat, allowance_, [&](const Filesystem::Entry& entry) {
        const bool wanted = entry.type == Type::unknown || entry.type == Type::regular ||
                            entry.type == Type::directory;
        if (wanted) entries.push_back({entry.id, std::string(entry.name)});
        complete = entries.size() <= most_ - looked_at_;
        return complete;
      });
      if (damage) note_damage(index, "", damage->what(), damage->fault());
    } catch (const Error& error) {
      if (error.fault() == Fault::unsupported) {
        note_limit(path_text(index) + " was not searched: " + error.what());
      } else {
        note_damage(index, "", error.what(), error.fault());
      }
    }
    // In the order of the inode tables, say, which are then read once from front to back.
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return std::tie(a.id, a.name) < std::tie(b.id, b.name);
    });
    for (Entry& entry : entries) {
      if (seen_.contains(entry.id)) continue;  // a hard link, or a loop
      if (looked_at_ == most_) complete = false;
      if (looked_at_ == most_ || ended_) break;
      if (is_cancelled(cancel_)) return end_cancelled();
      ++looked_at_;
      seen_.insert(entry.id);
      look_at(index, std::move(entry));
    }
    if (allowance_.blocks == 0) {
      end_search("the directories are too large: only the first part of them was searched");
    }
    if (!complete && most_ < limits_.search_files) {
      if (!ended_) run_->refuse(Budget::Kind::files, filesystem_.describe());
      result_.repeatable = false;
      end_search(spent_reason(Budget::Kind::files));
    } else if (!complete) {
      end_search("only the first " + std::to_string(limits_.search_files) +
                 " files were searched for disk images");
    }
  }

  void look_at(std::size_t directory, Entry entry) {
    Stat stat;
    try {
      stat = reader_.stat(entry.id);
    } catch (const Error& error) {
      note_damage(directory, entry.name, error.what(), error.fault());
      if (formats_.has_image_suffix(entry.name)) add_unreadable(directory, entry.name, 0, error);
      return;
    }
    if (stat.type == Type::directory) {
      if (directories_[directory].depth == kMaxDepth) {
        note_limit("directories deeper than " + std::to_string(kMaxDepth) +
                   " levels were not searched");
        return;
      }
      directories_.push_back(
          {entry.id, directory, directories_[directory].depth + 1, std::move(entry.name), nullptr});
    } else if (stat.type == Type::regular && stat.size > 0) {
      look_at_file(directory, std::move(entry.name), stat);
    }
  }

  void look_at_file(std::size_t directory, std::string name, const Stat& stat) {
    const bool suffix = formats_.has_image_suffix(name);
    const bool large = stat.size >= kMinImageSize;
    if (!suffix && !large) return;
    if (suffix && large) {
      add(directory, std::move(name), stat);
      return;
    }
    try {
      DevicePtr file = reader_.file(stat, "file " + name);
      const std::uint64_t position = first_byte_on_disk(*file);
      candidates_.push_back({directory, std::move(name), stat, std::move(file), position});
    } catch (const Error& error) {
      if (suffix) add_unreadable(directory, std::move(name), stat.size, error);
      return;
    }
    if (candidates_.size() == kBatchSize) look_at_candidates();
  }

  void look_at_candidates() {
    std::sort(candidates_.begin(), candidates_.end(),
              [](const Candidate& a, const Candidate& b) { return a.position < b.position; });
    for (Candidate& candidate : candidates_) {
      if (is_cancelled(cancel_)) {
        end_cancelled();
        break;
      }
      try {
        if (formats_.image_format(*candidate.file).empty()) continue;
      } catch (const Error& error) {
        note_damage(candidate.directory, candidate.name, error.what(), error.fault());
        continue;
      }
      add(candidate.directory, std::move(candidate.name), candidate.stat);
    }
    candidates_.clear();
  }

  void add(std::size_t directory, std::string name, const Stat& stat) {
    try {
      // Only what is shown is called by its whole path: paths can be as long as a disk likes.
      DevicePtr file = files_.reader->file(stat, "file " + path_text(directory, name));
      add(directory, std::move(name), std::move(file), std::nullopt, stat);
    } catch (const Error& error) {
      add_unreadable(directory, std::move(name), stat.size, error);
    }
  }

  void add_unreadable(std::size_t directory, std::string name, std::uint64_t size,
                      const Error& error) {
    DevicePtr file = make_unreadable(size, error, "file " + path_text(directory, name));
    result_.repeatable = false;
    add(directory, std::move(name), std::move(file), trouble_from(error), {});
  }

  void add(std::size_t directory, std::string name, DevicePtr device,
           std::optional<Trouble> trouble, const Stat& stat) {
    FoundImage image;
    image.path = components(directory);
    image.path.push_back(std::move(name));
    for (const std::string& component : image.path) {
      path_bytes_ += sizeof component + 2 * component.size();  // the description has it once more
    }
    if (path_bytes_ > kMaxPathBytes || result_.images.size() == limits_.devices) {
      end_search("only the first " + std::to_string(result_.images.size()) +
                 " images are shown: there are too many");
      return;
    }
    Directory& where = directories_[directory];
    if (!where.references) {
      where.references = make_references(files_.filesystem, lineage(directory));
    }
    image.device = std::move(device);
    image.trouble = std::move(trouble);
    image.references = where.references;
    image.file = stat;
    image.lineage = lineage(directory);
    result_.images.push_back(std::move(image));
  }

  std::vector<std::string> components(std::size_t directory) const {
    std::vector<std::string> result;
    for (; directory != 0; directory = directories_[directory].parent) {
      result.push_back(directories_[directory].name);
    }
    std::reverse(result.begin(), result.end());
    return result;
  }

  /// From the root down to a directory.
  std::vector<Id> lineage(std::size_t directory) const {
    std::vector<Id> result;
    for (; directory != 0; directory = directories_[directory].parent) {
      result.push_back(directories_[directory].id);
    }
    result.push_back(directories_.front().id);
    std::reverse(result.begin(), result.end());
    return result;
  }

  std::string path_text(std::size_t directory, const std::string& name = {}) const {
    std::string text;
    for (const std::string& component : components(directory)) text += "/" + component;
    if (!name.empty() || text.empty()) text += "/" + name;  // "/" alone is the root
    return text;
  }

  void note_damage(std::size_t directory, const std::string& name, const std::string& what,
                   Fault fault) {
    // A sector that cannot be read is the disk's fault; what this host refuses is not.
    if (fault == Fault::io) fault = Fault::damaged;
    if (result_.damage_count == 0 || fault == Fault::damaged) result_.fault = fault;
    if (++result_.damage_count > kMaxDamageShown) return;
    result_.damage.push_back(path_text(directory, name) + ": " + what);
  }

  void note_limit(std::string text) {
    const auto known = std::find(result_.limits.begin(), result_.limits.end(), text);
    if (known == result_.limits.end() && result_.limits.size() < kMaxLimitsShown) {
      result_.limits.push_back(std::move(text));
    }
  }

  void end_cancelled() {
    result_.repeatable = false;
    end_search(cancelled_reason());
  }

  void end_search(std::string why) {
    if (!ended_) result_.limits.push_back(std::move(why));
    ended_ = true;
  }

  const Filesystem& filesystem_;
  Filesystem::Reader& reader_;
  const Files& files_;
  const Formats& formats_;
  const Limits& limits_;
  Budget* const run_;
  const Cancel* const cancel_;
  std::size_t most_;  ///< inodes that this search may look at
  Filesystem::Allowance allowance_;
  std::vector<Directory> directories_;
  std::unordered_set<Id, IdHash> seen_;
  std::size_t looked_at_ = 0;
  std::vector<Candidate> candidates_;
  std::size_t path_bytes_ = 0;
  bool ended_ = false;
  SearchResult result_;
};

}  // namespace

SearchResult search_images(const Files& searched, const Files& files, const OpenInput& input) {
  return Search(searched, files, input).run();
}

SearchResult reopen(const SearchResult& found, const Files& files) {
  SearchResult result = found;
  std::map<std::vector<Id>, std::shared_ptr<const References>> by_folder;
  for (FoundImage& image : result.images) {
    std::string path;
    for (const std::string& component : image.path) path += "/" + component;
    try {
      image.device = files.reader->file(image.file, "file " + path);
    } catch (const Error& error) {
      image.device = make_unreadable(image.file.size, error, "file " + path);
      image.trouble = trouble_from(error);
    }
    auto& references = by_folder[image.lineage];
    if (!references) references = make_references(files.filesystem, image.lineage);
    image.references = references;
  }
  return result;
}

}  // namespace peelfs::fs

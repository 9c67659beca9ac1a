#include "cli/left_out.h"

#include <array>
#include <filesystem>
#include <map>

namespace peelfs::cli {
namespace {

using Why = LeftOutEntry::Why;

struct Reason {
  Why why;
  std::string_view sentence;   ///< "PATH is left out: ..."
  std::string_view one, many;  ///< "1 ...", "2 ..."
};

constexpr std::array<Reason, 8> kReasons{{
    {Why::link, "it is a symbolic link; name it to have it followed", "symbolic link",
     "symbolic links"},
    {Why::packed, "it is compressed; unpack it first", "compressed image", "compressed images"},
    {Why::no_image, "neither its suffix nor what is in it is that of a disk image",
     "file that does not look like a disk image", "files that do not look like disk images"},
    {Why::hidden, "its name begins with a dot", "hidden entry", "hidden entries"},
    {Why::directory, "it is a directory, and only the one that was named is looked into",
     "directory", "directories"},
    {Why::mounted, "something is mounted on it; name it to have it read", "place of a mount",
     "places of mounts"},
    {Why::other, "it is no file that could be read as a disk", "entry that is no disk",
     "entries that are no disks"},
    {Why::unreadable, "it cannot be read", "unreadable entry", "unreadable entries"},
}};

}  // namespace

std::vector<std::string> left_out_lines(const std::vector<LeftOutEntry>& entries, bool verbose) {
  std::vector<std::string> lines;
  std::map<std::string, std::map<Why, std::size_t>> counts;
  for (const LeftOutEntry& entry : entries) {
    for (const Reason& reason : kReasons) {
      if (verbose && reason.why == entry.why) {
        lines.push_back(entry.path + " is left out: " + std::string(reason.sentence));
      }
    }
    ++counts[std::filesystem::path(entry.path).parent_path().string()][entry.why];
  }
  if (verbose) return lines;
  for (const auto& [directory, of] : counts) {
    std::string text;
    std::size_t all = 0;
    for (const Reason& reason : kReasons) {
      const auto found = of.find(reason.why);
      if (found == of.end()) continue;
      all += found->second;
      text += (text.empty() ? "" : ", ") + std::to_string(found->second) + " " +
              std::string(found->second == 1 ? reason.one : reason.many);
    }
    lines.push_back(std::to_string(all) + (all == 1 ? " entry of " : " entries of ") + directory +
                    (all == 1 ? " is" : " are") + " left out: " + text + " (-v shows which)");
  }
  return lines;
}

}  // namespace peelfs::cli

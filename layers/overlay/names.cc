// What overlays are called, and the commands that a person is told to run.
#include <algorithm>
#include <charconv>
#include <filesystem>

#include "overlay/overlay.h"
#include "overlay/own_file.h"
#include "peelfs/formats.h"
#include "peelfs/shell.h"

namespace peelfs::overlay {

namespace {

std::string escaped(const std::string& name) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string result;
  for (const char character : name) {
    const auto byte = static_cast<unsigned char>(character);
    const bool plain =
        byte > 0x20 && byte != 0x7f &&
        std::string_view("/\\%:*?\"'<>|").find(character) == std::string_view::npos &&
        (character != '.' || !result.empty());
    if (plain) {
      result += character;
    } else {
      result += '%';
      result += kDigits[byte >> 4U];
      result += kDigits[byte & 15U];
    }
  }
  return result;
}

std::string unescaped(const std::string& name) {
  std::string result;
  for (std::size_t at = 0; at < name.size(); ++at) {
    unsigned byte = 0;
    const char* const digits = name.data() + at + 1;
    if (name[at] == '%' && at + 2 < name.size() &&
        std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      result += static_cast<char>(byte);
      at += 2;
    } else {
      result += name[at];
    }
  }
  return result;
}

}  // namespace

std::string overlay_path(const std::string& directory, const Source& source) {
  return directory + (directory.ends_with('/') ? "" : "/") + escaped(source.stem) + ".qcow2";
}

std::string source_argument(const Source& source) {
  const std::string file_name = std::filesystem::path(source.path).filename().string();
  const bool named = source.stem != standard_formats().strip_image_suffix(file_name);
  const std::string before = (named ? source.stem + "=" : "") + (source.raw ? "raw:" : "");
  return before + (before.empty() && source.path.starts_with('-') ? "./" : "") + source.path;
}

std::string commit_command(const std::vector<std::string>& paths,
                           const std::vector<std::string>& words) {
  const std::string directory = std::filesystem::path(paths.front()).parent_path().string();
  std::vector<std::string> line{"peelfs", "commit", "--overlay",
                                directory.empty() ? "." : directory};
  line.insert(line.end(), words.begin(), words.end());
  return shell_line(line);
}

std::string finish_command(const std::vector<std::string>& paths, std::vector<std::string> words) {
  if (std::any_of(paths.begin(), paths.end(), has_grown)) words.emplace(words.begin(), "--grow");
  if (std::any_of(paths.begin(), paths.end(), has_snapshots)) {
    words.emplace(words.begin(), "--drop-snapshots");
  }
  return commit_command(paths, words);
}

std::string argument_for(const std::string& path) {
  const Fingerprint stored =
      required_fingerprint(*make_storage_device(open_overlay_file(path)), path);
  Source source;
  source.path = stored.path;
  source.stem = unescaped(std::filesystem::path(path).stem().string());
  // A source that was covered as raw bytes must be covered as raw bytes again, even if it looks
  // like an image.
  source.raw = stored.format == "raw" && standard_formats().has_image_suffix(stored.path) &&
               !stored.path.ends_with(".img") && !stored.path.ends_with(".raw");
  return source_argument(source);
}

}  // namespace peelfs::overlay

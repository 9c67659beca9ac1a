#include "check/checkers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <cstring>
#include <initializer_list>

namespace peelfs::check {
namespace {

using Words = std::string_view;

/// The last line with something in it: where a program says why it ends.
std::string last_line(std::string_view output) {
  while (!output.empty()) {
    const std::size_t end = output.find_last_not_of("\n\r \t");
    if (end == std::string_view::npos) return "";
    output = output.substr(0, end + 1);
    const std::size_t begin = output.find_last_of("\n\r");
    const std::string_view line =
        begin == std::string_view::npos ? output : output.substr(begin + 1);
    constexpr std::size_t kLongest = 160;
    if (!line.empty()) return std::string(line.substr(0, kLongest));
    output = output.substr(0, begin);
  }
  return "";
}

Verdict failed(std::string_view program, int code, std::string_view output) {
  constexpr int kBySignal = 128;
  std::string why = std::string(program);
  if (code > kBySignal && code < kBySignal + 65) {
    const char* const name = ::strsignal(code - kBySignal);
    why += std::string(" was ended by a signal: ") + (name == nullptr ? "?" : name);
  } else {
    why += " did not do its work (exit code " + std::to_string(code) + ")";
  }
  if (const std::string said = last_line(output); !said.empty()) why += ": " + said;
  return {State::failed, why};
}

/// fsck(8)'s exit codes: 1 and 2 say that something was corrected, 4 that errors are left; what is
/// above says that there is no verdict.
Verdict as_fsck(std::string_view program, int code, std::string_view output) {
  constexpr int kVerdicts = 7;
  constexpr int kErrorsLeft = 4;
  constexpr int kBySignal = 128;
  if (code == 0) return {State::clean, ""};
  if ((code & ~kVerdicts) == 0) return {State::errors, std::string(program) + " found errors"};
  if (code < kBySignal && (code & kErrorsLeft) != 0) {
    return {State::errors, std::string(program) +
                               " found errors, and did not get to the end (exit code " +
                               std::to_string(code) + ")"};
  }
  return failed(program, code, output);
}

bool contains_any(std::string_view output, std::initializer_list<std::string_view> texts) {
  return std::ranges::any_of(
      texts, [&](std::string_view text) { return output.find(text) != std::string_view::npos; });
}

/// fsck.fat ends with 1 for a filesystem that is only marked as mounted, too. Whatever it says
/// besides is about damage.
bool only_the_dirty_bit(std::string_view output) {
  constexpr std::array kHarmless{Words("fsck.fat "),
                                 Words("Dirty bit is set."),
                                 Words(" Automatically removing dirty bit."),
                                 Words("*** Filesystem was changed ***"),
                                 Words("The changes have not yet been written"),
                                 Words("Leaving filesystem unchanged.")};
  bool is_dirty = false;
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(output.size(), line.size() + 1));
    is_dirty = is_dirty || line.starts_with("Dirty bit is set.");
    const bool is_summary =
        line.find(" files, ") != std::string_view::npos && line.ends_with(" clusters");
    if (line.empty() || is_summary) continue;
    if (std::ranges::none_of(kHarmless, [&](Words known) { return line.starts_with(known); })) {
      return false;
    }
  }
  return is_dirty;
}

Verdict judge_ext(int code, std::string_view output) {
  return as_fsck("e2fsck", code, output);
}

/// With -n xfs_repair ends with 1 for what it would repair. Only the kernel can replay a log of
/// XFS: what is checked without it may look damaged, and is not.
Verdict judge_xfs(int code, std::string_view output) {
  const bool has_log = output.find("valuable metadata changes in a log") != std::string_view::npos;
  if (code == 0) {
    return {State::clean, has_log ? "its log holds changes, which only the kernel can replay" : ""};
  }
  // These say that it cannot look at the filesystem, with the exit code of one that is damaged.
  // That it cannot get the geometry of the host's filesystem is said of every image.
  const bool cannot =
      contains_any(output, {"fatal error --", "unsupported filesystem features", "out of memory"});
  if (code == 1 && cannot) return failed("xfs_repair", code, output);
  if (code == 1 && has_log) {
    return {State::skipped,
            "its log must be replayed first, which only the kernel can (mount it once); without "
            "that xfs_repair finds errors, which may be none"};
  }
  if (code == 1) return {State::errors, "xfs_repair found errors"};
  return failed("xfs_repair", code, output);
}

Verdict judge_btrfs(int code, std::string_view output) {
  if (code == 0) return {State::clean, ""};
  if (code == 1 && contains_any(output, {"unsupported option features", "unsupported RO option",
                                         "memory allocation failed", "not enough memory"})) {
    return failed("btrfs", code, output);
  }
  if (code == 1) return {State::errors, "btrfs check found errors"};
  return failed("btrfs", code, output);
}

Verdict judge_fat(int code, std::string_view output) {
  if (code == 0) return {State::clean, ""};
  if (code == 1 && only_the_dirty_bit(output)) {
    return {State::clean, "it is marked as not unmounted, which a check at boot takes away"};
  }
  if (code == 1) return {State::errors, "fsck.fat found errors"};
  return failed("fsck.fat", code, output);
}

Verdict judge_exfat(int code, std::string_view output) {
  return as_fsck("fsck.exfat", code, output);
}

Verdict judge_ntfs(int code, std::string_view output) {
  if (code == 0) return {State::clean, ""};
  if (code == 1) {
    return {State::errors, "ntfsfix found errors: " + last_line(output)};
  }
  return failed("ntfsfix", code, output);
}

/// fsck.f2fs ends with 0 for much that it has only said.
Verdict judge_f2fs(int code, std::string_view output) {
  const bool said = output.find("[FAIL]") != std::string_view::npos ||
                    output.find("[ASSERT]") != std::string_view::npos ||
                    output.find("[FIX]") != std::string_view::npos;
  if (code == 0 && !said) return {State::clean, ""};
  constexpr int kVerdicts = 7;
  if (said || (code > 0 && code <= kVerdicts)) return {State::errors, "fsck.f2fs found errors"};
  return failed("fsck.f2fs", code, output);
}

Verdict judge_jfs(int code, std::string_view output) {
  return as_fsck("jfs_fsck", code, output);
}

Verdict judge_reiserfs(int code, std::string_view output) {
  return as_fsck("reiserfsck", code, output);
}

/// Of a repair. fsck(8): 1 and 2 say that something was corrected, 4 that something is left.
Verdict repaired_as_fsck(std::string_view program, int code, std::string_view output) {
  constexpr int kCorrected = 3;
  constexpr int kVerdicts = 7;
  if ((code & ~kCorrected) == 0) return {State::repaired, ""};
  if ((code & ~kVerdicts) != 0) return failed(program, code, output);
  std::string why = std::string(program) + " cannot repair all of it";
  if (const std::string said = last_line(output); !said.empty()) why += ": " + said;
  return {State::errors, why};
}

Verdict repaired_ext(int code, std::string_view output) {
  return repaired_as_fsck("e2fsck", code, output);
}

Verdict repaired_exfat(int code, std::string_view output) {
  return repaired_as_fsck("fsck.exfat", code, output);
}

Verdict repaired_jfs(int code, std::string_view output) {
  return repaired_as_fsck("jfs_fsck", code, output);
}

Verdict repaired_fat(int code, std::string_view output) {
  return repaired_as_fsck("fsck.fat", code, output);
}

Verdict repaired_f2fs(int code, std::string_view output) {
  return repaired_as_fsck("fsck.f2fs", code, output);
}

Verdict repaired_ntfs(int code, std::string_view output) {
  return code == 0 ? Verdict{State::repaired, ""} : failed("ntfsfix", code, output);
}

/// 2 says that its log must be replayed first.
Verdict repaired_xfs(int code, std::string_view output) {
  if (code == 0) return {State::repaired, ""};
  constexpr int kHasLog = 2;
  if (code == kHasLog) {
    return {State::errors,
            "its log must be replayed first, which only the kernel can (mount it once)"};
  }
  return failed("xfs_repair", code, output);
}

/// 1 may mean that it found what it has repaired: the second check tells.
Verdict repaired_btrfs(int code, std::string_view output) {
  if (code == 0 || code == 1) return {State::repaired, ""};
  return failed("btrfs", code, output);
}

/// 0, or 1: corrected. 4 asks for the tree to be built anew, which may lose files.
Verdict repaired_reiserfs(int code, std::string_view output) {
  if (code == 0 || code == 1) return {State::repaired, ""};
  constexpr int kFatal = 4;
  if (code == kFatal) {
    return {State::errors,
            "reiserfsck can only build its tree anew, which may lose files: run 'reiserfsck "
            "--rebuild-tree' on it yourself, with peelfs try"};
  }
  return failed("reiserfsck", code, output);
}

/// "3 1200 4800 /path": the pass, how far it is, and of how much. The later passes are short.
std::optional<unsigned> percent_ext(std::string_view line) {
  constexpr std::array<unsigned, 6> kBegins{0, 70, 90, 92, 95, 100};
  std::array<std::uint64_t, 3> numbers{};
  for (std::uint64_t& number : numbers) {
    const auto result = std::from_chars(line.data(), line.data() + line.size(), number);
    if (result.ec != std::errc()) return std::nullopt;
    line.remove_prefix(static_cast<std::size_t>(result.ptr - line.data()));
    if (!line.starts_with(' ')) return std::nullopt;
    line.remove_prefix(1);
  }
  const auto [pass, done, all] = numbers;
  if (pass < 1 || pass >= kBegins.size() || all == 0 || done > all) return std::nullopt;
  const unsigned begin = kBegins[pass - 1];
  return begin + static_cast<unsigned>((kBegins[pass] - begin) * done / all);
}

// -C 1 makes e2fsck write lines for programs to its standard output.
constexpr std::array kExtCheck{Words("-f"), Words("-n"), Words("-C"), Words("1"), Words("{}")};
constexpr std::array kExtReplay{Words("-E"), Words("journal_only"), Words("-y"), Words("{}")};
constexpr std::array kXfsCheck{Words("-n"), Words("{}")};
constexpr std::array kBtrfsCheck{Words("check"), Words("--readonly"), Words("{}")};
constexpr std::array kNoAction{Words("-n"), Words("{}")};
constexpr std::array kF2fsCheck{Words("-f"), Words("--dry-run"), Words("{}")};
constexpr std::array kJfsCheck{Words("-f"), Words("-n"), Words("{}")};
constexpr std::array kReiserCheck{Words("--check"), Words("--yes"), Words("{}")};

constexpr std::array kExtRepair{Words("-f"), Words("-y"), Words("-C"), Words("1"), Words("{}")};
constexpr std::array kXfsRepair{Words("{}")};
// --force spares the ten seconds in which a person could think of it.
constexpr std::array kBtrfsRepair{Words("check"), Words("--repair"), Words("--force"), Words("{}")};
constexpr std::array kFatRepair{Words("-a"), Words("{}")};
constexpr std::array kExfatRepair{Words("-y"), Words("{}")};
constexpr std::array kNtfsRepair{Words("{}")};
constexpr std::array kF2fsRepair{Words("-f"), Words("-y"), Words("{}")};
constexpr std::array kJfsRepair{Words("-f"), Words("{}")};
constexpr std::array kReiserRepair{Words("--fix-fixable"), Words("--yes"), Words("{}")};

constexpr Checker ext(std::string_view fstype) {
  return {.fstype = fstype,
          .program = "e2fsck",
          .package = "e2fsprogs",
          .check = kExtCheck,
          .replay = kExtReplay,
          .judge = judge_ext,
          .repair = kExtRepair,
          .judge_repair = repaired_ext,
          .percent = percent_ext,
          .memory_per_mib = 512};
}

constexpr std::array kRows{
    ext("ext2"),
    ext("ext3"),
    ext("ext4"),
    Checker{.fstype = "xfs",
            .program = "xfs_repair",
            .package = "xfsprogs",
            .check = kXfsCheck,
            .judge = judge_xfs,
            .repair = kXfsRepair,
            .judge_repair = repaired_xfs,
            .memory_per_mib = 2048},
    Checker{.fstype = "btrfs",
            .program = "btrfs",
            .package = "btrfs-progs",
            .check = kBtrfsCheck,
            .judge = judge_btrfs,
            .repair = kBtrfsRepair,
            .judge_repair = repaired_btrfs,
            .memory_per_mib = 4096},
    Checker{.fstype = "vfat",
            .program = "fsck.fat",
            .package = "dosfstools",
            .check = kNoAction,
            .judge = judge_fat,
            .repair = kFatRepair,
            .judge_repair = repaired_fat},
    Checker{.fstype = "exfat",
            .program = "fsck.exfat",
            .package = "exfatprogs",
            .check = kNoAction,
            .judge = judge_exfat,
            .repair = kExfatRepair,
            .judge_repair = repaired_exfat},
    Checker{.fstype = "ntfs",
            .program = "ntfsfix",
            .package = "ntfs-3g",
            .check = kNoAction,
            .judge = judge_ntfs,
            .repair = kNtfsRepair,
            .judge_repair = repaired_ntfs,
            .caveat = "ntfsfix looks at the boot sector, the MFT and the journal only; Windows' "
                      "chkdsk checks the rest"},
    Checker{.fstype = "f2fs",
            .program = "fsck.f2fs",
            .package = "f2fs-tools",
            .check = kF2fsCheck,
            .judge = judge_f2fs,
            .repair = kF2fsRepair,
            .judge_repair = repaired_f2fs,
            .opens_for_writing = true},
    Checker{.fstype = "jfs",
            .program = "jfs_fsck",
            .package = "jfsutils",
            .check = kJfsCheck,
            .judge = judge_jfs,
            .repair = kJfsRepair,
            .judge_repair = repaired_jfs},
    Checker{.fstype = "reiserfs",
            .program = "reiserfsck",
            .package = "reiserfsprogs",
            .check = kReiserCheck,
            .judge = judge_reiserfs,
            .repair = kReiserRepair,
            .judge_repair = repaired_reiserfs,
            .opens_for_writing = true},
};

}  // namespace

std::string_view state_name(State state) {
  switch (state) {
    case State::clean:
      return "clean";
    case State::replayed:
      return "replayed";
    case State::errors:
      return "errors";
    case State::repaired:
      return "repaired";
    case State::skipped:
      return "skipped";
    case State::failed:
      return "failed";
    case State::cancelled:
      return "cancelled";
    case State::listed:
      break;
  }
  return "-";
}

const Checker* checker_of(std::string_view fstype) {
  const auto* const found =
      std::ranges::find_if(kRows, [&](const Checker& row) { return row.fstype == fstype; });
  return found == kRows.end() ? nullptr : found;
}

bool is_never_checked(std::string_view fstype) {
  constexpr std::array kKinds{Words("swap"),           Words("swsuspend"), Words("squashfs"),
                              Words("iso9660"),        Words("udf"),       Words("erofs"),
                              Words("cramfs"),         Words("romfs"),     Words("jbd"),
                              Words("DDF_raid_member")};
  return std::ranges::find(kKinds, fstype) != kKinds.end();
}

std::vector<std::string> command_line(const std::string& program,
                                      std::span<const std::string_view> words,
                                      const std::string& device) {
  std::vector<std::string> line{program};
  for (const std::string_view word : words) {
    line.push_back(word == "{}" ? device : std::string(word));
  }
  return line;
}

}  // namespace peelfs::check

// The table of verbs, in the order of the program's help. Each row stands in its verb's own file.
#include "cli/verb_table.h"

#include <algorithm>
#include <array>

namespace peelfs::cli {

extern const VerbRow kLsVerb, kMountVerb, kUmountVerb, kUnlockVerb, kCatVerb, kExportVerb, kMapVerb,
    kHashVerb, kFsckVerb, kTryVerb, kDiffVerb, kCommitVerb, kDropVerb, kCheckpointVerb, kRevertVerb,
    kHelpVerb, kVersionVerb;

namespace {

constexpr std::array kRows{
    &kLsVerb,   &kMountVerb,      &kUmountVerb, &kUnlockVerb, &kCatVerb,  &kExportVerb,
    &kMapVerb,  &kHashVerb,       &kFsckVerb,   &kTryVerb,    &kDiffVerb, &kCommitVerb,
    &kDropVerb, &kCheckpointVerb, &kRevertVerb, &kHelpVerb,
};

constexpr const char* kBeginning =
    R"(peelfs shows every layer of disk images as flat device files: partitions, LVM
volumes, LUKS plaintext, qcow2 disks and snapshots, and image files inside of
filesystems, nested as deep as they come. No root, no kernel devices.

)";

/// What the program's help says above the line of a verb.
struct Heading {
  const VerbRow* verb;
  const char* text;
};
constexpr std::array kHeadings{
    Heading{&kTryVerb, R"(
Trying changes, which go into an overlay in DIR while the sources stay as they are:
)"},
    Heading{&kDiffVerb,
            "  peelfs --overlay DIR SOURCE... MOUNTPOINT   a mount that can be written\n"},
};

constexpr const char* kEnd = R"(
SOURCE is a disk image, a block device, or a directory of images. NAME=PATH names it,
raw:PATH takes its bytes as they are. Name all disks of a volume group together.
Nothing is written to a source but by 'commit', 'try' when told so, and mount --rw.

Begin with:
  peelfs ls disk.qcow2                  what is in it?
  mkdir /tmp/p && peelfs disk.qcow2 /tmp/p
  fsck.ext4 -fn /tmp/p/diskp1           run any tool on a partition
  peelfs umount /tmp/p

More: peelfs VERB --help, man peelfs. -v says more, -q less, --version which one it is.
)";

}  // namespace

std::span<const VerbRow* const> all_verbs() {
  return kRows;
}

const VerbRow* find_verb(std::string_view word) {
  const auto* found = std::find_if(kRows.begin(), kRows.end(),
                                   [&](const VerbRow* row) { return row->word == word; });
  return found == kRows.end() ? nullptr : *found;
}

const VerbRow& default_verb() {
  return kMountVerb;
}

const VerbRow& version_verb() {
  return kVersionVerb;
}

const VerbRow& help_verb() {
  return kHelpVerb;
}

std::vector<std::string_view> verb_words() {
  std::vector<std::string_view> words;
  words.reserve(kRows.size());
  for (const VerbRow* row : kRows) words.push_back(row->word);
  return words;
}

std::string program_help() {
  std::string text = kBeginning;
  for (const VerbRow* row : kRows) {
    for (const Heading& heading : kHeadings) {
      if (heading.verb == row) text += heading.text;
    }
    text += row->line;
  }
  return text + kEnd;
}

std::string help_text(const VerbRow& verb) {
  if (verb.help.empty()) return program_help();
  std::string text;
  for (const char* piece : verb.help) text += piece;
  return text;
}

}  // namespace peelfs::cli

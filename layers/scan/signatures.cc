#include "scan/signatures.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace peelfs {

namespace {

template <std::size_t count>
bool is_one_of(std::string_view text, const std::array<std::string_view, count>& list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Two bytes of magic, or none: they come about by chance in the data of something else.
constexpr std::array<std::string_view, 6> kWeak = {"minix", "sysv",   "xenix",
                                                   "hpfs",  "cramfs", "romfs"};
// One medium for several systems: that is how they are made.
constexpr std::array<std::string_view, 4> kHybrid = {"iso9660", "udf", "hfs", "hfsplus"};
// The one is written over the other, and uses parts of it.
constexpr std::array<std::string_view, 4> kWindows = {"BitLocker", "vfat", "ntfs", "exfat"};
constexpr std::array<std::string_view, 2> kSwap = {"swap", "swsuspend"};

bool belong_together(std::string_view one, std::string_view other) {
  const auto both_in = [&](const auto& list) {
    return is_one_of(one, list) && is_one_of(other, list);
  };
  return both_in(kHybrid) || both_in(kWindows) || both_in(kSwap);
}

bool is_table(std::string_view format) {
  return format == "gpt" || format == "dos";
}

std::string table_name(std::string_view pttype) {
  if (pttype == "gpt") return "a GPT";
  if (pttype == "dos") return "an MBR partition table";
  return "a partition table (" + std::string(pttype) + ")";
}

std::string signature_name(const Identity::Signature& signature) {
  const std::string place = " at " + hex(signature.offset);
  if (signature.type == "crypto_LUKS" && signature.offset != 0) {
    return "a second LUKS2 header" + place + " without the first" +
           " (to open that, give this device's image with --header NAME=PATH)";
  }
  return signature.type + place;
}

}  // namespace

std::optional<Trouble> several_signatures(const Identity& identity, std::string_view taken) {
  const std::string_view table = is_table(taken)            ? taken
                                 : identity.partitions != 0 ? std::string_view(identity.pttype)
                                                            : std::string_view();
  const bool table_taken = !table.empty() && table == taken;
  std::string used = table_taken ? table_name(table) : std::string(taken);
  std::vector<std::string> others;
  bool hybrid = is_one_of(taken, kHybrid);
  // What stands on a member besides its own superblock is the array's content.
  bool member = false;
  bool superblock_taken = false;
  for (const Identity::Signature& signature : identity.signatures) {
    const bool is_taken = !table_taken && signature.type == taken;
    hybrid = hybrid || is_one_of(signature.type, kHybrid);
    superblock_taken = superblock_taken || is_taken;
    member = member || (is_taken && signature.usage == "raid" && taken != "LVM2_member");
    if (is_taken) used = signature_name(signature);
    if (is_taken || is_one_of(signature.type, kWeak) || belong_together(signature.type, taken)) {
      continue;
    }
    others.push_back(signature_name(signature));
  }
  // A boot block's MBR belongs to the disk label of another system behind it.
  // What looks like a table in BitLocker's boot sector is its code.
  const bool boot_code = taken == "BitLocker" && table == "dos";
  if (superblock_taken && !table.empty() && !hybrid && !boot_code) {
    others.push_back(table_name(table));
  }
  if (table_taken && hybrid) return std::nullopt;
  if (taken.empty() || others.empty() || member) return std::nullopt;
  std::string text = others.size() == 1 ? "two signatures: " : "several signatures: ";
  text += used + ", which is used";
  for (std::size_t i = 0; i < others.size(); ++i) {
    const bool last = i + 1 == others.size();
    text += (last && i != 0 ? " and " : last ? ", and " : ", ") + others[i];
  }
  return Trouble{Trouble::note, text};
}

}  // namespace peelfs

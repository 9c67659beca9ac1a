// The argument of -o, on our command line and from mount(8).
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "cli/values.h"
#include "cli/verbs/mount.h"
#include "peelfs/error.h"

namespace peelfs::cli {
namespace {

/// Handed on to the kernel.
constexpr std::array<std::string_view, 12> kKernel{"nodev",   "nosuid", "noexec",  "dev",
                                                   "suid",    "exec",   "noatime", "relatime",
                                                   "dirsync", "sync",   "async",   "atime"};

/// What mount(8) and fstab(5) understand themselves, or what changes nothing for a read-only mount.
constexpr std::array<std::string_view, 26> kDropped{
    "defaults",   "auto",        "noauto",        "user",       "nouser",
    "users",      "nousers",     "owner",         "noowner",    "group",
    "nogroup",    "nofail",      "fail",          "_netdev",    "diratime",
    "nodiratime", "strictatime", "nostrictatime", "norelatime", "lazytime",
    "nolazytime", "silent",      "loud",          "nomand",     "default_permissions",
    "nonempty"};

/// The same, with a value.
constexpr std::array<std::string_view, 5> kDroppedWithValue{"comment", "user", "subtype", "helper",
                                                            "uhelper"};

constexpr std::array<std::string_view, 18> kSource{"volume-key",      "as",
                                                   "key-file",        "key",
                                                   "header",          "depth",
                                                   "no-search",       "no-prompt",
                                                   "kdf-memory",      "kdf-iterations",
                                                   "allow-reference", "overlay",
                                                   "overlay-temp",    "accept-source",
                                                   "kdf-seconds",     "run-files",
                                                   "identify-bytes",  "accept-shared"};
constexpr std::array<std::string_view, 11> kOwn{"ro",      "in-place", "allow_other",    "fsname",
                                                "threads", "log-file", "debug",          "max_read",
                                                "rw",      "writable", "no-auto-unmount"};

template <typename Names>
bool is_in(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// At each comma that has no backslash before it. `\,` and `\\` lose their backslash.
std::vector<std::string> split_options(std::string_view text) {
  std::vector<std::string> options(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\')) {
      options.back() += text[++i];
    } else if (text[i] == ',') {
      options.emplace_back();
    } else {
      options.back() += text[i];
    }
  }
  std::erase(options, "");
  return options;
}

std::string unknown_hint(std::string_view name) {
  std::vector<std::string_view> known;
  known.insert(known.end(), kKernel.begin(), kKernel.end());
  known.insert(known.end(), kDropped.begin(), kDropped.end());
  known.insert(known.end(), kSource.begin(), kSource.end());
  known.insert(known.end(), kOwn.begin(), kOwn.end());
  const std::string_view meant = closest(name, known);
  if (!meant.empty()) return "did you mean '" + std::string(meant) + "'?";
  return "'peelfs mount --help' lists the options";
}

Error refused(std::string_view name) {
  if (name == "overlay" || name == "overlay-temp" || name == "accept-source" ||
      name == "accept-shared") {
    return usage("option '" + std::string(name) + "' takes no value");
  }
  if (name == "remount" || name == "bind" || name == "move") {
    return usage("option '" + std::string(name) + "': a mount of peelfs cannot be changed")
        .advice("unmount it with 'peelfs umount' and mount it again");
  }
  if (name == "uid" || name == "gid" || name == "umask" || name == "fmask" || name == "dmask") {
    return usage("option '" + std::string(name) +
                 "': files belong to who mounts, and only they read them")
        .advice("mount as that user, or let everybody read with 'allow_other'");
  }
  if (name == "allow_root") {
    return usage("option 'allow_root' is not offered").advice("'allow_other' lets root in, too");
  }
  return usage("unknown mount option '" + printable(name) + "'").advice(unknown_hint(name));
}

unsigned parse_threads(std::string_view value) {
  const auto threads = parse_number(value);
  if (!threads || *threads == 0 || *threads > 1024) {
    throw usage("option 'threads': how many threads serve requests")
        .found("'" + printable(value) + "'")
        .expected("a number from 1 to 1024");
  }
  return static_cast<unsigned>(*threads);
}

/// The options that are peelfs' own. @return false when it is none of them
bool set_own_option(MountVerbOptions& options, std::string_view name, std::string_view value) {
  const bool flag = value.empty();
  if (name == "allow_other" && flag) {
    options.mount.allow_other = true;
  } else if (name == "overlay-temp" && flag) {
    options.overlay_temp = true;
  } else if ((name == "rw" || name == "in-place") && flag) {
    options.in_place = true;
  } else if (name == "ro" && flag) {
    options.read_only = true;
  } else if (name == "writable" && !value.empty()) {
    options.mount.writable_containers.emplace_back(value);
  } else if (name == "debug" && flag) {
    options.mount.debug = true;
  } else if (name == "no-auto-unmount" && flag) {
    options.mount.auto_unmount = false;
  } else if (name == "auto_unmount" && flag) {
    options.mount.auto_unmount = true;
  } else if (name == "fsname" && !value.empty()) {
    options.mount.fsname = value;
  } else if (name == "log-file" && !value.empty()) {
    options.mount.log_file = value;
  } else if (name == "threads") {
    options.mount.threads = parse_threads(value);
  } else if (name == "max_read") {
    parse_size(value, "option 'max_read'");
    options.mount.kernel_options.push_back("max_read=" + std::string(value));
  } else {
    return false;
  }
  return true;
}

}  // namespace

void set_mount_options(MountVerbOptions& options, std::string_view text, bool from_helper) {
  for (const std::string& option : split_options(text)) {
    const auto equals = option.find('=');
    const std::string_view name = std::string_view(option).substr(0, equals);
    const std::string_view value = equals == std::string::npos
                                       ? std::string_view()
                                       : std::string_view(option).substr(equals + 1);
    const bool plain = equals == std::string::npos;
    if (plain && is_in(kDropped, name)) continue;
    if (name.starts_with("x-") || name.starts_with("X-")) continue;
    if (!plain && is_in(kDroppedWithValue, name)) continue;
    if (plain && name == "rw" && from_helper) continue;
    if (plain && is_in(kKernel, name)) {
      options.mount.kernel_options.emplace_back(name);
      continue;
    }
    if (set_source_option(options.from, name, value)) continue;
    if (set_cover_option(options.cover, name, value)) continue;
    if (set_own_option(options, name, value)) continue;
    throw refused(name);
  }
}

}  // namespace peelfs::cli

// A sound LUKS2 volume, and what its tests ask of changed copies of it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <string>

#include "luks2_editor.h"
#include "luks_support.h"

namespace peelfs::test {

using Json = nlohmann::json;
using Edit = std::function<void(Json&)>;

inline constexpr std::string_view passphrase = "passphrase";

/// A volume of 2 MiB behind a header of 1 MiB with keyslots 0 (argon2id) and 1 (pbkdf2).
inline const Buffer& sound_luks2_disk() {
  static const Buffer disk = [] {
    const TemporaryDirectory folder;
    write_file(folder / "key", as_bytes(passphrase));
    must_run(
        "cd " + folder.path() +
        " && truncate -s 3M disk && cryptsetup luksFormat -q --type luks2 --luks2-keyslots-size "
        "768k "
        "--offset 2048 --label name --pbkdf argon2id --pbkdf-force-iterations 4 --pbkdf-memory 32 "
        "--pbkdf-parallel 1 disk key && cryptsetup luksAddKey -q --pbkdf pbkdf2 "
        "--pbkdf-force-iterations 1000 --key-file key disk key");
    return read_file(folder / "disk");
  }();
  return disk;
}

class Luks2Damage : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    editor_.emplace(sound_luks2_disk());
  }

  Opened try_open(const Limits& limits = quick_limits()) {
    return open(editor_->device(), keys_.ring, limits);
  }
  std::string error() {
    return error_of([&] { try_open(); });
  }
  /// Why a volume with this change does not open; "(opened)" when it does.
  std::string reason(const Edit& edit) {
    Luks2Editor editor(sound_luks2_disk());
    editor.edit(edit);
    try {
      const Opened opened = open(editor.device(), keys_.ring);
      return opened.devices.empty() ? reason_of(opened) : "(opened)";
    } catch (const Error& error) {
      return std::string(fault_name(error.fault())) + ": " + error.what();
    }
  }
  std::string plaintext(const Opened& opened) {
    return opened.devices.size() == 1 ? sha256(*opened.devices[0].device) : reason_of(opened);
  }
  std::string sound_plaintext() {
    return plaintext(open(Luks2Editor(sound_luks2_disk()).device(), keys_.ring));
  }

  std::optional<Luks2Editor> editor_;
  Keys keys_{passphrase};
};

}  // namespace peelfs::test

// What a power cut leaves of the notes of which overlays belong together, by the system calls of
// the real program: the old note or the new one, in an overlay that qemu finds sound, whose disk is
// what it was.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <set>

#include "mount/mounted.h"
#include "overlay/set.h"
#include "peel/peeling.h"
#include "support/array_member.h"
#include "writing/cut/explore.h"
#include "writing/cut/recorded_mount.h"
#include "writing/nested_stack.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t size = 2U << 20U;

/// So long that a note, which holds the names, is longer than what a disk writes at once.
const std::string one = "one-" + std::string(200, '1');
const std::string two = "two-" + std::string(200, '2');
const std::string three = "three-" + std::string(200, '3');
const std::array<std::string, 3> all_three{one, two, three};

class SetCut : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_PROGRAM("qemu-img");
    if (std::string_view(PEELFS_RECORDER).empty()) {
      GTEST_SKIP() << "a program with sanitizers does not let itself be recorded";
    }
    fs::create_directory(images_);
    for (const std::string& name : all_three) {
      Buffer bytes = pattern(size, name.size() + name.back());
      make_array_member(bytes, 1);  // what they have in common
      write_file(images_ + "/" + name + ".raw", bytes);
    }
    fix_times(images_);
    for (const std::string& name : {one, two}) {
      const OpenDisk open(disk(images_, name));
      ASSERT_TRUE(open.ready());
      write(open.device(), 70'000, pattern(5000, 9));
      open.device().flush();
    }
    join(one, three);
    tighten();
  }

  static Disk disk(const std::string& folder, const std::string& name) {
    return covered({.folder = folder, .sources = {folder + "/" + name + ".raw"}, .device = name},
                   "raw");
  }
  static std::string overlay_of(const std::string& folder, const std::string& name) {
    return disk(folder, name).overlay + "/" + name + ".qcow2";
  }

  /// Mounts two at once, without a mount.
  void join(const std::string& a, const std::string& b) const {
    PeelRequest request;
    for (const std::string& name : {a, b}) {
      request.sources.push_back(parse_source(disk(images_, name).sources.front()));
    }
    request.overlay = {overlay::Request::Kind::persistent, disk(images_, a).overlay, false};
    const Peeling both(request, std::make_shared<KeyRing>());
  }

  /// Lets qemu write the headers: it leaves no room behind the list.
  void tighten() const {
    for (const std::string& name : all_three) {
      must_run("qemu-img rebase -u -f qcow2 -F raw -b " + sh(images_ + "/" + name + ".raw") + " " +
               sh(overlay_of(images_, name)));
    }
  }

  static overlay::Membership note(const std::string& folder, const std::string& name) {
    return overlay::membership_of(*file_device(overlay_of(folder, name)));
  }

  using Notes = std::map<std::string, overlay::Membership>;
  Notes notes() const {
    Notes all;
    for (const std::string& name : all_three) {
      if (fs::exists(overlay_of(images_, name))) all[name] = note(images_, name);
    }
    return all;
  }

  static bool same(const overlay::Membership& a, const overlay::Membership& b) {
    return a.id == b.id && a.others == b.others;
  }

  /// @return "" or what is wrong with an overlay whose disk is to be what it was
  std::string wrong_with(const std::string& folder, const std::string& name, const Notes& before,
                         const Notes& after) {
    const std::string image = sha256(read_file(overlay_of(folder, name)));
    if (!sound_.insert(name + image).second) return "";  // most states come again
    const Disk covered_disk = disk(folder, name);
    const CommandResult check = run("qemu-img check " + covered_disk.outside.arguments());
    if (check.exit_code != 0 && check.exit_code != 3) return name + ": " + check.output;
    if (covered_disk.outside.bytes(folder + ".raw") != bytes_.at(name))
      return name + ": other bytes";
    const CommandResult info = run("qemu-img info " + sh(overlay_of(folder, name)));
    const std::string source = "backing file: " + images_ + "/" + name + ".raw\n";
    if (info.output.find(source) == std::string::npos) return "another source: " + info.output;
    const overlay::Membership found = note(folder, name);
    const auto is = [&](const Notes& notes) {
      const auto wanted = notes.find(name);
      return wanted != notes.end() && same(found, wanted->second);
    };
    return is(before) || is(after) ? "" : name + ": neither the old note nor the new one";
  }

  void remember() {
    base_ = base_of(images_);
    for (const std::string& name : all_three) {
      bytes_[name] = disk(images_, name).outside.bytes(folder_ / "bytes.raw");
    }
  }

  /// At every entry of the log, and at others again.
  void expect_sound(std::size_t points,
                    const std::function<std::string(const std::string&, const Files&)>& look) {
    const Log log(log_);
    std::size_t writes = 0;
    for (const Entry& entry : log.entries()) writes += entry.header.kind == Record::write ? 1 : 0;
    ASSERT_GT(writes, 6U) << "nothing was recorded";
    const std::string folder = folder_ / "state";
    fs::create_directory(folder);
    const auto failures =
        explore({[&](unsigned) -> Look {
                   return [&](const Files& files, const Promises&) {
                     put_files(folder, files);
                     return look(folder, files);
                   };
                 },
                 seed_for("set cut"), nightly() ? 5000U : points, log.entries().size(), 1},
                {base_, {}}, log);
    for (std::size_t i = 0; i < std::min<std::size_t>(failures.size(), 3); ++i) {
      ADD_FAILURE() << failures[i] << "\n" << how_to_repeat();
    }
  }

  TemporaryDirectory folder_;
  const std::string images_ = folder_.path() + "/images";
  const std::string log_ = folder_.path() + "/log";
  Base base_;
  std::map<std::string, Buffer> bytes_;
  std::set<std::string> sound_;  ///< overlays that were looked at
};

TEST_F(SetCut, Join) {
  NEED_MOUNTS();
  remember();
  const Notes before = notes();
  {
    const RecordedMount mount(images_, log_,
                              "-o overlay=" + sh(images_ + "/overlays") + " " +
                                  sh(images_ + "/" + one + ".raw") + " " +
                                  sh(images_ + "/" + two + ".raw"));
    ASSERT_EQ((*mount).umount().exit_code, 0);
  }
  const Notes after = notes();
  ASSERT_EQ(after.at(one).others.size(), 2U) << "two, and three as before";
  ASSERT_EQ(after.at(two).others.size(), 2U);
  expect_sound(300, [&](const std::string& folder, const Files&) {
    for (const std::string& name : all_three) {
      const std::string wrong = wrong_with(folder, name, before, after);
      if (!wrong.empty()) return wrong;
    }
    return std::string();
  });
}

TEST_F(SetCut, Part) {
  join(one, two);
  tighten();
  remember();
  const Notes before = notes();
  const auto commit = [](const std::string& folder, const std::string& options) {
    return program() + " commit -q --accept-source --overlay " + sh(folder + "/overlays") + " " +
           options;
  };
  must_run(recording(PEELFS_RECORDER, images_, log_) +
           commit(images_, "--accept-part " + sh(images_ + "/" + one + ".raw")));
  const Notes after = notes();
  ASSERT_FALSE(after.contains(one));
  ASSERT_EQ(after.at(two).others.size(), 1U) << "three";
  Notes alone = before;  // what one says before it goes
  alone.at(one).others.clear();
  alone.at(two) = after.at(two);
  alone.at(three) = after.at(three);
  expect_sound(20, [&](const std::string& folder, const Files& files) {
    for (const std::string& name : all_three) {
      if (!files.contains("overlays/" + name + ".qcow2")) continue;
      const std::string wrong = wrong_with(folder, name, before, alone);
      if (!wrong.empty()) return wrong;
    }
    if (files.contains("overlays/" + one + ".qcow2")) {
      const auto again = run(commit(folder, "--accept-part " + sh(folder + "/" + one + ".raw")));
      if (again.exit_code != 0) return "the next commit fails: " + again.output;
    }
    const auto rest = run(commit(folder, sh(folder + "/" + two + ".raw")));
    return rest.exit_code == 0 ? "" : "the rest asks for what went its own way: " + rest.output;
  });
}

}  // namespace
}  // namespace peelfs::test

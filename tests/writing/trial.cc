#include "writing/trial.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "peelfs/host_file.h"
#include "peelfs/io.h"
#include "qcow2/overlay.h"

namespace peelfs::test {

Trial::Trial(const Stack& stack) : disk_(stack.make(folder_.path())) {
  if (!made()) return;
  for (const std::string& path : disk_.untouched) digests_.push_back(sha256(read_file(path)));
  model_.emplace(disk_.outside.bytes(scratch()));
  open();
}

void Trial::open() {
  open_.emplace(disk_);
  if (!open_->ready()) return;
  ASSERT_EQ(device().size(), model_->size());
  compare_all();
}

void Trial::close() {
  model_->note("flush");
  device().flush();
  open_.reset();
}

void Trial::write(std::uint64_t offset, Bytes data) {
  model_->write("write", offset, data);
  peelfs::write(device(), offset, data);
}

void Trial::zero(Range range, WriteKind kind) {
  model_->zero(kind == WriteKind::zeroes ? "zero" : "discard", range);
  try {
    peelfs::zero(device(), range.offset, range.length, kind);
  } catch (const Error& error) {
    // As the mount does: where the host cannot, zeroes are written.
    if (error.error_number() != EOPNOTSUPP) throw;
    peelfs::write(device(), range.offset, Buffer(range.length));
  }
}

void Trial::compare(Range range) {
  const Buffer found = read_bytes(device(), range.offset, range.length);
  const std::string difference = model_->difference(range.offset, found);
  ASSERT_TRUE(difference.empty()) << difference << how_to_repeat();
}

void Trial::compare_all() {
  compare({0, model_->size()});
}

void Trial::look_from_outside() {
  disk_.outside.check();
  const std::string difference = model_->difference(0, disk_.outside.bytes(scratch()));
  ASSERT_TRUE(difference.empty()) << "as others read it: " << difference << how_to_repeat();
  for (const Snapshot& snapshot : snapshots_) {
    ASSERT_EQ(sha256(disk_.outside.snapshot(snapshot.tag, scratch())), sha256(snapshot.bytes))
        << "snapshot " << snapshot.tag << "; " << how_to_repeat();
  }
  look_read_only();
  check_files();
}

// The open writer knows more than the disk does: where the file is going to end, for one. So the
// bytes are read again through a device that knows only the disk.
void Trial::look_read_only() {
  const OpenDisk disk(disk_, false);
  if (!disk.ready()) return;
  const Buffer found = read_bytes(disk.device(), 0, model_->size());
  const std::string difference = model_->difference(0, found);
  ASSERT_TRUE(difference.empty()) << "read-only: " << difference << how_to_repeat();
  for (const Snapshot& snapshot : snapshots_) {
    Disk other = disk_;
    other.device += "@" + snapshot.tag;
    const OpenDisk then(other, false);
    ASSERT_TRUE(then.ready() && then.device().size() == snapshot.bytes.size()) << other.device;
    ASSERT_TRUE(read_bytes(then.device(), 0, snapshot.bytes.size()) == snapshot.bytes)
        << "snapshot " << snapshot.tag << " as we read it; " << how_to_repeat();
  }
}

void Trial::check_files() {
  for (const auto& [path, bound] : disk_.bounds) {
    ASSERT_LE(std::filesystem::file_size(path), bound) << path << "; " << how_to_repeat();
  }
  for (std::size_t i = 0; i < disk_.untouched.size(); ++i) {
    ASSERT_EQ(sha256(read_file(disk_.untouched[i])), digests_[i])
        << disk_.untouched[i] << " was changed; " << how_to_repeat();
  }
}

// Both must cover the disk, what qemu calls a hole must be one for us, and what we call one must be
// zero. (Where qemu sees data we may see a hole: we ask the host below an allocated cluster, too.)
void Trial::check_map() {
  // A copy that was made of the disk has holes of its own.
  const bool copied = !disk_.outside.prepare.empty();
  for (const MapRun& run :
       copied ? std::vector<MapRun>{{0, model_->size(), false, true}} : disk_.outside.map()) {
    const std::uint64_t end = run.offset + run.length;
    for (std::uint64_t at = run.offset; at < end;) {
      const Run ours = block_status(device(), at, end - at);
      const bool hole_for_qemu = run.zero && !run.data;
      ASSERT_FALSE(hole_for_qemu && ours.data)
          << "qemu-img map has a hole at " << at << "; " << how_to_repeat();
      ASSERT_TRUE(ours.data || model_->all_zero({at, ours.length}))
          << "a hole at " << at << " where there is data; " << how_to_repeat();
      at += ours.length;
    }
  }
}

void Trial::outside_writes(Dice& dice) {
  std::vector<std::string> commands;
  for (unsigned i = 0; i < 6; ++i) {
    const Range at = dice.aligned(model_->size(), disk_.unit, 512, 200 * 1024);
    const std::string range = std::to_string(at.offset) + " " + std::to_string(at.length);
    const std::uint64_t what = dice.below(4);
    if (what == 0 && disk_.outside.discards) {
      commands.push_back("write -z -u " + range);
      model_->zero("qemu's write -z -u", at);
    } else if (what == 1) {
      commands.push_back("write -z " + range);
      model_->zero("qemu's write -z", at);
    } else {
      const std::uint64_t value = 1 + dice.below(255);
      commands.push_back("write -P " + std::to_string(value) + " " + range);
      model_->fill("qemu's write", at, static_cast<std::byte>(value));
    }
  }
  disk_.outside.io(commands);
}

// By qemu or by us: each must cope with what the other left.
void Trial::change_snapshots(Dice& dice) {
  const std::string image = " " + shell_word(disk_.snapshots);
  const bool ours = dice.chance(50);
  const DevicePtr file =
      make_storage_device(HostFile::open(disk_.snapshots, HostFile::Access::read_write));
  const std::string who = ours ? "our " : "qemu's ";
  if (snapshots_.size() < 3 && dice.chance(50)) {
    const std::string tag = "s" + std::to_string(snapshots_made_++);
    if (ours) {
      qcow2::create_snapshot(file, tag);
    } else {
      must_run("qemu-img snapshot -c " + tag + image);
    }
    model_->note(who + "snapshot " + tag);
    snapshots_.push_back({tag, model_->bytes()});
  } else if (!snapshots_.empty()) {
    const std::size_t which = dice.below(snapshots_.size());
    const Snapshot& snapshot = snapshots_[which];
    if (dice.chance(50)) {
      if (ours) {
        qcow2::revert_to_snapshot(file, snapshot.tag);
      } else {
        must_run("qemu-img snapshot -a " + snapshot.tag + image);
      }
      model_->replace(who + "revert to " + snapshot.tag, snapshot.bytes);
    } else {
      if (ours) {
        qcow2::delete_snapshot(file, snapshot.tag);
      } else {
        must_run("qemu-img snapshot -d " + snapshot.tag + image);
      }
      model_->note(who + "delete " + snapshot.tag);
      snapshots_.erase(snapshots_.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }
}

void Trial::reopen(Dice& dice) {
  close();
  look_from_outside();
  if (disk_.outside.writable && dice.chance(40)) {
    outside_writes(dice);
    look_from_outside();
  }
  if (!disk_.snapshots.empty()) {
    change_snapshots(dice);
    look_from_outside();
  }
  model_->note("reopen");
  open();
  if (ready()) check_map();
}

void Trial::finish() {
  compare_all();
  close();
  look_from_outside();
}

}  // namespace peelfs::test

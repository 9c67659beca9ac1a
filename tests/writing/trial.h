// One stack under test: the disk, its model, and what must hold whenever it is closed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "writing/model.h"
#include "writing/stack.h"

namespace peelfs::test {

/// Every member function fails the running test where peelfs and the model, or peelfs and qemu,
/// disagree. Not thread-safe.
class Trial {
 public:
  explicit Trial(const Stack& stack);
  /// False when the stack cannot be made here (a fixture is missing), or did not open.
  bool ready() const noexcept { return open_ && open_->ready(); }
  bool made() const noexcept { return !disk_.folder.empty(); }

  const BlockDevice& device() const { return open_->device(); }
  Model& model() { return *model_; }
  const Disk& disk() const { return disk_; }

  void write(std::uint64_t offset, Bytes data);
  void zero(Range range, WriteKind kind);
  void compare(Range range);
  void compare_all();

  /// Flushes, closes, lets others look at it and sometimes write to it, and opens it anew.
  void reopen(Dice& dice);
  /// The last look: flush, close, and everything that others say.
  void finish();

 private:
  struct Snapshot {
    std::string tag;
    Buffer bytes;
  };
  void close();
  void open();
  void look_from_outside();
  void look_read_only();
  void check_map();
  void check_files();
  void outside_writes(Dice& dice);
  void change_snapshots(Dice& dice);
  std::string scratch() const { return folder_ / "outside.raw"; }

  TemporaryDirectory folder_;
  Disk disk_;
  std::vector<std::string> digests_;
  std::optional<Model> model_;
  std::optional<OpenDisk> open_;
  std::vector<Snapshot> snapshots_;
  unsigned snapshots_made_ = 0;
};

}  // namespace peelfs::test

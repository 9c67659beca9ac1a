// Random operations on every stack that can be written, against a plain model in memory, and
// against qemu whenever the stack is closed.
#include <gtest/gtest.h>

#include "peelfs/io.h"
#include "writing/qcow2_stack.h"
#include "writing/trial.h"

namespace peelfs::test {
namespace {

class WriteModel : public ::testing::TestWithParam<Stack> {
 protected:
  void SetUp() override {
    for (const char* const tool : {"qemu-img", "qemu-io"}) {
      if (!have_program(tool)) GTEST_SKIP() << tool << " is not installed";
    }
  }
};

/// 20,000 operations over all stacks in a normal run, 1,000,000 in a nightly one.
std::uint64_t operations() {
  static const std::uint64_t count = (nightly() ? 1'000'000 : 20'000) / stacks().size() + 1;
  return count;
}

/// @param most bytes that it touches; discards may touch the whole disk
void one_operation(Trial& trial, Dice& dice, std::uint64_t number, std::uint64_t unit,
                   std::uint64_t most = 1U << 20U) {
  const std::uint64_t size = trial.model().size();
  const std::uint64_t what = dice.below(100);
  if (what < 52) {
    const Range at = dice.range(size, unit, most);
    trial.write(at.offset, pattern(at.length, number));
  } else if (what < 62) {
    trial.zero(dice.range(size, unit, most), WriteKind::zeroes);
  } else if (what < 72) {
    // Now and then a large part of the disk.
    if (dice.chance(10)) most = size;
    trial.zero(
        dice.chance(50) ? dice.range(size, unit, most) : dice.aligned(size, unit, unit, most),
        WriteKind::discard);
  } else if (what < 92) {
    trial.compare(dice.range(size, unit, most));
  } else {
    trial.model().note("flush");
    trial.device().flush();
  }
}

TEST_P(WriteModel, RandomOperations) {
  Dice dice(seed_for(GetParam().name));
  Trial trial(GetParam());
  if (!trial.made()) GTEST_SKIP() << "the fixture is not in this checkout";
  // Copying out what qemu cannot open itself takes long.
  const std::uint64_t between_reopenings =
      (nightly() ? 400 : 80) * (trial.disk().outside.prepare.empty() ? 1U : 3U);
  for (std::uint64_t i = 0; i < operations() && trial.ready(); ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    one_operation(trial, dice, i, trial.disk().unit);
    if (HasFatalFailure()) return;
    if (dice.below(between_reopenings) == 0) trial.reopen(dice);
    if (HasFailure()) return;
  }
  if (trial.ready()) trial.finish();
}

/// Small images of every kind, nearly empty, that are closed and looked at after every few
/// operations: where a file ends, which part of a cluster was ever written, what a snapshot shares
/// and how long a backing file is matters while there is little in an image.
void try_geometry(Dice& dice) {
  const Qcow2Options options = random_qcow2(dice);
  SCOPED_TRACE(to_string(options));
  Trial trial({"random", [&](const std::string& folder) { return make_qcow2(folder, options); }});
  const bool extended = options.create.find("extended_l2=on") != std::string::npos;
  const std::uint64_t operations = 4 + dice.below(30);
  // Often there is a snapshot before anything is written.
  if (trial.ready() && dice.chance(50)) trial.reopen(dice);
  for (std::uint64_t i = 0; i < operations && trial.ready(); ++i) {
    SCOPED_TRACE("operation " + std::to_string(i));
    const std::uint64_t unit = extended && dice.chance(60) ? options.cluster / 32 : options.cluster;
    one_operation(trial, dice, i, unit, dice.chance(70) ? 4096 : 3 * options.cluster);
    if (::testing::Test::HasFailure()) return;
    if (dice.below(5) == 0) trial.reopen(dice);
    if (::testing::Test::HasFailure()) return;
  }
  if (trial.ready()) trial.finish();
}

TEST(WriteGeometry, SmallImagesOfEveryKind) {
  for (const char* const tool : {"qemu-img", "qemu-io"}) {
    if (!have_program(tool)) GTEST_SKIP() << tool << " is not installed";
  }
  // Some 20 operations and 3 reopenings each.
  const unsigned images = nightly() ? 3000 : 40;
  const std::uint64_t seed = seed_for("geometry");
  for (unsigned i = 0; i < images; ++i) {
    SCOPED_TRACE("image " + std::to_string(i));
    Dice dice(seed + i);
    try_geometry(dice);
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Every, WriteModel, ::testing::ValuesIn(stacks()),
                         [](const auto& stack) { return stack.param.name; });

}  // namespace
}  // namespace peelfs::test

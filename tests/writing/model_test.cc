// Random operations on every stack that can be written, against a plain model in memory, and
// against qemu whenever the stack is closed.
#include <gtest/gtest.h>

#include "peelfs/io.h"
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

void one_operation(Trial& trial, Dice& dice, std::uint64_t number) {
  const std::uint64_t size = trial.model().size();
  const std::uint64_t unit = trial.disk().unit;
  const std::uint64_t what = dice.below(100);
  if (what < 52) {
    const Range at = dice.range(size, unit);
    trial.write(at.offset, pattern(at.length, number));
  } else if (what < 62) {
    trial.zero(dice.range(size, unit), WriteKind::zeroes);
  } else if (what < 72) {
    // Now and then a large part of the disk.
    const std::uint64_t most = dice.chance(10) ? size : 1U << 20U;
    trial.zero(
        dice.chance(50) ? dice.range(size, unit, most) : dice.aligned(size, unit, unit, most),
        WriteKind::discard);
  } else if (what < 92) {
    trial.compare(dice.range(size, unit));
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
    one_operation(trial, dice, i);
    if (HasFatalFailure()) return;
    if (dice.below(between_reopenings) == 0) trial.reopen(dice);
    if (HasFailure()) return;
  }
  if (trial.ready()) trial.finish();
}

INSTANTIATE_TEST_SUITE_P(Every, WriteModel, ::testing::ValuesIn(stacks()),
                         [](const auto& stack) { return stack.param.name; });

}  // namespace
}  // namespace peelfs::test

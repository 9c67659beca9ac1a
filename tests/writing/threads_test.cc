// Several threads write one disk at once.
//
// What is right: at the end every byte is that of a write to it that no other write to it follows
// entirely (began after that one had ended); of writes that begin and end at multiples of 512
// bytes, a sector is one write's as a whole. While they write, a reader sees of every byte what
// stood there before, or what one of the writes put there.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "peelfs/io.h"
#include "writing/trial.h"

namespace peelfs::test {
namespace {

constexpr unsigned writers = 4;
constexpr std::uint64_t sector = 512;

struct Step {
  Range range;
  Buffer data;
  bool discard = false;
  std::uint64_t began = 0;
  std::uint64_t ended = 0;
};

std::vector<Stack> chosen() {
  std::vector<Stack> all = stacks();
  if (nightly()) return all;
  const std::vector<std::string> some{
      "raw", "luks2_512", "qcow2_4k", "qcow2_extended", "qcow2_on_raw_shorter", "overlay_on_qcow2"};
  std::erase_if(all, [&](const Stack& stack) {
    return std::find(some.begin(), some.end(), stack.name) == some.end();
  });
  return all;
}

class Threads : public ::testing::TestWithParam<Stack> {};

/// What each writer is going to do in a round, all in one small area, so that they meet.
std::vector<std::vector<Step>> plan(Dice& dice, Range area, std::uint64_t unit,
                                    bool whole_sectors) {
  std::vector<std::vector<Step>> steps(writers);
  for (auto& one : steps) {
    for (unsigned i = 0; i < 12; ++i) {
      Range at = whole_sectors ? dice.aligned(area.length, unit, sector, 64 * 1024)
                               : dice.range(area.length, unit, 64 * 1024);
      at.offset += area.offset;
      Step step{.range = at, .data = Buffer(at.length), .discard = dice.chance(20)};
      if (!step.discard) step.data = pattern(at.length, dice.number());
      one.push_back(std::move(step));
    }
  }
  return steps;
}

void carry_out(const BlockDevice& device, std::vector<Step>& steps,
               std::atomic<std::uint64_t>& clock) {
  for (Step& step : steps) {
    step.began = clock.fetch_add(1);
    bool done = false;
    if (step.discard) {
      try {
        zero(device, step.range.offset, step.range.length, WriteKind::discard);
        done = true;
      } catch (const Error& error) {
        if (error.error_number() != EOPNOTSUPP) throw;
      }
    }
    if (!done) write(device, step.range.offset, step.data);
    step.ended = clock.fetch_add(1);
  }
}

using Steps = std::vector<const Step*>;

/// Whether `found`, which stands at `at`, can be what these writes left of `before`.
bool explained(Bytes found, Bytes before, std::uint64_t at, const Steps& steps, bool at_the_end,
               bool whole) {
  // Those that touch it and that nothing follows; while it goes on, all of them.
  const auto touches = [&](const Step& step) {
    return step.range.offset < at + found.size() && at < step.range.offset + step.range.length;
  };
  Steps candidates;
  for (const Step* const step : steps) {
    if (!touches(*step)) continue;
    const bool followed =
        at_the_end && whole && std::any_of(steps.begin(), steps.end(), [&](const Step* other) {
          return touches(*other) && other->began > step->ended;
        });
    if (!followed) candidates.push_back(step);
  }
  if (candidates.empty() || !at_the_end) {
    if (std::memcmp(found.data(), before.data(), found.size()) == 0) return true;
  }
  const auto byte_of = [&](const Step& step, std::size_t i) {
    return step.data[at + i - step.range.offset];
  };
  if (whole) {
    return std::any_of(candidates.begin(), candidates.end(), [&](const Step* step) {
      return std::memcmp(found.data(), step->data.data() + (at - step->range.offset),
                         found.size()) == 0;
    });
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    bool covered = false;
    bool right = false;
    for (const Step* const step : candidates) {
      if (at + i < step->range.offset || at + i >= step->range.offset + step->range.length)
        continue;
      const bool followed =
          at_the_end && std::any_of(steps.begin(), steps.end(), [&](const Step* other) {
            return other->began > step->ended && other->range.offset <= at + i &&
                   at + i < other->range.offset + other->range.length;
          });
      covered = covered || !followed;
      right = right || (!followed && byte_of(*step, i) == found[i]);
    }
    if (!right && !((!covered || !at_the_end) && found[i] == before[i])) return false;
  }
  return true;
}

/// @return "" or the first sector that no order of the writes explains
std::string unexplained(Bytes found, Range area, Bytes before, const Steps& steps, bool at_the_end,
                        bool whole) {
  for (std::uint64_t at = 0; at < area.length; at += sector) {
    const std::size_t length = std::min(sector, area.length - at);
    if (!explained(found.subspan(at, length), before.subspan(at, length), area.offset + at, steps,
                   at_the_end, whole)) {
      return "sector at byte " + std::to_string(area.offset + at) +
             (at_the_end ? " in the end" : " while they write") + "; " + how_to_repeat();
    }
  }
  return "";
}

void one_round(Trial& trial, Dice& dice, bool whole_sectors) {
  const std::uint64_t size = trial.model().size();
  const std::uint64_t length = std::min<std::uint64_t>(size, 192 * 1024);
  const std::uint64_t begin = round_down(dice.below(size - length + 1), sector);
  const Range area{begin, length};
  const Buffer before(trial.model().bytes().begin() + static_cast<std::ptrdiff_t>(begin),
                      trial.model().bytes().begin() + static_cast<std::ptrdiff_t>(begin + length));
  auto steps = plan(dice, area, trial.disk().unit, whole_sectors);
  std::atomic<std::uint64_t> clock{1};
  std::atomic<unsigned> running{writers};
  std::vector<Buffer> seen;
  std::vector<std::string> errors(writers + 1);
  std::vector<std::thread> threads;
  const auto guarded = [&errors](unsigned which, const auto& work) {
    try {
      work();
    } catch (const std::exception& error) {
      errors.at(which) = error.what();
    }
  };
  for (unsigned i = 0; i < writers; ++i) {
    threads.emplace_back([&, i] {
      guarded(i, [&] { carry_out(trial.device(), steps[i], clock); });
      running.fetch_sub(1);
    });
  }
  guarded(writers, [&] {
    while (running.load() != 0) {
      if (seen.size() < 8) seen.push_back(read_bytes(trial.device(), area.offset, area.length));
      trial.device().flush();
    }
  });
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) ASSERT_EQ(error, "");

  Steps all;
  for (const auto& one : steps) {
    for (const Step& step : one) all.push_back(&step);
  }
  for (const Buffer& bytes : seen) {
    ASSERT_EQ(unexplained(bytes, area, before, all, false, false), "");
  }
  const Buffer now = read_bytes(trial.device(), area.offset, area.length);
  ASSERT_EQ(unexplained(now, area, before, all, true, whole_sectors), "");
  trial.model().write("a round of threads", area.offset, now);
}

TEST_P(Threads, WhatOverlapsIsOneOrTheOther) {
  Dice dice(seed_for("threads " + GetParam().name));
  Trial trial(GetParam());
  if (!trial.made()) GTEST_SKIP() << "the fixture is not in this checkout";
  const unsigned rounds = nightly() ? 200 : 6;
  for (unsigned round = 0; round < rounds && trial.ready(); ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    one_round(trial, dice, round % 2 == 0);
    if (HasFatalFailure()) return;
    trial.compare_all();
    if (round % 4 == 3) trial.reopen(dice);
    if (HasFailure()) return;
  }
  if (trial.ready()) trial.finish();
}

TEST_P(Threads, WhatDoesNotOverlapIsNotDisturbed) {
  Dice dice(seed_for("lanes " + GetParam().name));
  Trial trial(GetParam());
  if (!trial.made()) GTEST_SKIP() << "the fixture is not in this checkout";
  ASSERT_TRUE(trial.ready());
  // Lanes narrower than a cluster and no multiple of a sector: neighbours share both.
  constexpr std::uint64_t lane = 5000;
  const std::uint64_t lanes = trial.model().size() / lane;
  std::vector<std::thread> threads;
  std::vector<std::string> errors(writers);
  std::vector<std::vector<Step>> done(writers);
  for (unsigned i = 0; i < writers; ++i) {
    threads.emplace_back([&, i, seed = dice.number()] {
      Dice own(seed);
      try {
        for (unsigned n = 0; n < (nightly() ? 2000U : 100U); ++n) {
          const std::uint64_t first = (own.below(lanes / writers) * writers + i) * lane;
          const std::uint64_t skip = own.below(lane);
          const Range at{first + skip, 1 + own.below(lane - skip)};
          Step step{.range = at, .data = pattern(at.length, own.number())};
          write(trial.device(), at.offset, step.data);
          if (read_bytes(trial.device(), at.offset, at.length) != step.data) {
            errors[i] = "other bytes at " + std::to_string(at.offset);
          }
          done[i].push_back(std::move(step));
        }
      } catch (const std::exception& error) {
        errors[i] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) ASSERT_EQ(error, "") << how_to_repeat();
  for (const auto& steps : done) {
    for (const Step& step : steps) trial.model().write("lane", step.range.offset, step.data);
  }
  trial.finish();
}

INSTANTIATE_TEST_SUITE_P(Some, Threads, ::testing::ValuesIn(chosen()),
                         [](const auto& stack) { return stack.param.name; });

}  // namespace
}  // namespace peelfs::test

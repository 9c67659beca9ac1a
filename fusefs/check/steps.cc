#include "check/steps.h"

namespace peelfs::check {
namespace {

constexpr const char* kWasReplayed = "its journal had to be replayed first, as at boot";

void add_caveat(const Checker& checker, Verdict& verdict) {
  if (verdict.state != State::clean || checker.caveat.empty()) return;
  verdict.why += (verdict.why.empty() ? "" : "; ") + std::string(checker.caveat);
}

}  // namespace

std::span<const std::string_view> words_of(const Checker& checker, Task task) {
  switch (task) {
    case Task::replay:
      return checker.replay;
    case Task::repair:
      return checker.repair;
    case Task::check:
      break;
  }
  return checker.check;
}

Verdict judge_step(const Target& target, Task task, bool was_replayed, int code,
                   const std::string& output) {
  const Checker& checker = *target.checker;
  if (task == Task::repair) return checker.judge_repair(code, output);
  Verdict verdict = checker.judge(code, output);
  if (task == Task::replay) {
    if (code == 0 || code == 1) return {State::replayed, kWasReplayed};
    verdict.why = "its journal could not be replayed: " + verdict.why;
    return verdict;
  }
  add_caveat(checker, verdict);
  if (!was_replayed) return verdict;
  if (verdict.state == State::clean) return {State::replayed, kWasReplayed};
  verdict.why = "after the replay of its journal: " + verdict.why;
  return verdict;
}

}  // namespace peelfs::check

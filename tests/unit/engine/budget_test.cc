// What one run may use in all.
#include "peelfs/budget.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace peelfs {
namespace {

using Kind = Budget::Kind;

TEST(Budget, CountsDownAndEndsWithOneSentence) {
  Limits limits;
  limits.run_files = 10;
  limits.run_kdf_seconds = 2;
  Budget budget(limits);
  EXPECT_EQ(budget.left(Kind::files), 10U);
  EXPECT_EQ(budget.left(Kind::kdf_milliseconds), 2000U);
  budget.take(Kind::files, 4);
  EXPECT_EQ(budget.left(Kind::files), 6U);
  budget.take(Kind::files, 100);
  EXPECT_EQ(budget.left(Kind::files), 0U);
  EXPECT_TRUE(budget.endings().empty()) << "nothing was left out yet";
  for (const char* const what : {"first", "second", "third"}) budget.refuse(Kind::files, what);
  ASSERT_EQ(budget.endings().size(), 1U);
  EXPECT_EQ(budget.endings().front(),
            "searching filesystems for disk images ended after 10 files in all: first and 2 more "
            "left out; raise it with --run-files, or name fewer sources");
  budget.refuse(Kind::kdf_milliseconds, "x");
  EXPECT_EQ(budget.endings().size(), 2U);
  budget.take(Kind::kdf_milliseconds, 3000);
  budget.renew(Kind::kdf_milliseconds);
  EXPECT_EQ(budget.left(Kind::kdf_milliseconds), 2000U);
}

TEST(Budget, HalfOfTheMemoryAtMost) {
  EXPECT_GT(usual_kdf_memory(), 0U);
  EXPECT_LE(usual_kdf_memory(), std::uint64_t{4} << 30U);
  const auto memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  EXPECT_LE(usual_kdf_memory(), memory / 2);
  EXPECT_EQ(Limits{}.kdf_memory, usual_kdf_memory());
}

}  // namespace
}  // namespace peelfs

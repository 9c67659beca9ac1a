// What a run pays for keys and learns of them, and what this host lacks, which is no damage.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "luks/cryptsetup.h"
#include "luks_support.h"
#include "peelfs/budget.h"
#include "peelfs/cancel.h"

namespace peelfs::test {
namespace {

class Run : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_program("cryptsetup")) GTEST_SKIP() << "cryptsetup is not installed";
    write_file(folder_ / "key", as_bytes("right"));
    const std::string path = folder_ / "v";
    must_run("truncate -s 4M " + path + " && cryptsetup luksFormat -q --type luks1 " +
             "--pbkdf-force-iterations 1000 " + path + " " + (folder_ / "key"));
    device_ = file_device(path);
  }
  Opened open_with(const KeyRing& ring, Budget* budget, const Cancel* cancel = nullptr) const {
    Member member;
    member.device = device_;
    member.stem = member.tail = "disk";
    const std::vector<Member> members{member};
    const Limits limits;
    return luks_open({members, ring, limits, nullptr, 0, budget, nullptr, nullptr, {}, cancel});
  }
  TemporaryDirectory folder_;
  DevicePtr device_;
};

TEST_F(Run, TheRingLearnsWhatBecameOfEachKey) {
  Keys keys{"wrong", "right", "behind"};
  keys.ring.add_for("disk", secret("for disk"));
  keys.ring.add_for("other", secret("right"));
  Budget budget{Limits{}};
  EXPECT_EQ(open_with(keys.ring, &budget).devices.size(), 1U);
  const auto uses = keys.ring.uses();
  ASSERT_EQ(uses.size(), 5U);
  EXPECT_TRUE(uses[0].wanted && uses[0].failed && !uses[0].opened);
  EXPECT_TRUE(uses[1].wanted && !uses[1].failed && uses[1].opened);
  EXPECT_TRUE(uses[2].wanted && !uses[2].failed && !uses[2].opened) << "not tried any more";
  EXPECT_TRUE(uses[3].wanted && uses[3].failed) << "a key for it is tried first";
  EXPECT_FALSE(uses[4].wanted || uses[4].opened) << "the same bytes, for a device that is not here";
  EXPECT_LT(budget.left(Budget::Kind::kdf_milliseconds),
            Budget(Limits{}).left(Budget::Kind::kdf_milliseconds));
}

TEST_F(Run, WithoutTimeLeftNoKeyIsTried) {
  const Keys keys{"right"};
  Budget budget{Limits{}};
  budget.take(Budget::Kind::kdf_milliseconds, UINT64_MAX);
  const Opened opened = open_with(keys.ring, &budget);
  ASSERT_TRUE(opened.trouble);
  EXPECT_EQ(opened.trouble->state, Trouble::locked);
  EXPECT_NE(opened.trouble->reason.find("--kdf-seconds"), std::string::npos);
  EXPECT_EQ(budget.endings().size(), 1U);
  EXPECT_FALSE(keys.ring.uses().front().failed);
  budget.renew(Budget::Kind::kdf_milliseconds);
  EXPECT_EQ(open_with(keys.ring, &budget).devices.size(), 1U);
}

TEST_F(Run, ACancelledRunEndsBehindTheKeyslotThatIsTried) {
  const std::string path = folder_ / "dear";
  must_run("truncate -s 4M " + path + " && cryptsetup luksFormat -q --type luks1 " +
           "--pbkdf-force-iterations 500000 " + path + " " + (folder_ / "key"));
  device_ = file_device(path);
  KeyRing ring;
  constexpr int count = 200;  // a minute or more
  for (int i = 0; i < count; ++i) ring.add_for_all(secret("wrong " + std::to_string(i)));
  Cancel cancel;
  std::chrono::steady_clock::time_point asked;
  Opened opened;
  {
    const std::jthread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      asked = std::chrono::steady_clock::now();
      cancel.request();
    });
    opened = open_with(ring, nullptr, &cancel);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, std::chrono::seconds(5));
  EXPECT_EQ(reason_of(opened), "locked: not all keys were tried: the run was cancelled");
  const auto uses = ring.uses();
  EXPECT_TRUE(uses.back().wanted && !uses.back().failed);
}

// libcryptsetup is used by one thread at a time: a second run must not wait for the first.
TEST_F(Run, ACancelledRunDoesNotWaitForAnotherOne) {
  const luks::CryptsetupLock held;
  const Keys keys{"right"};
  Cancel cancel;
  const std::jthread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancel.request();
  });
  EXPECT_EQ(error_of([&] { (void)open_with(keys.ring, nullptr, &cancel); }),
            "denied: the run was cancelled");
}

TEST_F(Run, WithoutDescriptorsTheHostIsToBlame) {
  const Keys keys{"right"};
  (void)open_with(keys.ring, nullptr);  // what is opened once is open by now
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int lowest = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(lowest, 0);
  ::close(lowest);
  for (int more = 0; more < 4; ++more) {
    rlimit limit = before;
    limit.rlim_cur = static_cast<rlim_t>(lowest) + static_cast<rlim_t>(more);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    std::string state, text;
    try {
      const Opened opened = open_with(keys.ring, nullptr);
      if (opened.trouble) state = state_name(opened.trouble->state);
    } catch (const Error& error) {
      state = fault_name(error.fault());
      text = error.what();
    }
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_NE(state, "damaged") << text;
    if (more == 0) {
      EXPECT_EQ(state, "denied") << text;
    }
  }
}

}  // namespace
}  // namespace peelfs::test

// What this host lacks is never shown as damage of a disk.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "cli/program.h"

namespace peelfs::test {
namespace {

/// All states in a listing.
std::set<std::string> states(const nlohmann::json& node) {
  std::set<std::string> result;
  if (node.is_object() && node.contains("state") && node["state"].is_string()) {
    result.insert(node["state"].get<std::string>());
  }
  if (node.is_structured()) {
    for (const auto& child : node) result.merge(states(child));
  }
  return result;
}

class HostFault : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    SKIP_WITHOUT("qemu-img");
    make_disk(folder_ / "plain");
    make_luks(folder_ / "luks", folder_ / "plain", "pass");
    must_run("cd " + folder_.path() +
             " && printf pass >key && qemu-img convert -c -O qcow2 plain packed.qcow2");
    sources_ = folder_ / "plain" + std::string(" ") + (folder_ / "luks") + " " +
               (folder_ / "packed.qcow2");
  }
  /// Lists the sources after `setup` has been done in the shell. @return the states; {"?"} when
  /// there was no listing
  std::set<std::string> list(const std::string& setup, const std::string& wrapper = "") {
    const CommandResult result =
        run(wrapper + " sh -c '" + setup + "; exec " PEELFS_PROGRAM " ls --json --key-file " +
            (folder_ / "key") + " " + sources_ + " 2>/dev/null'");
    const auto json = nlohmann::json::parse(result.output, nullptr, false);
    if (json.is_discarded()) {
      EXPECT_NE(result.exit_code, 0);
      return {"?"};
    }
    const std::set<std::string> found = states(json);
    // What is not shown for the host's fault is a failure.
    if (found.contains("denied")) {
      EXPECT_NE(result.exit_code, 0);
    }
    return found;
  }
  const TemporaryDirectory folder_;
  std::string sources_;
};

TEST_F(HostFault, Nothing) {
  EXPECT_EQ(list(":"), std::set<std::string>{});
}

TEST_F(HostFault, NoMemory) {
  bool refused = false;
  for (int kibibytes = 16'000; kibibytes < 400'000; kibibytes += kibibytes / 6) {
    const auto found = list("ulimit -v " + std::to_string(kibibytes));
    EXPECT_FALSE(found.contains("damaged")) << kibibytes;
    refused = refused || !found.empty();
  }
  EXPECT_TRUE(refused) << "the limit was never met";
}

TEST_F(HostFault, NoDescriptors) {
  bool refused = false;
  for (int count = 4; count < 24; ++count) {
    const auto found = list("ulimit -n " + std::to_string(count));
    EXPECT_FALSE(found.contains("damaged")) << count;
    refused = refused || found.contains("denied");
  }
  EXPECT_TRUE(refused);
}

TEST_F(HostFault, NoSpaceForFiles) {
  for (const int blocks : {0, 1, 8, 64, 4096}) {
    EXPECT_FALSE(list("ulimit -f " + std::to_string(blocks)).contains("damaged")) << blocks;
  }
}

TEST_F(HostFault, NoRandomNumbers) {
  const std::string wrapper = "unshare -rm";
  if (run(wrapper + " sh -c 'mount -t tmpfs none /dev'").exit_code != 0) {
    GTEST_SKIP() << "no mount namespace to be had";
  }
  const auto found = list("mount -t tmpfs none /dev", wrapper);
  EXPECT_FALSE(found.contains("damaged"));
  EXPECT_TRUE(found.contains("denied"));
}

}  // namespace
}  // namespace peelfs::test

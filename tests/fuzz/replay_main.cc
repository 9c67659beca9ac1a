// Runs a fuzz target on every input that is kept in the tree: the seeds in corpus/NAME and what
// fuzzers found, in crashes/NAME. One GoogleTest test for each file, so that a result names its
// input; files given as arguments are run instead, to look at one crash.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "support/support.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

/// An input that takes longer than this is a way of making peelfs hang.
constexpr unsigned kLongestSeconds = 60;

class Replay : public ::testing::Test {
 public:
  explicit Replay(std::string path) : path_(std::move(path)) {}
  void TestBody() override {
    const peelfs::Buffer bytes = peelfs::test::read_file(path_);
    // A hang ends the program by SIGALRM, which counts as a failure.
    ::alarm(kLongestSeconds);
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    ::alarm(0);
  }

 private:
  std::string path_;
};

std::vector<std::string> files_in(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// A test's name holds letters and digits only.
std::string test_name(const std::string& path) {
  std::string name = fs::path(path).parent_path().parent_path().filename().string() + "_" +
                     fs::path(path).filename().string();
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::vector<std::string> files(argv + 1, argv + argc);
  if (files.empty()) {
    const std::string here = PEELFS_FUZZ_DIR;
    for (const char* kind : {"/corpus/", "/crashes/"}) {
      const auto found = files_in(here + kind + PEELFS_FUZZ_NAME);
      files.insert(files.end(), found.begin(), found.end());
    }
  }
  // Every target must cope with nothing at all; this also keeps a target without seeds from passing
  // unseen.
  ::testing::RegisterTest("replay_" PEELFS_FUZZ_NAME, "has_seeds", nullptr, nullptr, __FILE__,
                          __LINE__, [count = files.size()]() -> ::testing::Test* {
                            class Seeds : public ::testing::Test {
                             public:
                              explicit Seeds(std::size_t n) : n_(n) {}
                              void TestBody() override {
                                LLVMFuzzerTestOneInput(nullptr, 0);
                                EXPECT_GT(n_, 0U) << "no files in corpus/" PEELFS_FUZZ_NAME;
                              }

                             private:
                              std::size_t n_;
                            };
                            return new Seeds(count);
                          });
  for (const std::string& path : files) {
    ::testing::RegisterTest("replay_" PEELFS_FUZZ_NAME, test_name(path).c_str(), nullptr,
                            path.c_str(), __FILE__, __LINE__,
                            [path]() -> ::testing::Test* { return new Replay(path); });
  }
  return RUN_ALL_TESTS();
}

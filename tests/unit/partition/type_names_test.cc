// The names of partition types are those that sfdisk has.
#include "partition/type_names.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <sstream>

#include "support/support.h"

namespace peelfs::test {
namespace {

struct Type {
  std::string id, name;
};

std::vector<Type> sfdisk_types(const std::string& label) {
  std::vector<Type> types;
  std::istringstream lines(must_run("PATH=$PATH:/usr/sbin sfdisk --label " + label + " -T"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    Type type;
    words >> type.id >> std::ws;
    std::getline(words, type.name);
    while (type.name.ends_with(' ')) type.name.pop_back();
    std::ranges::transform(type.id, type.id.begin(),
                           [](unsigned char c) { return std::tolower(c); });
    if (type.id != "id" && !type.name.empty()) types.push_back(type);
  }
  return types;
}

TEST(TypeNames, OfAnMbr) {
  if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  const auto types = sfdisk_types("dos");
  EXPECT_GT(types.size(), 90U);
  for (const Type& type : types) {
    if (type.id == "0") continue;
    EXPECT_EQ(mbr_type_name(static_cast<std::uint8_t>(std::stoul(type.id, nullptr, 16))),
              type.name);
  }
  EXPECT_EQ(mbr_type_name(0), "");
  EXPECT_EQ(mbr_type_name(0xcc), "");
}

TEST(TypeNames, OfAGpt) {
  if (!have_program("sfdisk")) GTEST_SKIP() << "sfdisk is not installed";
  const auto types = sfdisk_types("gpt");
  EXPECT_GT(types.size(), 150U);
  for (const Type& type : types) EXPECT_EQ(gpt_type_name(type.id), type.name) << type.id;
  EXPECT_EQ(gpt_type_name("00000000-0000-0000-0000-000000000001"), "");
  EXPECT_EQ(gpt_type_name(""), "");
}

}  // namespace
}  // namespace peelfs::test

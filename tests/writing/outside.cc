#include "writing/outside.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace peelfs::test {

std::string shell_word(const std::string& text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

std::string Outside::arguments() const {
  const std::string object =
      secret.empty() ? "" : "--object " + shell_word("secret,id=s0,data=" + secret) + " ";
  return object + "--image-opts " + shell_word(options);
}

namespace {

std::string prepared(const Outside& outside) {
  return outside.prepare.empty() ? "" : outside.prepare + " && ";
}

}  // namespace

Buffer Outside::bytes(const std::string& scratch) const {
  must_run(prepared(*this) + "qemu-img convert -O raw " + arguments() + " " + shell_word(scratch));
  return read_file(scratch);
}

Buffer Outside::snapshot(const std::string& tag, const std::string& scratch) const {
  must_run(prepared(*this) + "qemu-img convert -l " + shell_word(tag) + " -O raw " + arguments() +
           " " + shell_word(scratch));
  return read_file(scratch);
}

void Outside::check() const {
  if (checked) must_run(prepared(*this) + "qemu-img check " + arguments());
}

std::vector<MapRun> Outside::map() const {
  std::vector<MapRun> runs;
  const std::string text = must_run(prepared(*this) + "qemu-img map --output=json " + arguments());
  for (const auto& entry : nlohmann::json::parse(text)) {
    runs.push_back({entry["start"], entry["length"], entry["zero"], entry["data"]});
  }
  return runs;
}

void Outside::io(const std::vector<std::string>& commands) const {
  std::string line = "qemu-io -d unmap " + arguments();
  for (const std::string& command : commands) line += " -c " + shell_word(command);
  const std::string output = must_run(line);
  EXPECT_EQ(output.find("failed"), std::string::npos) << line << "\n" << output;
}

}  // namespace peelfs::test

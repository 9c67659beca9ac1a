#include "cli/operands.h"

#include <unistd.h>

#include <utility>

#include "cli/values.h"
#include "peelfs/error.h"

namespace peelfs::cli {

std::string take_last(std::vector<std::string>& operands, std::string_view what) {
  if (operands.empty()) throw usage(std::string(what) + " is missing");
  std::string last = std::move(operands.back());
  operands.pop_back();
  if (last.empty()) throw usage(std::string(what) + " is empty");
  return last;
}

void take_sources(std::vector<std::string>& sources, std::vector<std::string> operands,
                  const std::string& before) {
  if (operands.empty()) {
    throw usage("no SOURCE is named" + (before.empty() ? "" : " before " + before))
        .expected("at least one disk image, block device, or directory of images");
  }
  sources = std::move(operands);
}

void take_sources_and_name(std::vector<std::string>& sources, std::string& name,
                           std::vector<std::string> operands) {
  name = take_last(operands, "NAME, the device to read,");
  if (operands.empty() && ::access(name.c_str(), F_OK) == 0) {
    throw usage("an operand is missing behind '" + printable(name) + "'")
        .found("a file where NAME, the device to read, stands")
        .expected("that file as SOURCE, and what comes behind it");
  }
  take_sources(sources, std::move(operands), "NAME");
}

void take_checkpoint(std::string& name, std::vector<std::string> operands) {
  name = take_last(operands, "NAME, what the checkpoint is called,");
  if (!operands.empty()) {
    throw usage("too many operands")
        .found("'" + printable(operands.front()) + "'")
        .expected("the checkpoint's NAME alone: it is of all overlays in DIR");
  }
}

}  // namespace peelfs::cli

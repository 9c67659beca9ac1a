#include "peelfs/cancel.h"

#include <cerrno>

namespace peelfs {

Error cancelled_error() {
  return Error(Fault::denied, "the run was cancelled").with_errno(ECANCELED);
}

std::string cancelled_reason() {
  return "not all of it was looked into: the run was cancelled";
}

}  // namespace peelfs

#include "cli/named_twice.h"

#include "host/file_identity.h"
#include "host/host_call.h"
#include "peelfs/error.h"

namespace peelfs::cli {

void refuse_twice(const std::vector<SourceSpec>& sources) {
  for (auto one = sources.begin(); one != sources.end(); ++one) {
    const auto identity = [&] {
      const HostCall call(one->path);
      return identity_of(one->path);
    }();
    if (!identity) continue;
    for (auto other = sources.begin(); other != one; ++other) {
      if (identity_of(other->path) != identity) continue;
      throw Error(Fault::usage, one->path + " is the same file as " + other->path)
          .advice("name it once: what is to be written is opened once");
    }
  }
}

}  // namespace peelfs::cli

// Several things to say of one device, as the one Trouble that is shown.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "peelfs/layer.h"

namespace peelfs::lvm {

/// Collects troubles; the worst gives the state, and all reasons are shown, each once. A bound
/// keeps hostile metadata from making long ones.
class Troubles {
 public:
  void add(std::string state, std::string reason);
  void add(const Trouble& trouble) { add(trouble.state, trouble.reason); }
  void add(const Troubles& others);
  /// The same of something that has a substitute: what is worse than "degraded" counts as that.
  void add_degraded(const Troubles& others);
  bool empty() const noexcept { return troubles_.empty(); }
  std::optional<Trouble> summary() const;

 private:
  static constexpr std::size_t kMost = 12;
  std::vector<Trouble> troubles_;
  std::size_t more_ = 0;
};

}  // namespace peelfs::lvm

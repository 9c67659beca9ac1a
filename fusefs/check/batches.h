// Which units are mounted by one process, and what that process is told.
#pragma once

#include <vector>

#include "check/fleet_plan.h"
#include "check/unit_host.h"

namespace peelfs::check {

/// Units that are mounted by one process: a mount costs as much as a small check.
using Batch = std::vector<const Unit*>;

/// Large units, and those with an overlay, are alone; the others are put together, as far as that
/// leaves work for all that run at once. @param plan must outlive what is returned
std::vector<Batch> make_batches(const Plan& plan, unsigned at_once);

/// The units of a batch as one.
Unit all_of(const Batch& batch);

/// @param request by which the sources of the plan were opened
HostOrder host_order(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                     const Unit& unit, bool background);

}  // namespace peelfs::check

// What the process that mounts the sources of a job is told.
#pragma once

#include "check/job.h"
#include "check/unit_host.h"

namespace peelfs::check {

/// How the sources of a unit are named when they are opened by themselves.
std::vector<SourceSpec> specs_of(const Peeling& peeling, const PeelRequest& request,
                                 const Unit& unit);

/// What is opened for a unit by itself; only read, and no guest may begin to write it.
/// @param request by which the sources of the plan were opened
PeelRequest request_for(const Peeling& peeling, const PeelRequest& request, const Unit& unit);

/// @param request by which the sources of the plan were opened
/// @param unit all_of(job)
HostOrder host_order(const Peeling& peeling, const PeelRequest& request, const Plan& plan,
                     const Job& job, const Unit& unit, bool background);

}  // namespace peelfs::check

// Namespaces for a process, and the privileges that it has in them.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

namespace peelfs::world {

enum class Users {
  same,  ///< a user namespace in which every user is who they were: no privilege outside of it
  of_the_host  ///< none: the privileges of this process, which must be root's
};

/// Starts `body` as the first process of new mount and process namespaces. To be called by a
/// process with one thread and without secrets.
/// @param why what stands in the way, when there is no such process
/// @return its id; -1: see `why`
pid_t start_in_namespaces(Users users, const std::function<void()>& body, std::string& why);

/// Takes from this process, and from all that it will ever run, what could undo a world: mounting,
/// device nodes, looking into other processes, opening files by their number, the kernel's own
/// memory. What root needs to work with files stays.
/// @throws Error
void drop_privileges();

}  // namespace peelfs::world

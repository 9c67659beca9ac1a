// Texts through a pipe, between `try` and the process that becomes its command.
#pragma once

#include <string>
#include <vector>

namespace peelfs::jobs {

/// @throws Error
void send_list(int fd, const std::vector<std::string>& list);
/// @return false at the end: the sender has gone
bool receive_list(int fd, std::vector<std::string>& list);
/// Everything until all writers have closed their end.
std::string read_to_end(int fd);

}  // namespace peelfs::jobs

// `peelfs cat`: the bytes of one device on standard output.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <optional>

#include "cli/command.h"
#include "cli/session.h"
#include "cli/text.h"
#include "cli/unmet.h"
#include "host/output_file.h"
#include "peelfs/error.h"
#include "peelfs/io.h"

namespace peelfs::cli {
namespace {

constexpr std::size_t kChunk = 4U << 20;

void write_out(Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EPIPE) reader_is_gone();
    if (put < 0) throw Error::system(errno, "cannot write to standard output");
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

/// A chunk failed: what can be read of it up to the first bad sector is still delivered.
/// @return where reading ends; `why` says so
std::uint64_t write_good_part(const BlockDevice& device, std::uint64_t offset, MutableBytes chunk,
                              std::optional<Error>& why) {
  const std::uint64_t end = offset + chunk.size();
  while (offset < end) {
    const std::uint64_t sector_end = std::min(end, round_down(offset, 512) + 512);
    const MutableBytes sector = chunk.first(sector_end - offset);
    try {
      read(device, offset, sector);
    } catch (const Error& error) {
      why = error;
      return offset;
    }
    write_out(sector);
    offset = sector_end;
  }
  return offset;
}

int write_device(const Command& command, const Catalog::Entry& entry) {
  const BlockDevice& device = *entry.node->device;
  std::uint64_t offset = command.offset;
  const std::uint64_t end = offset + std::min(command.length, device.size() - offset);
  Buffer buffer(std::min<std::uint64_t>(kChunk, std::max<std::uint64_t>(end - offset, 1)));
  while (offset < end) {
    // Chunks end on multiples of their size, so that layers are asked for whole clusters.
    const std::uint64_t stop = std::min(end, round_down(offset, kChunk) + kChunk);
    const MutableBytes chunk =
        MutableBytes(buffer).first(std::min<std::uint64_t>(stop - offset, buffer.size()));
    try {
      read(device, offset, chunk);
    } catch (const Error&) {
      std::optional<Error> why;
      const std::uint64_t reached = write_good_part(device, offset, chunk, why);
      if (!why) {  // it went well the second time
        offset = reached;
        continue;
      }
      warn(entry.name + " cannot be read at byte " + std::to_string(reached) +
           ", so its output ends there: " + why->what());
      if (!command.quiet) warn("'peelfs export' goes on behind such places");
      return exit_code::incomplete;
    }
    write_out(chunk);
    offset += chunk.size();
  }
  return exit_code::ok;
}

}  // namespace

int run_cat(const Command& command) {
  if (::isatty(STDOUT_FILENO) != 0 && !command.force) {
    throw Error(Fault::usage, "standard output is a terminal, and a device is not text")
        .advice("send it into a file or a pipe, or insist with --force");
  }
  const auto peeling = open_session(command);
  report_warnings(command, *peeling);
  const auto catalog = peeling->catalog();
  const Catalog::Entry entry = find_device(*peeling, *catalog, command.name);
  const BlockDevice& device = *entry.node->device;
  refuse_as_output(STDOUT_FILENO, "standard output");  // ">>disk.img"
  if (command.offset > device.size()) {
    throw Error(Fault::usage, "--offset lies behind the end of " + entry.name)
        .found(std::to_string(command.offset))
        .expected("at most " + std::to_string(device.size()));
  }
  try {
    return code_for(*peeling, write_device(command, entry));
  } catch (const Error& error) {  // of the output; those of the device are told where they are met
    warn(error.what());
    return exit_code::incomplete;
  }
}

}  // namespace peelfs::cli

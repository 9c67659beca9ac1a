#include "overlay/commit_refusals.h"

#include <algorithm>
#include <cerrno>
#include <optional>

#include "overlay/disks.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"
#include "qcow2/grow.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {

namespace {

std::string bytes_text(std::uint64_t bytes) {
  return std::to_string(bytes) + " bytes";
}

/// Why a source cannot be made as large as its overlay; nullopt: it can, or is.
std::optional<Error> cannot_grow(const Source& source, const OpenedOverlay& overlay) {
  const std::uint64_t size = overlay.device->size();
  if (overlay.base.disk->size() >= size) return std::nullopt;
  std::optional<Error> problem;
  if (overlay.base.unpacked()) {
    problem = qcow2::cannot_grow(*make_storage_device(source.file), size);
  } else if (source.file->is_block_device()) {
    problem = Error(Fault::unsupported, "a block device is made larger by other tools than peelfs")
                  .advice("lvextend, for one");
  }
  if (!problem) return std::nullopt;
  return Error(problem->fault(), source.path + " cannot be made larger")
      .found(problem->what())
      .advice("make it " + bytes_text(size) +
              " long yourself and commit with --grow --accept-source; or copy the whole disk: " +
              shell_line({"qemu-img", "convert", "-f", "qcow2", "-O", overlay.base.format,
                          overlay.path, "NEW-IMAGE"}))
      .with_errno(EOPNOTSUPP);
}

}  // namespace

SourceSpec to_be_written(const Source& source) {
  SourceSpec spec;
  spec.path = source.path;
  spec.raw = source.raw;
  spec.as = source.as;
  spec.writable = true;
  spec.from_directory = source.from_directory;
  return spec;
}

OpenedSources open_to_write(const std::vector<SourceSpec>& specs, const CommitRequest& request) {
  OpenedSources opened = open_disks(specs, request.allow_references);
  if (opened.failures.empty()) return opened;
  const Error& error = opened.failures.front().error;
  const int number = error.error_number();
  if (number != EACCES && number != EPERM && number != EROFS) throw Error(error);
  // The error's own advice is for reading a source, and does not help here.
  throw Error(error).advice("nothing is written; commit it as a user who may write the source");
}

void refuse_unwritable(const CommitRequest& request) {
  std::vector<SourceSpec> specs;
  {
    const OpenedSources looked = open_disks(request.sources, request.allow_references);
    if (!looked.failures.empty()) throw Error(looked.failures.front().error);
    for (const Source& source : looked.sources) specs.push_back(to_be_written(source));
    for (const Source& part : looked.parts) specs.push_back(to_be_written(part));
  }
  const OpenedSources opened = open_to_write(specs, request);
  for (const Source& source : opened.sources) open_base(source);
}

void refuse_part(const CommitRequest& request, const std::vector<Chosen>& chosen, bool begun) {
  std::vector<std::string> paths;
  std::vector<std::string> arguments;
  for (const Chosen& one : chosen) {
    paths.push_back(one.path);
    arguments.push_back(one.argument);
  }
  const std::vector<LeftOut> torn = torn_off(request.directory, paths, begun);
  if (torn.empty()) return;
  throw Error(Fault::denied, "only a part of what was written together would be committed")
      .found(describe(torn) + " left out")
      .advice(how_to_complete(torn, commit_command(paths, with_left_out(arguments, torn))));
}

void refuse_resized(const CommitRequest& request, const Source& source,
                    const OpenedOverlay& overlay) {
  const std::uint64_t size = overlay.device->size();
  if (overlay.shrunk()) {
    throw Error(Fault::denied, "overlay " + overlay.path + " was made smaller than its source")
        .found("a disk of " + bytes_text(size) + " over one of " + bytes_text(overlay.covered) +
               ", which would keep its size and what lies behind")
        .advice("make it as large as it was, with zeroes there, and commit then: " +
                shell_line({"qemu-img", "resize", "-f", "qcow2", overlay.path,
                            std::to_string(round_up(overlay.covered, 512))}))
        .with_errno(EINVAL);
  }
  if (!overlay.grown()) return;
  auto problem = cannot_grow(source, overlay);
  if (!request.grow) {
    Error error =
        Error(Fault::denied, "overlay " + overlay.path + " was made larger than its source")
            .found("a disk of " + bytes_text(size) + " over one of " + bytes_text(overlay.covered) +
                   ": what is behind its end would be lost");
    throw std::move(error)
        .advice(problem ? problem->what()
                        : "make the source as large, and commit then: " +
                              commit_command({overlay.path}, {"--grow", source_argument(source)}))
        .with_errno(EFBIG);
  }
  if (problem) throw Error(*std::move(problem));
}

void refuse_snapshots(const CommitRequest& request, const Source& source,
                      const OpenedOverlay& overlay) {
  constexpr std::size_t kMostNamed = 5;
  if (request.drop_snapshots) return;
  const std::vector<qcow2::SnapshotInfo> all = qcow2::list_snapshots(*overlay.image);
  if (all.empty()) return;
  std::string names;
  for (std::size_t i = 0; i < std::min(all.size(), kMostNamed); ++i) {
    const qcow2::SnapshotInfo& one = all[i];
    names += (i == 0 ? "'" : ", '") + printable(one.name.empty() ? one.id : one.name) + "'";
    if (one.vm_state_size != 0) {
      names += " with " + bytes_text(one.vm_state_size) + " of a running machine's state";
    }
  }
  if (all.size() > kMostNamed) names += " and " + std::to_string(all.size() - kMostNamed) + " more";
  throw Error(Fault::denied, "overlay " + overlay.path +
                                 " holds internal snapshots (checkpoints), which would be lost")
      .found(names)
      .advice("copy what is worth keeping: " +
              shell_line({"qemu-img", "convert", "-f", "qcow2", "-l", "snapshot.name=NAME", "-O",
                          "qcow2", overlay.path, "NEW-IMAGE"}) +
              "; and commit the present state alone: " +
              commit_command({overlay.path}, {"--drop-snapshots", source_argument(source)}))
      .with_errno(EEXIST);
}

}  // namespace peelfs::overlay

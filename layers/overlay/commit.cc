#include "overlay/commit.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "host/extend.h"
#include "host/folder.h"
#include "host/open_files.h"
#include "overlay/commit_refusals.h"
#include "overlay/cover.h"
#include "overlay/disks.h"
#include "overlay/own_file.h"
#include "overlay/set.h"
#include "peelfs/error.h"
#include "peelfs/io.h"
#include "qcow2/grow.h"
#include "qcow2/overlay.h"

namespace peelfs::overlay {

namespace {

constexpr std::uint64_t kChunk = 1U << 20U;

/// One source, its overlay, and what is to be brought over. Both are open with their locks.
struct Job {
  Source source;
  OpenedOverlay overlay;
  Committed report;
  std::uint64_t empty = 0;  ///< bytes that the overlay does not hold behind the source's old end
  std::uint64_t total() const { return report.data + report.zeroes + empty; }
};

/// What the commit puts at a place of the source.
enum class Part : std::uint8_t {
  data,
  zero,
  empty,  ///< zero, too: behind the old end of the source, and never written
};

/// Calls `act` for every run that is to be brought over, in pieces that fit into memory when they
/// are data.
template <typename Act>
void each_run(const OpenedOverlay& overlay, const Act& act) {
  const std::uint64_t size = overlay.device->size();
  for (std::uint64_t at = 0; at < size;) {
    // A run never goes over the source's old end.
    const std::uint64_t end = at < overlay.covered ? std::min(size, overlay.covered) : size;
    const qcow2::OverlayRun run = qcow2::overlay_status(*overlay.disk, at, end - at);
    std::uint64_t length = run.length;
    switch (run.status) {
      case qcow2::OverlayStatus::data:
        length = std::min(length, kChunk);
        act(at, length, Part::data);
        break;
      case qcow2::OverlayStatus::zero:
        act(at, length, Part::zero);
        break;
      case qcow2::OverlayStatus::unchanged:
        if (at >= overlay.covered) act(at, length, Part::empty);
        break;
    }
    at += length;
  }
}

void count(Job& job) {
  each_run(job.overlay, [&](std::uint64_t, std::uint64_t length, Part part) {
    (part == Part::data   ? job.report.data
     : part == Part::zero ? job.report.zeroes
                          : job.empty) += length;
  });
}

/// @return 0 also where they cannot be told: what is damaged is dropped all the same
std::size_t count_snapshots(const BlockDevice& image) {
  try {
    return qcow2::list_snapshots(image).size();
  } catch (const Error&) {
    return 0;
  }
}

class Reporter {
 public:
  Reporter(const CommitRequest& request, std::string what, std::uint64_t total)
      : request_(request), what_(std::move(what)), total_(total) {}
  void add(std::uint64_t bytes) {
    done_ += bytes;
    if (request_.progress) request_.progress(what_, done_, total_);
  }

 private:
  const CommitRequest& request_;
  const std::string what_;
  const std::uint64_t total_;
  std::uint64_t done_ = 0;
};

/// Where nothing is stored nothing has to be taken away.
bool is_hole(const BlockDevice& target, std::uint64_t offset, std::uint64_t length) {
  while (length != 0) {
    const Run run = block_status(target, offset, length);
    if (run.data) return false;
    offset += run.length;
    length -= run.length;
  }
  return true;
}

void make_zero(const BlockDevice& target, std::uint64_t offset, std::uint64_t length) {
  if (is_hole(target, offset, length)) return;
  try {
    zero(target, offset, length, WriteKind::zeroes);
    return;
  } catch (const Error& error) {
    if (error.error_number() != EOPNOTSUPP) throw;
  }
  const Buffer zeroes(std::min(length, kChunk));
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t part = std::min(length - done, kChunk);
    write(target, offset + done, Bytes(zeroes).first(part));
    done += part;
  }
}

void copy(const Job& job, const CommitRequest& request) {
  const BlockDevice& target = *job.overlay.base.disk;
  Reporter reporter(request, "writing " + printable(job.source.path), job.total());
  Buffer buffer;
  each_run(job.overlay, [&](std::uint64_t offset, std::uint64_t length, Part part) {
    if (part == Part::data) {
      buffer.resize(length);
      read(*job.overlay.disk, offset, buffer);
      write(target, offset, buffer);
    } else {
      make_zero(target, offset, length);
    }
    reporter.add(length);
  });
  target.flush();
  job.source.file->flush();
}

Error not_as_written(const Job& job, std::uint64_t offset) {
  return Error(Fault::io, job.source.path + " does not hold what was written to it")
      .found("other bytes at offset " + std::to_string(offset) + " of its disk")
      .advice("the overlay " + job.overlay.path +
              " is kept: look into the host's kernel log, then commit again");
}

/// The source through descriptors and tables of its own: a view that knows nothing of the writing.
/// It takes no locks, here and on files that the source names: those of the writer keep others out,
/// and would keep it out, too.
Base view_for_reading(const Job& job) {
  Source again = job.source;
  again.file = open_again(*job.source.file);
  again.references = references_for_reading(job.source);
  return open_base(again);
}

/// Reads back what was written, from the disk and not from the host's memory.
void verify(const Job& job, const CommitRequest& request) {
  for_each_open_file([](const HostFile& file) {
    if (file.writable()) ::posix_fadvise(file.descriptor(), 0, 0, POSIX_FADV_DONTNEED);
  });
  const Base written = view_for_reading(job);
  if (written.disk->size() < job.overlay.device->size()) {
    throw not_as_written(job, written.disk->size());
  }
  Reporter reporter(request, "verifying " + printable(job.source.path), job.total());
  Buffer wanted, found;
  each_run(job.overlay, [&](std::uint64_t offset, std::uint64_t length, Part kind) {
    const bool data = kind == Part::data;
    for (std::uint64_t done = 0; done < length;) {
      const std::uint64_t at = offset + done;
      const Run run = block_status(*written.disk, at, length - done);
      const std::uint64_t part = run.data || data ? std::min(length - done, kChunk) : run.length;
      if (run.data || data) {
        wanted.assign(part, std::byte{0});
        if (data) read(*job.overlay.disk, at, wanted);
        found.resize(part);
        read(*written.disk, at, found);
        if (found != wanted) throw not_as_written(job, at);
      }
      done += part;
      reporter.add(part);
    }
  });
}

/// @param bare takes the sources that have no overlay
std::vector<Job> open_jobs(const CommitRequest& request, std::vector<std::string>& bare) {
  // Opened read-only first: whether there is anything to commit is no reason to write-lock a
  // source.
  std::vector<SourceSpec> specs = request.sources;
  OpenedSources looked = open_disks(specs, request.allow_references);
  if (!looked.failures.empty()) throw Error(looked.failures.front().error);
  const std::vector<std::string> paths = overlay_paths(looked.sources, request.directory);
  require_own(request.directory, paths, request.accept_shared);
  std::vector<SourceSpec> wanted;
  std::vector<Chosen> chosen;
  std::vector<std::pair<const Source*, OpenedOverlay>> all_seen;
  bool begun = false;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (!overlay_exists(paths[i])) {
      bare.push_back(looked.sources[i].path);
      continue;
    }
    SourceSpec spec = to_be_written(looked.sources[i]);
    spec.name = looked.sources[i].stem;
    // Its fingerprint is looked at before the source is opened for writing.
    OpenedOverlay seen = open_overlay(paths[i], looked.sources[i], open_base(looked.sources[i]),
                                      Mode::commit, request.accept_source, request.grow);
    wanted.push_back(std::move(spec));
    chosen.push_back({paths[i], source_argument(looked.sources[i])});
    begun = begun || seen.committing;
    all_seen.emplace_back(&looked.sources[i], std::move(seen));
  }
  if (wanted.empty()) {
    throw Error(Fault::missing, "no overlay of these sources is in " + request.directory)
        .expected(paths.empty() ? "DIR/NAME.qcow2" : paths.front())
        .advice("name the sources as they were named when it was made");
  }
  std::vector<Source> written;
  for (const auto& [source, overlay] : all_seen) written.push_back(*source);
  refuse_common_bytes(written,
                      "commit one of them alone, and drop the overlay of the other one (peelfs "
                      "drop): each holds changes of what was there without the other's");
  written.clear();
  // The person named these parts on the command line, so they may be written: they are opened, too.
  for (const Source& part : looked.parts) wanted.push_back(to_be_written(part));
  if (!request.accept_part) refuse_part(request, chosen, begun);
  for (const auto& [source, overlay] : all_seen) {
    refuse_resized(request, *source, overlay);
    refuse_snapshots(request, *source, overlay);
  }
  all_seen.clear();
  looked = {};

  OpenedSources opened = open_to_write(wanted, request);
  std::vector<Job> jobs;
  for (Source& source : opened.sources) {
    Job job;
    job.source = std::move(source);
    const std::string path = overlay_path(request.directory, job.source);
    job.overlay = open_overlay(path, job.source, open_base(job.source), Mode::commit,
                               request.accept_source, request.grow);
    refuse_resized(request, job.source, job.overlay);
    refuse_snapshots(request, job.source, job.overlay);
    job.report.snapshots = count_snapshots(*job.overlay.image);
    job.report.source = job.source.path;
    job.report.overlay = path;
    job.report.resumed = job.overlay.committing;
    count(job);
    jobs.push_back(std::move(job));
  }
  return jobs;
}

/// Whether any overlay says that its source is neither old nor new.
bool is_begun(const std::vector<Job>& jobs) {
  return std::any_of(jobs.begin(), jobs.end(), [](const Job& job) {
    try {
      return is_committing(*job.overlay.image);
    } catch (const Error&) {
      return true;  // it may be
    }
  });
}

Error unfinished(const Error& error, const std::vector<Job>& jobs, const CommitRequest& request) {
  std::vector<std::string> paths;
  std::vector<std::string> sources;
  for (const std::string& path : request.allow_references) {
    sources.insert(sources.end(), {"--allow-reference", path});
  }
  for (const Job& job : jobs) {
    paths.push_back(job.overlay.path);
    const std::vector<std::string> words = commit_words(job.source, job.overlay.base);
    sources.insert(sources.end(), words.begin(), words.end());
  }
  const bool full = error.error_number() == ENOSPC || error.error_number() == EDQUOT;
  return Error(error.fault(),
               "the commit is half done, so that its sources are neither old nor new")
      .found(error.what())
      .advice(std::string(full ? "make room there, then finish it: " : "finish it: ") +
              finish_command(paths, sources))
      .with_errno(error.error_number());
}

/// Makes the source as large as its overlay, durably, and opens it anew with the locks that it has.
void grow(Job& job) {
  const std::uint64_t size = job.overlay.device->size();
  if (job.overlay.base.disk->size() >= size) return;
  job.report.grown = size - job.overlay.base.disk->size();
  if (job.overlay.base.unpacked()) {
    // grow_image() needs an image that nothing else has open, so the overlay and the source's disk
    // are closed first.
    job.overlay.device.reset();
    job.overlay.disk.reset();
    job.overlay.base.disk.reset();
    qcow2::grow_image(make_storage_device(job.source.file), size);
    job.source.file = with_present_size(*job.source.file);
  } else {
    job.source.file = extend(*job.source.file, size);
  }
  set_base(job.overlay, job.source, open_base(job.source));
}

void announce(const std::vector<Job>& jobs, const CommitRequest& request) {
  if (!request.announce) return;
  std::vector<Announcement> all;
  for (const Job& job : jobs) {
    all.push_back({job.source.path, job.overlay.path, job.report.data, job.report.zeroes,
                   job.overlay.base.parts});
  }
  request.announce(all);
}

std::vector<Committed> carry_out(std::vector<Job>& jobs, const CommitRequest& request) {
  announce(jobs, request);
  // The progress callback may throw here to stop the commit: nothing is written yet.
  Reporter(request, "writing " + printable(jobs.front().source.path), jobs.front().total()).add(0);
  // Opens the views for verifying before any source is changed: if one cannot be opened, nothing is
  // written.
  for (const Job& job : jobs) view_for_reading(job);
  refuse_writing_what_is_in_use();
  std::vector<std::string> paths;
  paths.reserve(jobs.size());
  for (const Job& job : jobs) paths.push_back(job.overlay.path);
  part(request.directory, paths);  // a later commit of the others does not ask for these
  for (const Job& job : jobs) mark_committing(job.overlay);
  for (Job& job : jobs) grow(job);
  for (const Job& job : jobs) copy(job, request);
  for (const Job& job : jobs) verify(job, request);
  std::vector<Committed> result;
  for (const Job& job : jobs) {
    remove_file(job.overlay.path);
    result.push_back(job.report);
  }
  return result;
}

}  // namespace

std::vector<Committed> commit(const CommitRequest& request) {
  std::vector<std::string> bare;
  std::vector<Job> jobs = open_jobs(request, bare);
  try {
    std::vector<Committed> result = carry_out(jobs, request);
    for (const std::string& source : bare) {
      Committed none;
      none.source = source;
      result.push_back(std::move(none));
    }
    return result;
  } catch (const Error& error) {
    if (!is_begun(jobs)) {
      if (error.error_number() != EINTR) throw;
      throw Error(error).advice("nothing is written: sources and overlays are as they were");
    }
    throw unfinished(error, jobs, request);
  }
}

}  // namespace peelfs::overlay

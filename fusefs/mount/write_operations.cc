// The operations that change a device. Each failure is logged before it is answered: the program
// that gets the answer may close the file, and then the handle is gone.
#include <linux/falloc.h>
#include <sys/stat.h>

#include <optional>

#include "mount/edge.h"

namespace peelfs {
namespace {

constexpr unsigned kDiscardMode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

/// @return null, and answered, when the handle is not for writing
Writing* writing_of(fuse_req_t req, const OpenHandle& open) {
  Writing* const writing = server_of(req).writing();
  if (writing != nullptr && open.device && open.writing.writes) return writing;
  fuse_reply_err(req, writing == nullptr ? EROFS : EBADF);
  return nullptr;
}

/// A change of a device between before_write() and after_write().
/// @param clears drop the kernel's pages of the device if the change fails: the kernel would go on
///   to take them for true
/// @param reply the answer when it has succeeded
template <typename Change, typename Reply>
void change(fuse_req_t req, OpenHandle& open, std::string_view what, std::uint64_t offset,
            std::uint64_t length, bool clears, const Change& body, const Reply& reply) {
  Writing* const writing = writing_of(req, open);
  if (writing == nullptr) return;
  Failure failed;
  bool begun = false;
  const int failure = guarded(
      [&] {
        writing->before_write(*open.device, open.writing);
        begun = true;
        body();
      },
      &failed);
  if (failure != 0) {
    open.device->log_failure(failed.level, what, offset, length, failed.why.c_str());
  }
  const auto answer = [req, failure, reply](bool done) {
    if (failure != 0 || !done) {
      fuse_reply_err(req, failure != 0 ? failure : EIO);
    } else {
      reply(req);
    }
  };
  // A change that has failed may have changed some of the bytes.
  if (!begun) {
    answer(true);
  } else if (guarded([&] { writing->after_write(open.writing, clears && failure != 0, answer); }) !=
             0) {
    fuse_reply_err(req, ENOMEM);
  }
}

/// @param rest bytes from `offset` on that were not written
Error no_room_for_all(const DeviceFile& device, std::uint64_t offset, std::uint64_t rest) {
  const bool at_end = offset >= device.size();
  return Error(at_end ? Fault::usage : Fault::io,
               at_end ? "the device ends within what was written"
                      : "there is no space left for a part of what was written")
      .found(std::to_string(rest) + " bytes too many")
      .with_errno(ENOSPC);
}

void write_device(fuse_req_t req, OpenHandle& open, std::uint64_t at, Bytes data, bool direct) {
  const std::size_t size = data.size();
  // The kernel takes a short answer for what it is: the rest is asked for again, and refused then.
  const auto written = std::make_shared<std::size_t>(0);
  change(
      req, open, "write", at, size, false,
      [&] {
        *written = open.device->write(at, data);
        if (*written < size && direct) {
          // Of a short direct write the kernel makes EIO.
          throw no_room_for_all(*open.device, at + *written, size - *written);
        }
      },
      [written](fuse_req_t answered) { fuse_reply_write(answered, *written); });
}

/// The handle stays open: the kernel keeps it until this request is answered.
struct WriteRequest {
  fuse_req_t req;
  OpenHandle* open;
  std::uint64_t at;
  Bytes data;
  bool direct;
  std::shared_ptr<Buffer> kept = nullptr;

  void keep() {
    kept = std::make_shared<Buffer>(data.begin(), data.end());
    data = *kept;
  }
  void operator()() const { write_device(req, *open, at, data, direct); }
};

void op_write(fuse_req_t req, fuse_ino_t, const char* data, size_t size, off_t offset,
              fuse_file_info* info) {
  OpenHandle& open = handle(info);
  if (writing_of(req, open) == nullptr) return;
  in_lane(req, *open.device,
          WriteRequest{req,
                       &open,
                       static_cast<std::uint64_t>(offset),
                       {reinterpret_cast<const std::byte*>(data), size},
                       (info->flags & O_DIRECT) != 0},
          [](WriteRequest& request) { request.keep(); });
}

void op_fallocate(fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length,
                  fuse_file_info* info) {
  OpenHandle& open = handle(info);
  const auto bits = static_cast<unsigned>(mode);
  const bool zeroes = (bits & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
  if (bits != kDiscardMode && !zeroes) {
    fuse_reply_err(req, EOPNOTSUPP);
    return;
  }
  const auto at = static_cast<std::uint64_t>(offset);
  const auto wanted = static_cast<std::uint64_t>(length);
  if (zeroes && (bits & FALLOC_FL_KEEP_SIZE) == 0 && open.device &&
      (at > open.device->size() || wanted > open.device->size() - at)) {
    fuse_reply_err(req, EFBIG);
    return;
  }
  if (writing_of(req, open) == nullptr) return;
  in_lane(req, *open.device, [req, &open, zeroes, at, wanted] {
    change(
        req, open, zeroes ? "zeroing" : "discard", at, wanted, true,
        [&] { open.device->zero(at, wanted, zeroes ? WriteKind::zeroes : WriteKind::discard); },
        [](fuse_req_t answered) { fuse_reply_err(answered, 0); });
  });
}

/// @return 0 or an errno, which has been logged
int flush_device(fuse_req_t req, const OpenHandle& open) {
  Failure failed;
  const int failure = guarded([&] { server_of(req).writing()->flush(open.device); }, &failed);
  if (failure != 0) {
    open.device->log_failure(failed.level, "flush", 0, open.device->size(), failed.why.c_str());
  }
  return failure;
}

void op_fsync(fuse_req_t req, fuse_ino_t, int, fuse_file_info* info) {
  OpenHandle& open = handle(info);
  // As everywhere on Linux, a program that may read a file may also make it durable: sync(1) does.
  if (!open.device || server_of(req).writing() == nullptr) {
    fuse_reply_err(req, 0);
    return;
  }
  in_lane(req, *open.device, [req, &open] {
    const int failure = flush_device(req, open);
    if (open.writing.writes) guarded([&] { server_of(req).writing()->synced(open.writing); });
    fuse_reply_err(req, failure);
  });
}

void op_flush(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  OpenHandle& open = handle(info);
  if (!open.device || !open.writing.writes) {
    fuse_reply_err(req, 0);
    return;
  }
  in_lane(req, *open.device, [req, &open] {
    const int failure = flush_device(req, open);
    const auto answer = [req, failure] { fuse_reply_err(req, failure); };
    if (guarded([&] { server_of(req).writing()->closing(open.writing, answer); }) != 0) {
      fuse_reply_err(req, ENOMEM);
    }
  });
}

/// The size of a device cannot be changed. A size that is not larger is accepted without effect,
/// because tools that set one (to truncate a file) must go on.
void check_size(const Inode& inode, off_t size) {
  if (static_cast<std::uint64_t>(size) <= inode.device->size()) return;
  throw Error(Fault::usage, inode.device->name() + " cannot grow")
      .found("a size of " + std::to_string(size))
      .expected("at most " + std::to_string(inode.device->size()))
      .with_errno(EFBIG);
}

void op_setattr(fuse_req_t req, fuse_ino_t number, struct stat* wanted, int changes,
                fuse_file_info*) {
  Failure failed;
  const int failure = guarded(
      [&] {
        const FuseServer& server = server_of(req);
        const auto view = server.view();
        const Inode& inode = inode_at(*view, number);
        if (server.writing() == nullptr || (inode.device && !inode.read_only.empty())) {
          throw Error(Fault::denied, "this file is read-only")
              .found(inode.read_only)
              .with_errno(EROFS);
        }
        const Inode::Status status = inode.status();
        const struct stat& is = status.attributes;
        const bool mode = (changes & FUSE_SET_ATTR_MODE) != 0 &&
                          (wanted->st_mode & 07777U) != (is.st_mode & 07777U);
        const bool owner = ((changes & FUSE_SET_ATTR_UID) != 0 && wanted->st_uid != is.st_uid) ||
                           ((changes & FUSE_SET_ATTR_GID) != 0 && wanted->st_gid != is.st_gid);
        if (!inode.device || mode || owner) {
          throw Error(Fault::denied, "modes and owners of a mount cannot be changed")
              .with_errno(EPERM);
        }
        if ((changes & FUSE_SET_ATTR_SIZE) != 0) check_size(inode, wanted->st_size);
        // Times are those of the last write; setting them succeeds, but has no effect.
        fuse_reply_attr(req, &is, server.keep_attributes(inode, status));
      },
      &failed);
  if (failure != 0) {
    log_message(LogLevel::debug, failed.why);
    fuse_reply_err(req, failure);
  }
}

}  // namespace

void open_device(fuse_req_t req, const DeviceFile& device, fuse_ino_t number,
                 const fuse_file_info& info) {
  Writing& writing = *server_of(req).writing();
  const bool writes = (info.flags & O_ACCMODE) != O_RDONLY || (info.flags & O_TRUNC) != 0;
  const Writing::Open wanted{number, writes, fuse_req_ctx(req)->pid};
  const auto attempt = [req, wanted, info, &writing](bool last) {
    Failure failed;
    bool waits = false;
    const int failure = guarded(
        [&] {
          auto opened = writing.open(wanted, last);
          waits = !opened;
          if (waits) return;
          fuse_file_info answer = info;
          answer.direct_io = opened->direct ? 1 : 0;
          answer.keep_cache = opened->keep_cache ? 1 : 0;
          answer.noflush = wanted.writes ? 0 : 1;
          reply_opened(req, &answer,
                       {std::move(opened->file), nullptr, nullptr, opened->state, nullptr});
        },
        &failed);
    if (failure != 0) {
      log_message(failure == ESTALE ? LogLevel::debug : LogLevel::warning, failed.why);
      fuse_reply_err(req, failure);
    }
    return !waits;
  };
  in_lane(req, device, [req, &writing, attempt] {
    if (!attempt(false) && !writing.wait(attempt)) fuse_reply_err(req, EINTR);
  });
}

void add_write_operations(fuse_lowlevel_ops& table) {
  table.write = op_write;
  table.fallocate = op_fallocate;
  table.fsync = op_fsync;
  table.flush = op_flush;
  table.setattr = op_setattr;
}

}  // namespace peelfs

#include "mount/operations.h"

#include <linux/fs.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "mount/edge.h"
#include "mount/preflight.h"
#include "peelfs/error.h"

namespace peelfs {
namespace {

void op_release(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  OpenHandle* const open = &handle(info);
  const auto close = [req, open] {
    server_of(req).close(open);
    fuse_reply_err(req, 0);
  };
  if (open->device && open->writing.writes) {
    in_lane(req, *open->device, close);  // flushes what was written first
  } else {
    close();
  }
}

const Directory& directory_at(const InodeView& view, fuse_ino_t number) {
  const Inode& inode = inode_at(view, number);
  if (!inode.directory) {
    throw Error(Fault::usage, "not a directory").with_errno(ENOTDIR);
  }
  return *inode.directory;
}

fuse_entry_param entry_for(const FuseServer& server, const Inode& inode) {
  fuse_entry_param entry{};
  const Inode::Status status = inode.status();
  entry.ino = inode.attributes.st_ino;
  entry.attr = status.attributes;
  entry.attr_timeout = server.keep_attributes(inode, status);
  entry.entry_timeout = FuseServer::kKeepSeconds;
  return entry;
}

void op_init(void* userdata, fuse_conn_info* conn) {
  auto& server = *static_cast<FuseServer*>(userdata);
  conn->max_read = static_cast<unsigned>(server.max_read());
  conn->max_write = static_cast<unsigned>(kMaxWriteSize);
  conn->max_readahead = std::max(conn->max_readahead, static_cast<unsigned>(server.max_read()));
  // Read-ahead and asynchronous direct reads count as background requests. The kernel sends at most
  // this many at once for the whole mount, so the number must be high enough that requests that
  // hang are not all of them.
  conn->max_background = 256;
  conn->congestion_threshold = 192;
  // Splicing is slower than a copy for what is mostly large reads, and nothing here changes by
  // itself. The writeback cache must never be on: two device files may share bytes.
  const unsigned unwanted = FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_WRITEBACK_CACHE;
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_PARALLEL_DIROPS |
                          FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO |
                          FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_ATOMIC_O_TRUNC;
  conn->want = (conn->want & ~unwanted) | (conn->capable & wanted);
  server.set_ready();
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  const int failure = guarded([&] {
    const auto view = server_of(req).view();
    if (std::strlen(name) > kNameLimit) {
      throw Error(Fault::usage, "the name is too long").with_errno(ENAMETOOLONG);
    }
    const Directory::Entry* const found = directory_at(*view, parent).find(name);
    if (found == nullptr) {
      fuse_reply_err(req, ENOENT);
      return;
    }
    const fuse_entry_param entry = entry_for(server_of(req), inode_at(*view, found->inode));
    fuse_reply_entry(req, &entry);
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

/// Inodes live as long as the mount, so the lookups of the kernel need not be counted.
void op_forget(fuse_req_t req, fuse_ino_t, std::uint64_t) {
  fuse_reply_none(req);
}
void op_forget_multi(fuse_req_t req, size_t, fuse_forget_data*) {
  fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t number, fuse_file_info*) {
  const int failure = guarded([&] {
    const auto view = server_of(req).view();
    const Inode& inode = inode_at(*view, number);
    const Inode::Status status = inode.status();
    fuse_reply_attr(req, &status.attributes, server_of(req).keep_attributes(inode, status));
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_readlink(fuse_req_t req, fuse_ino_t number) {
  const int failure = guarded([&] {
    const auto view = server_of(req).view();
    const Inode& inode = inode_at(*view, number);
    if (!S_ISLNK(inode.attributes.st_mode)) {
      throw Error(Fault::usage, "not a link").with_errno(EINVAL);
    }
    fuse_reply_readlink(req, inode.text->c_str());
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_open(fuse_req_t req, fuse_ino_t number, fuse_file_info* info) {
  const int failure = guarded([&] {
    const auto view = server_of(req).view();
    const Inode& inode = inode_at(*view, number);
    if (inode.device && server_of(req).writing() != nullptr) {
      open_device(req, *inode.device, number, *info);
      return;
    }
    if ((info->flags & O_ACCMODE) != O_RDONLY || (info->flags & O_TRUNC) != 0) {
      throw Error(Fault::denied, "the mount is read-only").with_errno(EROFS);
    }
    // A text changes with the tree while programs have it open, and each open handle keeps the text
    // that it opened: the page cache of the file, which all handles share, cannot be used for this.
    info->direct_io = inode.text ? 1 : 0;
    info->noflush = 1;
    if (!inode.device) {
      reply_opened(req, info, {nullptr, inode.text, nullptr, {}, nullptr});
      return;
    }
    in_lane(req, *inode.device, [req, device = inode.device, answer = *info]() mutable {
      const int failed = guarded([&] {
        answer.keep_cache = device->cache_holds() ? 1 : 0;
        reply_opened(req, &answer,
                     {device, nullptr, nullptr, {}, std::make_shared<Ahead>(device->device())});
      });
      if (failed != 0) fuse_reply_err(req, failed);
    });
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void read_text(fuse_req_t req, const std::string& text, std::size_t size, std::uint64_t offset) {
  const std::size_t begin = std::min<std::uint64_t>(offset, text.size());
  fuse_reply_buf(req, text.data() + begin, std::min(size, text.size() - begin));
}

/// @return what libfuse does. For one piece it needs no memory of its own.
int reply(fuse_req_t req, std::span<const iovec> pieces) {
  if (pieces.size() == 1) {
    return fuse_reply_buf(req, static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len);
  }
  return fuse_reply_iov(req, pieces.data(), static_cast<int>(pieces.size()));
}

/// @param device held by the caller, because the program that gets the answer may close the file
void read_device(fuse_req_t req, const std::shared_ptr<const DeviceFile>& device, Ahead* ahead,
                 std::uint64_t at, std::size_t size) {
  Failure failed;
  int answered = 0;
  bool trusted = true;
  const int failure = guarded(
      [&] {
        trusted =
            device->lend(at, thread_buffer(size).first(size), ahead,
                         [&](std::span<const iovec> pieces) { answered = reply(req, pieces); });
      },
      &failed);
  if (failure != 0) {
    device->log_failure(failed.level, "read", at, size, failed.why.c_str());
    fuse_reply_err(req, failure);
  } else if (answered != 0 && answered != -ENOENT) {
    // The kernel could not copy from a source's mapping, and has told the reader EIO.
    device->log_failure(LogLevel::error, "read", at, size,
                        answered == -EFAULT
                            ? "a source has become shorter, or its storage could not "
                              "be read; the kernel's log (dmesg) may say more"
                            : std::strerror(-answered));
  } else if (!trusted) {
    device->log_failure(
        LogLevel::error, "read", at, size,
        "a source became shorter in this very moment: zeroes may have been read for "
        "what was behind its end; do not use them");
  }
}

void op_read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  const OpenHandle& open = handle(info);
  const auto at = static_cast<std::uint64_t>(offset);
  if (open.text) {
    read_text(req, *open.text, size, at);
    return;
  }
  // For programs that read through the page cache the kernel reads ahead itself.
  const std::shared_ptr<Ahead> ahead = (info->flags & O_DIRECT) != 0 ? open.ahead : nullptr;
  in_lane(req, *open.device, [req, device = open.device, ahead, at, size] {
    read_device(req, device, ahead.get(), at, size);
  });
}

void seek_in_device(fuse_req_t req, const DeviceFile& device, std::uint64_t at, int whence) {
  const int failure = guarded([&] {
    const std::uint64_t found =
        device.seek(at, whence, [req] { return fuse_req_interrupted(req) != 0; });
    fuse_reply_lseek(req, static_cast<off_t>(found));
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_lseek(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) {
  const OpenHandle& open = handle(info);
  const int failure = guarded([&] {
    if (whence != SEEK_DATA && whence != SEEK_HOLE) {
      throw Error(Fault::usage, "the kernel answers this seek itself").with_errno(EINVAL);
    }
    const auto at = static_cast<std::uint64_t>(offset);
    if (open.device) {
      in_lane(req, *open.device, [req, device = open.device, at, whence] {
        seek_in_device(req, *device, at, whence);
      });
    } else if (at < open.text->size()) {
      fuse_reply_lseek(req, whence == SEEK_DATA ? offset : static_cast<off_t>(open.text->size()));
    } else {
      fuse_reply_err(req, ENXIO);
    }
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_opendir(fuse_req_t req, fuse_ino_t number, fuse_file_info* info) {
  const int failure = guarded([&] {
    auto view = server_of(req).view();
    static_cast<void>(directory_at(*view, number));
    reply_opened(req, info, {nullptr, nullptr, std::move(view), {}, nullptr});
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

/// Fills one answer. Offsets: 1 is behind ".", 2 behind "..", 3 + n behind entry n.
void list(fuse_req_t req, fuse_ino_t number, std::size_t size, off_t offset, fuse_file_info* info,
          bool plus) {
  // The kernel holds a lock on the open directory meanwhile: no other request changes the handle.
  OpenHandle& open = handle(info);
  if (offset == 0) open.directory = server_of(req).view();
  const InodeView& view = *open.directory;
  const Inode& self = inode_at(view, number);
  const auto& entries = directory_at(view, number).entries();
  const MutableBytes buffer = thread_buffer(size);
  char* const text = reinterpret_cast<char*>(buffer.data());
  std::size_t used = 0;
  const auto put = [&](const char* name, const Inode& inode, bool known, off_t next) {
    char* const to = text + used;
    const std::size_t room = size - used;
    std::size_t needs = 0;
    if (plus) {
      fuse_entry_param entry{};
      // "." and ".." must not count as looked up: their entry says "no inode", with attributes for
      // the type only.
      entry.attr = inode.attributes;
      if (known) entry = entry_for(server_of(req), inode);
      needs = fuse_add_direntry_plus(req, to, room, name, &entry, next);
    } else {
      needs = fuse_add_direntry(req, to, room, name, &inode.attributes, next);
    }
    if (needs > room) return false;
    used += needs;
    return true;
  };
  bool room = offset >= 1 || put(".", self, false, 1);
  room = room && (offset >= 2 || put("..", inode_at(view, self.parent), false, 2));
  for (auto at = static_cast<std::size_t>(std::max<off_t>(offset, 2) - 2);
       room && at < entries.size(); ++at) {
    room = put(entries[at].name.c_str(), inode_at(view, entries[at].inode), true,
               static_cast<off_t>(at + 3));
  }
  if (!room && used == 0) {
    throw Error(Fault::usage, "no entry fits into the answer").with_errno(EINVAL);
  }
  fuse_reply_buf(req, text, used);
}

void op_readdir(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset,
                fuse_file_info* info) {
  const int failure = guarded([&] { list(req, number, size, offset, info, false); });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t number, size_t size, off_t offset,
                    fuse_file_info* info) {
  const int failure = guarded([&] { list(req, number, size, offset, info, true); });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_statfs(fuse_req_t req, fuse_ino_t) {
  const int failure = guarded([&] {
    const auto view = server_of(req).view();
    struct statvfs status {};
    status.f_bsize = 4096;
    status.f_frsize = 512;
    status.f_blocks = div_round_up(view->source_bytes(), 512);
    status.f_files = view->count();
    status.f_namemax = kNameLimit;
    fuse_reply_statfs(req, &status);
  });
  if (failure != 0) fuse_reply_err(req, failure);
}

void op_ioctl(fuse_req_t req, fuse_ino_t, unsigned command, void*, fuse_file_info* info,
              unsigned flags, const void*, size_t, size_t out_size) {
  std::uint64_t size = 0;
  if ((flags & FUSE_IOCTL_DIR) != 0 || command != static_cast<unsigned>(BLKGETSIZE64) ||
      out_size < sizeof(size) || !handle(info).device) {
    fuse_reply_err(req, ENOTTY);
    return;
  }
  size = handle(info).device->size();
  fuse_reply_ioctl(req, 0, &size, sizeof(size));
}

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops table{};
  add_refusals(table);
  add_write_operations(table);
  table.init = op_init;
  table.lookup = op_lookup;
  table.forget = op_forget;
  table.forget_multi = op_forget_multi;
  table.getattr = op_getattr;
  table.readlink = op_readlink;
  table.open = op_open;
  table.release = op_release;
  table.read = op_read;
  table.lseek = op_lseek;
  table.opendir = op_opendir;
  table.releasedir = op_release;
  table.readdir = op_readdir;
  table.readdirplus = op_readdirplus;
  table.statfs = op_statfs;
  table.ioctl = op_ioctl;
  return table;
}

/// Pages that are only touched as far as reads reach, given back when the thread ends.
struct ThreadPages {
  ~ThreadPages() { release(); }
  void release() noexcept {
    if (memory != nullptr) {
      ::munmap(memory, size);
      memory = nullptr;
      size = 0;
    }
  }
  void* memory = nullptr;
  std::size_t size = 0;
};

}  // namespace

const Inode& inode_at(const InodeView& view, fuse_ino_t number) {
  const Inode* const inode = view.find(number);
  if (inode == nullptr || (inode->device && inode->device->retired())) throw gone_from_tree();
  return *inode;
}

void reply_opened(fuse_req_t req, fuse_file_info* info, OpenHandle opened) {
  FuseServer& server = server_of(req);
  OpenHandle* const kept = server.keep(std::move(opened));
  info->fh = reinterpret_cast<std::uintptr_t>(kept);
  if (fuse_reply_open(req, info) != 0) {
    server.close(kept);  // the program has gone meanwhile, and will not close it
  }
}

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops table = make_table();
  return table;
}

MutableBytes thread_buffer(std::size_t size) {
  thread_local ThreadPages pages;
  if (pages.size < size) {
    pages.release();
    const std::size_t whole = std::max(size, kMaxReadSize);
    void* const memory =
        ::mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    pages.memory = memory;
    pages.size = whole;
  }
  return {static_cast<std::byte*>(pages.memory), pages.size};
}

}  // namespace peelfs

// In no mount can anything be made, renamed or removed. In a read-only mount the kernel refuses it
// before the request comes here, unless it was remounted read-write.
#include <cerrno>

#include "mount/operations.h"

namespace peelfs {
namespace {

void refuse(fuse_req_t req) {
  fuse_reply_err(req, EROFS);
}

void refuse_mknod(fuse_req_t req, fuse_ino_t, const char*, mode_t, dev_t) {
  refuse(req);
}
void refuse_mkdir(fuse_req_t req, fuse_ino_t, const char*, mode_t) {
  refuse(req);
}
void refuse_name(fuse_req_t req, fuse_ino_t, const char*) {
  refuse(req);
}
void refuse_symlink(fuse_req_t req, const char*, fuse_ino_t, const char*) {
  refuse(req);
}
void refuse_rename(fuse_req_t req, fuse_ino_t, const char*, fuse_ino_t, const char*, unsigned) {
  refuse(req);
}
void refuse_link(fuse_req_t req, fuse_ino_t, fuse_ino_t, const char*) {
  refuse(req);
}
void refuse_create(fuse_req_t req, fuse_ino_t, const char*, mode_t, fuse_file_info*) {
  refuse(req);
}
void refuse_setxattr(fuse_req_t req, fuse_ino_t, const char*, const char*, size_t, int) {
  refuse(req);
}

}  // namespace

void add_refusals(fuse_lowlevel_ops& table) {
  table.mknod = refuse_mknod;
  table.mkdir = refuse_mkdir;
  table.unlink = refuse_name;
  table.rmdir = refuse_name;
  table.symlink = refuse_symlink;
  table.rename = refuse_rename;
  table.link = refuse_link;
  table.create = refuse_create;
  table.setxattr = refuse_setxattr;
  table.removexattr = refuse_name;
}

}  // namespace peelfs

#include "world/trees.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "peelfs/error.h"

namespace peelfs::world {
namespace {

void change(int at, const char* path, unsigned flags, std::uint64_t set, std::uint64_t clear,
            const std::string& what) {
  mount_attr attributes{};
  attributes.attr_set = set;
  attributes.attr_clr = clear;
  if (::mount_setattr(at, path, flags, &attributes, sizeof attributes) != 0) {
    throw Error::system(errno, "cannot change how " + what + " is mounted");
  }
}

unsigned depth(bool recursive) {
  return recursive ? AT_RECURSIVE : 0;
}

UniqueFd copied(int at, const char* path, unsigned flags, const std::string& what) {
  UniqueFd tree(::open_tree(at, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | flags));
  if (!tree) throw Error::system(errno, "cannot show " + what + " at another place");
  return tree;
}

}  // namespace

void keep_mounts_apart() {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    throw Error::system(errno, "cannot keep mounts apart from the host's");
  }
}

void set_attributes(const std::string& path, std::uint64_t set, std::uint64_t clear,
                    bool recursive) {
  change(AT_FDCWD, path.c_str(), depth(recursive), set, clear, path);
}

void set_attributes(const UniqueFd& tree, std::uint64_t set, std::uint64_t clear, bool recursive) {
  change(tree.get(), "", AT_EMPTY_PATH | depth(recursive), set, clear, "a copy");
}

UniqueFd copy_tree(const std::string& path, bool recursive) {
  return copied(AT_FDCWD, path.c_str(), depth(recursive), path);
}

UniqueFd copy_tree(int descriptor) {
  return copied(descriptor, "", AT_EMPTY_PATH, "a file");
}

void attach(const UniqueFd& tree, const std::string& path) {
  if (::move_mount(tree.get(), "", AT_FDCWD, path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    throw Error::system(errno, "cannot mount on " + path);
  }
}

void attach(const UniqueFd& tree, int descriptor) {
  if (::move_mount(tree.get(), "", descriptor, "",
                   MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    throw Error::system(errno, "cannot mount on a file");
  }
}

void bind(const std::string& from, const std::string& to, bool recursive) {
  attach(copy_tree(from, recursive), to);
}

void mount_memory(const std::string& path) {
  if (::mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m") != 0) {
    throw Error::system(errno, "cannot mount memory on " + path);
  }
}

void make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    throw Error::system(errno, "cannot make " + path);
  }
}

void make_file(const std::string& path, const std::string& text) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file) throw Error::system(errno, "cannot make " + path);
  if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    throw Error::system(ENOSPC, "cannot write " + path);
  }
}

}  // namespace peelfs::world

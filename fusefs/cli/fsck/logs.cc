#include "cli/fsck/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "cli/fsck/result.h"
#include "host/output_file.h"
#include "peel/names.h"
#include "peelfs/error.h"
#include "peelfs/shell.h"

namespace peelfs::cli {
namespace {

constexpr std::string_view kFirstLine = "# peelfs fsck: what a checker has written\n";

/// An empty file to write, in the place of a log of an earlier run. What is no such log stays.
UniqueFd open_log(const std::string& path) {
  constexpr int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK;
  UniqueFd file(::open(path.c_str(), kFlags | O_CREAT | O_EXCL, 0600));
  if (file) return file;
  if (errno != EEXIST) throw Error::system(errno, "cannot make " + path);
  file.reset(::open(path.c_str(), kFlags));
  if (!file) throw Error::system(errno, "cannot write " + path);
  struct stat status {};
  std::array<char, kFirstLine.size()> begin{};
  const bool is_ours =
      ::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1 &&
      ::pread(file.get(), begin.data(), begin.size(), 0) == static_cast<ssize_t>(begin.size()) &&
      std::string_view(begin.data(), begin.size()) == kFirstLine;
  if (!is_ours) {
    throw Error(Fault::usage, path + " is there already, and is no log of peelfs fsck")
        .advice("name another directory with --log");
  }
  refuse_as_output(file.get(), path);
  if (::ftruncate(file.get(), 0) != 0) throw Error::system(errno, "cannot empty " + path);
  return file;
}

/// What this run has written, to write more.
UniqueFd open_again(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY));
  if (!file) throw Error::system(errno, "cannot write " + path);
  return file;
}

}  // namespace

FsckLogs::FsckLogs(const check::Plan& plan, std::string directory)
    : plan_(plan), directory_(std::move(directory)), paths_(plan.targets.size()) {
  if (directory_.empty()) return;
  if (::mkdir(directory_.c_str(), 0700) == 0 || errno == EEXIST) return;
  throw Error::system(errno, "cannot make the directory of logs " + directory_);
}

std::string FsckLogs::name_for(const check::Target& target) {
  constexpr std::size_t kLongest = 200;
  const std::string whole = source_of(target) + "." + target.device;
  const std::string name = safe_file_name(whole).substr(0, kLongest);
  std::string unique = name + ".log";
  for (unsigned i = 2; !names_.insert(unique).second; ++i) {
    unique = name + "~" + std::to_string(i) + ".log";
  }
  return unique;
}

void FsckLogs::started(std::size_t target, const std::vector<std::string>& words) {
  if (directory_.empty()) return;
  if (!files_.contains(target)) {
    try {
      if (!paths_[target].empty()) {
        files_[target] = open_again(paths_[target]);
        write(target, "$ " + shell_line(words) + "\n");
        return;
      }
      const std::string path = directory_ + "/" + name_for(plan_.targets[target]);
      files_[target] = open_log(path);
      paths_[target] = std::filesystem::absolute(path).lexically_normal().string();
      write(target, kFirstLine);
    } catch (const Error& error) {
      if (failure_.empty()) failure_ = error.what();
      files_[target].reset();
    }
  }
  write(target, "$ " + shell_line(words) + "\n");
}

void FsckLogs::said(std::size_t target, std::string_view output) {
  write(target, output);
}

void FsckLogs::finished(std::size_t target) {
  files_.erase(target);
}

void FsckLogs::write(std::size_t target, std::string_view text) {
  const auto at = files_.find(target);
  if (at == files_.end() || !at->second) return;
  while (!text.empty()) {
    const ssize_t put = ::write(at->second.get(), text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      if (failure_.empty()) {
        failure_ = Error::system(errno, "cannot write " + paths_[target]).what();
      }
      at->second.reset();
      return;
    }
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

}  // namespace peelfs::cli

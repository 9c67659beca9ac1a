// Attacks by other users on a mount.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "host/mountinfo.h"
#include "mount/control_protocol.h"
#include "mount/holders.h"
#include "mount/process.h"
#include "mounted.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) {
    ++found;
  }
  return found;
}

TEST(Caution, ConnectsOfOthersDoNotFloodTheLog) {
  NEED_MOUNTS();
  NEED_ROOT();
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(1 << 20, 1));
  const Mount mount(sh("raw:" + (folder / "disk.img")));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(3);
    for (int i = 0; i < 500; ++i) {
      const int socket = connect_abstract(mount.control_name());
      control::AnswerHeader answer;
      if (::recv(socket, &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer)) ::_exit(1);
      ::close(socket);
    }
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  const std::size_t lines = count(mount.log(), "was refused");
  EXPECT_GE(lines, 1U) << mount.log();
  EXPECT_LE(lines, 12U);
}

TEST(Caution, ProgramsOfTheSystemComeBeforeThoseOfPath) {
  const TemporaryDirectory folder;
  write_file(folder / "env", as_bytes("#!/bin/sh\n"));
  write_file(folder / "only-here", as_bytes("#!/bin/sh\n"));
  fs::permissions(folder / "env", fs::perms::owner_all);
  fs::permissions(folder / "only-here", fs::perms::owner_all);
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", (folder.path() + ":.:" + before).c_str(), 1);
  EXPECT_EQ(find_program("env"), "/usr/bin/env");
  EXPECT_EQ(find_program("only-here"), folder / "only-here");
  // A program that all users may write is not trusted.
  fs::permissions(folder / "only-here", fs::perms::all);
  std::string refused;
  EXPECT_EQ(find_program("only-here", &refused), std::nullopt);
  EXPECT_EQ(refused, folder.path() + "/only-here can be written by everybody");
  fs::permissions(folder / "only-here", fs::perms::owner_all);
  fs::permissions(folder.path(), fs::perms::all);
  EXPECT_EQ(find_program("only-here"), std::nullopt);
  ::setenv("PATH", before.c_str(), 1);
}

TEST(Caution, AHelperThatDoesNotEndIsKilled) {
  const auto begin = std::chrono::steady_clock::now();
  const HelperResult result = run_helper("sh", {"-c", "echo before; exec sleep 300"});
  EXPECT_EQ(result.exit_code, 124);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Caution, HoldersAreNamedThroughEveryMountOfIt) {
  NEED_MOUNTS();
  const TemporaryDirectory folder;
  write_file(folder / "disk.img", pattern(1 << 20, 1));
  const Mount mount(sh("raw:" + (folder / "disk.img")));
  const auto entry = find_mount(mount.path());
  ASSERT_TRUE(entry);
  EXPECT_EQ(describe_holders(entry->device, mount.path()), "");
  std::ifstream held(mount / "disk");
  const std::string me = "pid " + std::to_string(::getpid());
  EXPECT_NE(describe_holders(entry->device, mount.path()).find(me), std::string::npos);
  held.close();
  const fs::path here = fs::current_path();
  fs::current_path(mount.path());
  EXPECT_NE(describe_holders(entry->device, mount.path()).find(me), std::string::npos);
  fs::current_path(here);
  EXPECT_EQ(describe_holders(entry->device, mount.path()), "");
}

}  // namespace
}  // namespace peelfs::test

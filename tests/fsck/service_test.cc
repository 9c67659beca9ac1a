// The units of systemd that are installed: what systemd says of them, and whether what they leave
// to the program is enough for it.
#include <unistd.h>

#include "fsck/fleet.h"

namespace peelfs::test {
namespace {

class FsckService : public FsckFleet {
 protected:
  /// The value of a setting of the service.
  static std::string setting(const std::string& name) {
    std::string value =
        must_run("sed -n 's/^" + name + "=//p' " + std::string(PEELFS_SERVICE) + " | tail -n 1");
    if (!value.empty()) value.pop_back();
    return value;
  }
};

TEST_F(FsckService, SystemdTakesTheUnits) {
  SKIP_WITHOUT("systemd-analyze");
  const std::string folder = other_ / "units";
  // It looks for the program, and for the manual's page.
  must_run("mkdir " + folder + " && cp " PEELFS_TIMER " '" + folder + "/peelfs-fsck@x.timer' && " +
           "sed 's#^ExecStart=[^ ]*#ExecStart=" PEELFS_PROGRAM "#' '" PEELFS_SERVICE "' > '" +
           folder + "/peelfs-fsck@x.service'");
  const CommandResult said = run("systemd-analyze verify --man=no " + folder +
                                 "/peelfs-fsck@x.service " + folder + "/peelfs-fsck@x.timer 2>&1");
  if (contains(said.output, "Failed to")) GTEST_SKIP() << said.output;
  EXPECT_EQ(said.exit_code, 0) << said.output;
  EXPECT_EQ(said.output, "");
}

TEST_F(FsckService, ItsCapabilitiesAreEnough) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has capabilities to take away";
  SKIP_WITHOUT("setpriv");
  SKIP_WITHOUT("mkfs.btrfs");
  make_ext4("a.img");
  // Of another user, and for nobody else; two devices, which need a world of their own.
  const std::string both = (images_ / "one.img") + " " + (images_ / "two.img");
  must_run("truncate -s 128M " + both + " && mkfs.btrfs -q -d raid1 -m raid1 " + both);
  must_run("chown -R 64055:64055 " + images_.path() + " && chmod -R go= " + images_.path());
  remember();
  std::string capabilities = "-all";
  for (std::string rest = setting("CapabilityBoundingSet") + " "; !rest.empty();) {
    const std::string name = rest.substr(0, rest.find(' '));
    capabilities += ",+" + must_run("printf %s " + name + " | sed s/^CAP_// | tr A-Z a-z");
    rest.erase(0, name.size() + 1);
  }
  ASSERT_NE(capabilities, "-all");
  ASSERT_EQ(setting("NoNewPrivileges"), "yes");
  ASSERT_EQ(setting("PrivateMounts"), "yes");
  const std::string command = setting("ExecStart");
  const std::string script = other_ / "run";
  write_file(script, as_bytes(place() + "OPTIONS='--json -q' SOURCES=" + images_.path() +
                              "; export TMPDIR\nset -- $OPTIONS $SOURCES\nexec " PEELFS_PROGRAM +
                              command.substr(command.find(' ')) + " </dev/null 2>&1\n"));
  const CommandResult done =
      run("unshare -m --propagation private setpriv --no-new-privs "
          "--bounding-set=" +
          capabilities + " sh " + script);
  if (contains(done.output, "unshare failed")) GTEST_SKIP() << done.output;
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_FALSE(contains(done.output, "peelfs: warning")) << done.output;
  EXPECT_TRUE(contains(done.output, "\"device\": \"one\"")) << done.output;
}

TEST_F(FsckService, TheExampleIsRead) {
  // As systemd reads it: comments, and words in quotes.
  const CommandResult said = run("set -e; . " PEELFS_CONF "; printf '%s|' $OPTIONS $SOURCES");
  EXPECT_EQ(said.output,
            "--background|--skip-busy|--log|/var/log/peelfs|--junit|/var/log/peelfs/fsck.xml|"
            "/var/lib/libvirt/images|");
}

}  // namespace
}  // namespace peelfs::test

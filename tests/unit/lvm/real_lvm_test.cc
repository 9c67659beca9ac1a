// Volume groups that lvm2 itself makes on loop devices (nothing is activated: that would need
// device-mapper), against what lvm2 says of them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <sstream>

#include "lvm_open.h"
#include "peelfs/host_file.h"
#include "support/support.h"

namespace peelfs::test {

namespace {

/// Loop devices and an lvm2 that sees nothing else.
class RealLvm : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "loop devices need root";
    for (const char* program : {"lvm", "losetup"}) {
      if (!have_program(program)) GTEST_SKIP() << program << " is not here";
    }
  }

  void TearDown() override {
    for (const std::string& loop : loops_) run("losetup -d " + loop);
  }

  /// Makes disks; false when there are no loop devices to be had.
  bool make_disks(const std::vector<std::uint64_t>& sizes) {
    std::string filter;
    for (const std::uint64_t size : sizes) {
      files_.push_back(folder_ / ("disk" + std::to_string(files_.size())));
      std::ofstream(files_.back()).close();
      if (truncate(files_.back().c_str(), static_cast<off_t>(size)) != 0) return false;
      const CommandResult made = run("losetup -f --show " + files_.back());
      if (made.exit_code != 0) return false;
      loops_.push_back(made.output.substr(0, made.output.find('\n')));
      filter += "\"a|^" + loops_.back() + "$|\", ";
    }
    std::ofstream(folder_ / "lvm.conf")
        << "devices { use_devicesfile = 0 filter = [ " << filter << "\"r|.*|\" ] }\n"
        << "backup { backup = 0 archive = 0 }\n"
        << "global { use_lvmpolld = 0 event_activation = 0 }\n"
        << "activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }\n";
    return true;
  }

  /// One lvm2 process for many commands: each start of it costs more than what it does.
  std::string lvm(const std::string& commands) {
    std::ofstream(folder_ / "commands") << commands;
    return must_run("PATH=$PATH:/usr/sbin:/sbin LVM_SUPPRESS_FD_WARNINGS=1 LVM_SYSTEM_DIR=" +
                    folder_.path() + " lvm < " + (folder_ / "commands"));
  }

  std::string create(const std::string& options) {
    return "lvcreate --driverloaded n -an -Zn -Wn -y " + options + "\n";
  }

  OpenGroup open() {
    std::vector<DevicePtr> devices;
    for (const std::string& file : files_) devices.push_back(file_device(file));
    return open_lvm(devices);
  }

  /// Compares every segment of a group with `lvs`. @return how many there were
  std::size_t compare(const std::string& group_name) {
    const OpenGroup group = open();
    std::map<std::string, std::uint64_t> pe_start;
    std::istringstream volumes(lvm("pvs --noheadings --units b --nosuffix -o pv_name,pe_start\n"));
    std::string line;
    while (std::getline(volumes, line)) {
      std::istringstream words(line);
      std::string name;
      std::uint64_t start = 0;
      if (words >> name >> start) pe_start[name] = start;
    }
    std::size_t compared = 0;
    std::istringstream segments(
        lvm("lvs --driverloaded n --segments --noheadings --units b --nosuffix -o "
            "lv_name,lv_size,seg_start,seg_size,stripes,stripe_size,"
            "vg_extent_size,segtype,seg_pe_ranges " +
            group_name + "\n"));
    while (std::getline(segments, line)) {
      std::istringstream words(line);
      std::string name, type, range;
      std::uint64_t size = 0, start = 0, length = 0, stripes = 0, stripe_size = 0, extent = 0;
      if (!(words >> name >> size >> start >> length >> stripes >> stripe_size >> extent >> type))
        continue;
      const Inner& inner = group.at(group_name + "-" + name);
      EXPECT_EQ(inner.device->size(), size) << line;
      for (std::uint64_t stripe = 0; words >> range; ++stripe) {
        const std::size_t colon = range.rfind(':');
        const std::string device = range.substr(0, colon);
        const std::uint64_t first = std::stoull(range.substr(colon + 1)),
                            last = std::stoull(range.substr(range.rfind('-') + 1));
        const std::uint64_t offset = pe_start.at(device) + first * extent;
        const std::uint64_t each = (last - first + 1) * extent;
        EXPECT_EQ(each * stripes, length) << line;
        // The first chunk of the stripe, and its last.
        const std::uint64_t chunk = stripes > 1 ? stripe_size : length;
        expect_at(*inner.device, start + stripe * chunk, chunk, device, offset);
        expect_at(*inner.device, start + (each / chunk - 1) * chunk * stripes + stripe * chunk,
                  chunk, device, offset + each - chunk);
      }
      ++compared;
    }
    return compared;
  }

  void expect_at(const BlockDevice& device, std::uint64_t at, std::uint64_t length,
                 const std::string& loop, std::uint64_t offset) {
    const Resolved resolved = resolve(device, at, length);
    ASSERT_EQ(resolved.extent.kind, ExtentKind::storage);
    EXPECT_EQ(resolved.extent.offset, offset);
    EXPECT_EQ(resolved.extent.length, length);
    const auto place = std::find(loops_.begin(), loops_.end(), loop);
    ASSERT_NE(place, loops_.end()) << loop;
    EXPECT_EQ(resolved.extent.storage->name(),
              files_[static_cast<std::size_t>(place - loops_.begin())]);
  }

  TemporaryDirectory folder_;
  std::vector<std::string> files_, loops_;
};

}  // namespace

TEST_F(RealLvm, OddGeometries) {
  if (!make_disks({64U << 20U, 80U << 20U, 50U << 20U})) GTEST_SKIP() << "no loop devices";
  const auto& d = loops_;
  lvm("pvcreate -y --metadatasize 40k --dataalignment 256k " + d[0] + "\n" +
      "pvcreate -y --metadatacopies 2 --metadatasize 64k --labelsector 3 --dataalignment 1m "
      "--dataalignmentoffset 7s " +
      d[1] + "\n" + "pvcreate -y --metadatacopies 0 --bootloaderareasize 1m " + d[2] + "\n" +
      "vgcreate -s 128k vgr " + d[0] + " " + d[1] + " " + d[2] + "\n");
  std::string commands;
  std::mt19937 random(42);
  for (int i = 0; i < 12; ++i) {
    const unsigned stripes = 1 + random() % 3, size = 4U << (random() % 5);
    commands += create("-n v" + std::to_string(i) + " -l " +
                       std::to_string(6 * (1 + random() % 5)) + " -i " + std::to_string(stripes) +
                       (stripes > 1 ? " -I " + std::to_string(size) + "k" : "") + " vgr");
  }
  lvm(commands);
  EXPECT_GE(compare("vgr"), 12U);

  // Extended and removed.
  for (int round = 0; round < 4; ++round) {
    commands.clear();
    for (int i = 0; i < 8; ++i) {
      const std::string name = "vgr/v" + std::to_string(random() % 6);
      commands += "lvextend --driverloaded n -i 1 -l +" + std::to_string(1 + random() % 4) + " " +
                  name + " " + d[random() % 3] + "\n";
    }
    const std::string other = std::to_string(6 + round);
    commands += "lvremove --driverloaded n -y vgr/v" + other + "\n" +
                create("-n v" + other + " -l 3 vgr " + d[round % 3]);
    lvm(commands);
    EXPECT_GE(compare("vgr"), 15U);
  }
  // Go on until the text lies across the end of its area just now.
  bool wrapped = false;
  for (int i = 0; i < 40 && !wrapped; ++i) {
    lvm("vgchange --driverloaded n --addtag t" + std::to_string(i) + " vgr\n");
    const std::string headers = must_run("PATH=$PATH:/usr/sbin pvck --dump headers " + files_[0]);
    const auto field = [&](const std::string& name) {
      const std::size_t at = headers.find(name + " ");
      return at == std::string::npos ? 0 : std::stoull(headers.substr(at + name.size() + 1));
    };
    wrapped = field("mda_header_1.raw_locn[0].offset") + field("mda_header_1.raw_locn[0].size") >
              field("mda_header_1.size");
  }
  EXPECT_TRUE(wrapped);
  EXPECT_GE(compare("vgr"), 15U);
  EXPECT_FALSE(open().opened.trouble) << open().reason();
}

TEST_F(RealLvm, TypesMembersAndLeavers) {
  if (!make_disks({40U << 20U, 40U << 20U, 40U << 20U})) GTEST_SKIP() << "no loop devices";
  const auto& d = loops_;
  lvm("pvcreate -y " + d[0] + " " + d[1] + " " + d[2] + "\n" + "vgcreate vgt " + d[0] + " " + d[1] +
      "\n" + create("-n z --type zero -L 8m vgt") + create("-n e --type error -L 8m vgt") +
      create("-n lin -L 8m vgt " + d[0]));
  OpenGroup group = open();
  EXPECT_FALSE(group.at("vgt-z").trouble);
  EXPECT_EQ(group.at("vgt-e").trouble->state, Trouble::io);
  EXPECT_EQ(probe_lvm(*file_device(files_[2]))->membership->group.substr(0, 3),
            "pv:");  // in no group
  EXPECT_FALSE(group.opened.trouble) << group.reason();
  EXPECT_EQ(compare("vgt"), 3U);

  // A member that leaves is a member of nothing; metadata on one that is told to ignore it is.
  lvm("vgreduce vgt " + d[1] + "\nvgextend vgt " + d[2] + "\npvchange --metadataignore y " + d[2] +
      "\n" + create("-n lin2 -L 8m vgt " + d[2]));
  group = open();
  EXPECT_EQ(probe_lvm(*file_device(files_[1]))->membership->group.substr(0, 3), "pv:");
  EXPECT_EQ(probe_lvm(*file_device(files_[2]))->membership->group, "");
  EXPECT_FALSE(group.opened.trouble) << group.reason();
  EXPECT_EQ(group.at("vgt-lin2").members, (std::vector<std::size_t>{1}));
  EXPECT_EQ(compare("vgt"), 4U);
  const OpenGroup alone = open_lvm({file_device(files_[1])});
  EXPECT_EQ(alone.state(), "note");
  EXPECT_EQ(open_lvm({file_device(files_[2])}).state(), "missing");
}

}  // namespace peelfs::test

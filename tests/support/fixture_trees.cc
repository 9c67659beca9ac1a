#include "support/fixture_trees.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "support/support.h"

namespace peelfs::test {

namespace {

// fixture: sources
//   NAME TYPE PARENT ORACLE [STATE]      "-" for none
constexpr const char* table = R"(
variant2: variant2
  variant2              disk -               disk
  variant2p1            part variant2        disk-p1
  volssd10-kvmos        lvm  variant2p1      volssd10-kvmos
  volssd10-kvmswap      lvm  variant2p1      volssd10-kvmswap
  kvmos_crypt           crypt volssd10-kvmos luks
  os43.qcow2            file kvmos_crypt     images/os43.qcow2
  os43                  disk os43.qcow2      qcow2
  os43p1                part os43            qcow2-p1
  os43p2                part os43            qcow2-p2
  lvg1-lvroot           lvm  os43p2          lvg1-lvroot
  lvg1-lvhome           lvm  os43p2          lvg1-lvhome
variant1: variant1
  variant1              disk -               disk
  lvg2-lvhd0            lvm  variant1        lvg2-lvhd0
  lvhd0_crypt           crypt lvg2-lvhd0     luks
  lvhd0_cryptp1         part lvhd0_crypt     luks-p1
  lvhd0_cryptp2         part lvhd0_crypt     luks-p2
variant3: variant3
  variant3              disk -               disk
  variant3_crypt        crypt variant3       luks
  guest-falloc.img      file variant3_crypt  guest-falloc.img
  guest-falloc          disk guest-falloc.img guest-falloc
  guest-fallocp1        part guest-falloc    guest-falloc-p1
  guest-fallocp2        part guest-falloc    guest-falloc-p2
  gvgf-root             lvm  guest-fallocp2  gvgf-root
  gvgf-home             lvm  guest-fallocp2  gvgf-home
  guest-sparse.img      file variant3_crypt  guest-sparse.img
  guest-sparse          disk guest-sparse.img guest-sparse
  guest-sparsep1        part guest-sparse    guest-sparse-p1
  guest-sparsep2        part guest-sparse    guest-sparse-p2
  gvgs-root             lvm  guest-sparsep2  gvgs-root
  gvgs-home             lvm  guest-sparsep2  gvgs-home
qcow2onlv: qcow2onlv
  qcow2onlv             disk -               disk
  qcow2onlvp1           part qcow2onlv       -
  vgq-lvq               lvm  qcow2onlvp1     vgq-lvq
  vgq-other             lvm  qcow2onlvp1     vgq-other
  vgq-lvq_qcow2         disk vgq-lvq         qcow2
  vgq-lvq_qcow2p1       part vgq-lvq_qcow2   qcow2-p1
luks4kgpt: luks4kgpt
  luks4kgpt             disk -               -
  luks4kgpt_crypt       crypt luks4kgpt      luks
  luks4kgpt_cryptp1     part luks4kgpt_crypt luks-p1
  luks4kgpt_cryptp2     part luks4kgpt_crypt luks-p2
lvmspan: span-a span-b span-c
  span-a                disk -               -
  span-b                disk -               -
  span-c                disk -               -
  vgspan-one            lvm  span-a          vgspan-one
  vgspan-two            lvm  span-b          vgspan-two
  vgspan-three          lvm  span-c          vgspan-three
lvmsegs: segs-a segs-b
  segs-a                disk -               -
  segs-b                disk -               -
  vgsegs-x              lvm  segs-a          vgsegs-x
  vgsegs-y              lvm  segs-a          vgsegs-y
  vgsegs-z--with.dots_and----dash+plus lvm segs-a vgsegs-z
lvmstripe: str-a str-b str-c
  str-a                 disk -               -
  str-b                 disk -               -
  str-c                 disk -               -
  vgstr-s2              lvm  str-a           vgstr-s2
  vgstr-s3              lvm  str-a           vgstr-s3
lvmraid: rd-a rd-b rd-c rd-d rd-e rd-f
  rd-a                  disk -               -
  rd-b                  disk -               -
  rd-c                  disk -               -
  rd-d                  disk -               -
  rd-e                  disk -               -
  rd-f                  disk -               -
  vgraid-mircore        lvm  rd-a            vgraid-mircore
  vgraid-mirdisk        lvm  rd-a            vgraid-mirdisk
  vgraid-r1             lvm  rd-a            vgraid-r1
  vgraid-r1x3           lvm  rd-a            vgraid-r1x3
  vgraid-r10            lvm  rd-a            vgraid-r10  unsupported
  vgraid-r5             lvm  rd-a            vgraid-r5   unsupported
  vgraid-r6             lvm  rd-a            vgraid-r6   unsupported
  vgraid-r4             lvm  rd-a            vgraid-r4   unsupported
  vgraid-r0             lvm  rd-a            vgraid-r0   unsupported
  vgraid-r0m            lvm  rd-a            vgraid-r0m  unsupported
  vgraid-r5ra           lvm  rd-a            vgraid-r5ra unsupported
  vgraid-r6nc           lvm  rd-a            vgraid-r6nc unsupported
lvmthin: thin-a thin-b
  thin-a                disk -               -
  thin-b                disk -               -
  vgthin-pool           lvm  thin-a          -             unsupported
  vgthin-t1             lvm  thin-a          vgthin-t1     unsupported
  vgthin-t2             lvm  thin-a          vgthin-t2     unsupported
  vgthin-t1snap         lvm  thin-a          vgthin-t1snap unsupported
  vgthin-t1snapsnap     lvm  thin-a          vgthin-t1snapsnap unsupported
  vgthin-pool_tmeta     lvm  thin-a          pool_tmeta
  vgthin-pool_tdata     lvm  thin-b          pool_tdata
lvmsnap: snap-a
  snap-a                disk -               -
  vgsnap-orig           lvm  snap-a          vgsnap-orig
  vgsnap-snap1          lvm  snap-a          vgsnap-snap1  unsupported
  vgsnap-snap2          lvm  snap-a          vgsnap-snap2  unsupported
lvmcache: cache-slow cache-fast
  cache-slow            disk -               -
  cache-fast            disk -               -
  vgcache-writeback     lvm  cache-slow      vgcache-writeback    unsupported
  vgcache-writethrough  lvm  cache-slow      vgcache-writethrough unsupported
lvmalign: align-a align-b
  align-a               disk -               -
  align-b               disk -               -
  vgalign-al            lvm  align-a         vgalign-al
  vgalign-rest          lvm  align-b         vgalign-rest
lvmpartial: part-a
  part-a                disk -               -             degraded
  vgpart-whole          lvm  part-a          vgpart-whole
  vgpart-r1             lvm  part-a          vgpart-r1     degraded
  vgpart-split          lvm  part-a          -             any
luks1-aesxts: luks1-aesxts
  luks1-aesxts          disk -               -
  luks1-aesxts_crypt    crypt luks1-aesxts   luks
luks1-aescbcessiv: luks1-aescbcessiv
  luks1-aescbcessiv       disk -                -
  luks1-aescbcessiv_crypt crypt luks1-aescbcessiv luks
luks2-512-argon2id: luks2-512-argon2id
  luks2-512-argon2id       disk -                 -
  luks2-512-argon2id_crypt crypt luks2-512-argon2id luks
luks2-4096-argon2id: luks2-4096-argon2id
  luks2-4096-argon2id       disk -                  -
  luks2-4096-argon2id_crypt crypt luks2-4096-argon2id luks
luks2-twokeys: luks2-twokeys
  luks2-twokeys         disk -               -
  luks2-twokeys_crypt   crypt luks2-twokeys  luks
luks2-keyfile: luks2-keyfile
  luks2-keyfile         disk -               -
  luks2-keyfile_crypt   crypt luks2-keyfile  luks
luks2-detached: luks2-det-data
  luks2-det-data        disk -               -
  luks2-det-data_crypt  crypt luks2-det-data luks
gpt4k: gpt4k
  gpt4k                 disk -               disk
  gpt4kp1               part gpt4k           p1
  gpt4kp2               part gpt4k           p2
  gpt4kp3               part gpt4k           p3
  vg4k-lv4k             lvm  gpt4kp3         vg4k-lv4k
gpthybrid: gpthybrid
  gpthybrid             disk -               disk
  gpthybridp1           part gpthybrid       p1
  gpthybridp2           part gpthybrid       p2
  gpthybridp3           part gpthybrid       p3
  gpthybridp7           part gpthybrid       p7
btrfsraid1: bt-a bt-b
  bt-a                  disk -               disk-a
  bt-b                  disk -               disk-b
fslvs: fslvs
  fslvs                 disk -               -
  vgfs-vfat             lvm  fslvs           vgfs-vfat
  vgfs-ntfs             lvm  fslvs           vgfs-ntfs
  vgfs-ext2             lvm  fslvs           vgfs-ext2
  vgfs-exfat            lvm  fslvs           vgfs-exfat
xfslv: xfslv
  xfslv                 disk -               -
  vgxfs-xfs             lvm  xfslv           vgxfs-xfs
dirtyext4: dirtyext4
  dirtyext4             disk -               -
  vgdirty-ext4          lvm  dirtyext4       vgdirty-ext4  note
damagedext4: damagedext4
  damagedext4           disk -               -
  vgde-lv               lvm  damagedext4     -
  lv_crypt              crypt vgde-lv        luks          any
damagedbtrfs: damagedbtrfs
  damagedbtrfs          disk -               -
  vgdb-lv               lvm  damagedbtrfs    -
  lv_crypt              crypt vgdb-lv        luks
luks1-serpent: luks1-serpent
  luks1-serpent         disk -               -             unsupported
luks2-serpent: luks2-serpent
  luks2-serpent         disk -               -             unsupported
luks2-adiantum: luks2-adiantum
  luks2-adiantum        disk -               -             unsupported
luks2-hmac: luks2-hmac
  luks2-hmac            disk -               -             unsupported
luks2-reenc: luks2-reenc
  luks2-reenc           disk -               -             note
  luks2-reenc_crypt     crypt luks2-reenc    luks
mdraid1: r1-a r1-b
  r1-a                  disk -               -             unsupported
  r1-b                  disk -               -             unsupported
mdparts: mdp-a mdp-b
  mdp-a                 disk -               -
  mdp-ap1               part mdp-a           -             unsupported
  mdp-b                 disk -               -
  mdp-bp1               part mdp-b           -             unsupported
)";

std::string none(const std::string& word) {
  return word == "-" ? "" : word;
}

}  // namespace

const std::vector<FixtureTree>& fixture_trees() {
  static const std::vector<FixtureTree> trees = [] {
    std::vector<FixtureTree> result;
    std::istringstream lines(table);
    for (std::string line; std::getline(lines, line);) {
      if (line.empty()) continue;
      std::istringstream words(line);
      std::string first;
      words >> first;
      if (line.front() != ' ') {
        FixtureTree tree;
        tree.fixture = first.substr(0, first.size() - 1);
        for (std::string word; words >> word;) tree.sources.push_back(word);
        result.push_back(std::move(tree));
        continue;
      }
      ExpectedDevice device;
      device.name = first;
      words >> device.type >> device.parent >> device.oracle >> device.state;
      device.parent = none(device.parent);
      device.oracle = none(device.oracle);
      result.back().devices.push_back(std::move(device));
    }
    return result;
  }();
  return trees;
}

std::string test_name(const FixtureTree& tree) {
  std::string name = tree.fixture;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

Truth truth_of(const std::string& fixture, const std::string& oracle) {
  Truth truth;
  const auto& all = fixture_manifest().at(fixture).at("oracle");
  if (!all.contains(oracle)) {
    ADD_FAILURE() << "the manifest has no " << oracle << " in " << fixture;
    return truth;
  }
  const auto& record = all.at(oracle);
  const auto text = [&](const char* key) {
    return record.contains(key) && record.at(key).is_string() ? record.at(key).get<std::string>()
                                                              : "";
  };
  truth.size = record.at("size").get<std::uint64_t>();
  truth.sha256 = text("sha256");
  truth.fstype = text("fs_type");
  truth.label = text("label");
  truth.uuid = text("uuid");
  truth.logical_sector = record.value("logical_sector", 0U);
  return truth;
}

std::vector<std::string> manifest_fixtures() {
  std::vector<std::string> names;
  for (const auto& [name, record] : fixture_manifest().items()) names.push_back(name);
  return names;
}

std::string passphrase_of(const std::string& fixture) {
  const auto& record = fixture_manifest().at(fixture);
  return record.contains("keys") ? record.at("keys").value("passphrase", "") : "";
}

std::vector<std::string> unpacked_sources(const FixtureTree& tree) {
  std::vector<std::string> paths;
  for (const std::string& source : tree.sources) {
    paths.push_back(fixture_image(source));
    if (paths.back().empty()) return {};
  }
  return paths;
}

}  // namespace peelfs::test

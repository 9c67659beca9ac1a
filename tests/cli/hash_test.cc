// `peelfs hash`, by the real program: against sha256sum and others, and what kernels read.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cli/program.h"
#include "support/fixture_trees.h"
#include "support/paths.h"

namespace peelfs::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// What `peelfs hash` said, by the names of devices.
std::map<std::string, std::string> digests_in(const std::string& output) {
  std::map<std::string, std::string> result;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    result[line.substr(66)] = line.substr(0, 64);
  }
  return result;
}

class Hash : public ::testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT("sfdisk");
    SKIP_WITHOUT("mke2fs");
    disk_ = folder_ / "disk.img";
    second_ = make_disk(disk_);
  }
  std::string file(const std::string& name, const std::string& text) {
    write_file(folder_ / name, as_bytes(text));
    return folder_ / name;
  }
  const TemporaryDirectory folder_;
  std::string disk_, second_;
};

TEST_F(Hash, IsWhatSha256sumSaysInAMount) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string list = folder_ / "list";
  must_run(PEELFS_PROGRAM " hash " + disk_ + " >" + list);
  const auto digests = digests_in(must_run("cat " + list));
  EXPECT_EQ(digests.size(), 3U);
  EXPECT_EQ(digests.at("diskp2"), second_);
  EXPECT_EQ(digests.at("disk"), must_run("sha256sum <" + disk_).substr(0, 64));
  const std::string tagged = folder_ / "tagged";
  must_run(PEELFS_PROGRAM " hash -a md5,sha256,sha512,blake2b " + disk_ + " >" + tagged);
  must_run("mkdir " + (folder_ / "p") + " && " PEELFS_PROGRAM " " + disk_ + " " + (folder_ / "p"));
  const CommandResult checked = run("cd " + (folder_ / "p") + " && sha256sum --strict -c " + list);
  const CommandResult all = run("cd " + (folder_ / "p") + " && cksum --strict -c " + tagged);
  must_run(PEELFS_PROGRAM " umount " + (folder_ / "p"));
  EXPECT_EQ(checked.exit_code, 0) << checked.output;
  EXPECT_EQ(all.exit_code, 0) << all.output;
}

TEST_F(Hash, AgreesWithWhatKernelsReadInEveryLayer) {
  std::size_t compared = 0;
  for (const FixtureTree& tree : fixture_trees()) {
    std::string arguments;
    for (const std::string& path : unpacked_sources(tree)) arguments += " '" + path + "'";
    if (arguments.empty()) continue;  // not in this checkout
    if (const std::string passphrase = passphrase_of(tree.fixture); !passphrase.empty()) {
      arguments += " --key-file " + file("key-" + tree.fixture, passphrase);
    }
    if (tree.fixture == "luks2-keyfile") {
      arguments += " --key-file '" + fixture_key("keys/keyfile.bin") + "'";
    }
    if (tree.fixture == "luks2-detached") {
      arguments += " --header luks2-det-data='" + fixture_image("luks2-det-header") + "'";
    }
    const Outputs said = peelfs_apart("hash -q --all" + arguments);
    const auto digests = digests_in(said.output);
    for (const ExpectedDevice& device : tree.devices) {
      if (device.oracle.empty()) continue;
      const Truth truth = truth_of(tree.fixture, device.oracle);
      if (truth.sha256.empty()) continue;
      const auto found = digests.find(device.name);
      if (device.state.empty()) {
        ASSERT_NE(found, digests.end()) << tree.fixture << " " << device.name << said.errors;
      }
      if (found == digests.end()) {
        EXPECT_TRUE(has(said.errors, device.name + " has no digest")) << device.name;
        EXPECT_EQ(said.exit_code, 1);
        continue;
      }
      EXPECT_EQ(found->second, truth.sha256) << tree.fixture << " " << device.name;
      ++compared;
    }
  }
  EXPECT_GE(compared, 50U);
}

TEST_F(Hash, KnowsQcow2WithSnapshotsAndCompressedClusters) {
  SKIP_WITHOUT("qemu-img");
  SKIP_WITHOUT("qemu-io");
  const std::string image = folder_ / "packed.qcow2";
  must_run("qemu-img convert -c -O qcow2 " + disk_ + " " + image + " && qemu-img snapshot -c one " +
           image + " && qemu-io -c 'write -P 7 5M 3M' " + image +
           " >/dev/null && qemu-img convert " + image + " -O raw " + (folder_ / "now"));
  const auto some = digests_in(must_run(PEELFS_PROGRAM " hash -q " + image));
  EXPECT_EQ(some.at("packed"), must_run("sha256sum <" + (folder_ / "now")).substr(0, 64));
  EXPECT_EQ(some.size(), 3U);
  const Outputs without = peelfs_apart("hash " + image);
  EXPECT_EQ(without.exit_code, 0) << without.errors;
  EXPECT_TRUE(has(without.errors, "in snapshots are left out; --all")) << without.errors;
  const auto all = digests_in(must_run(PEELFS_PROGRAM " hash -q --all " + image));
  EXPECT_EQ(all.at("packed@one"), must_run("sha256sum <" + disk_).substr(0, 64));
  EXPECT_EQ(all.at("packed@onep2"), second_);
  // An overlay, through its backing file, and a VHD of the same bytes.
  must_run("cd " + folder_.path() + " && qemu-img create -q -f qcow2 -b disk.img -F raw top.qcow2" +
           " && qemu-img convert -O vpc -o force_size disk.img disk.vhd");
  EXPECT_EQ(digests_in(must_run(PEELFS_PROGRAM " hash -q " + (folder_ / "top.qcow2"))).at("topp2"),
            second_);
  EXPECT_EQ(
      digests_in(must_run(PEELFS_PROGRAM " hash -q vhd=" + (folder_ / "disk.vhd"))).at("vhdp2"),
      second_);
}

TEST_F(Hash, NamedDevicesComeInTheirOrder) {
  const std::string said =
      must_run(PEELFS_PROGRAM " hash " + disk_ + " diskp2 disk LABEL=cliroot " + "diskp2");
  std::istringstream lines(said);
  std::vector<std::string> names;
  for (std::string line; std::getline(lines, line);) names.push_back(line.substr(66));
  EXPECT_EQ(names, (std::vector<std::string>{"diskp2", "disk", "diskp1"}));
  EXPECT_EQ(must_run(PEELFS_PROGRAM " hash " + disk_ + " -- diskp2"), second_ + "  diskp2\n");
  // A name that is also a file must stand behind --.
  file("diskp2", "");
  EXPECT_EQ(must_run("cd " + folder_.path() + " && " PEELFS_PROGRAM " hash disk.img -- diskp2"),
            second_ + "  diskp2\n");
  const Outputs nothing = peelfs_apart("hash " + disk_ + " diskp3");
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_TRUE(has(nothing.errors, "did you mean")) << nothing.errors;
  const Outputs mixed = peelfs_apart("hash " + disk_ + " diskp2 " + disk_);
  EXPECT_EQ(mixed.exit_code, 2);
  EXPECT_TRUE(has(mixed.errors, "all sources first")) << mixed.errors;
  // With what lies in it.
  const auto within = digests_in(must_run(PEELFS_PROGRAM " hash --all " + disk_ + " disk"));
  EXPECT_EQ(within.size(), 3U);
}

TEST_F(Hash, EscapesNamesAsCoreutilsDo) {
  SKIP_IF_CANNOT_MOUNT();
  must_run("cd " + folder_.path() +
           " && mkdir odd p && head -c 1000 /dev/urandom >'odd/a\\b.img' && " +
           "head -c 77 /dev/urandom >'odd/new\nline.img' && : >odd/empty.img");
  const std::string list = folder_ / "list";
  must_run(PEELFS_PROGRAM " hash -q " + (folder_ / "odd") + " >" + list);
  EXPECT_TRUE(has(must_run("cat " + list), "\n\\")) << must_run("cat " + list);
  EXPECT_TRUE(has(must_run("cat " + list),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  empty\n"));
  must_run(PEELFS_PROGRAM " -q " + (folder_ / "odd") + " " + (folder_ / "p"));
  const CommandResult checked = run("cd " + (folder_ / "p") + " && sha256sum --strict -c " + list);
  must_run(PEELFS_PROGRAM " umount " + (folder_ / "p"));
  EXPECT_EQ(checked.exit_code, 0) << checked.output;
  EXPECT_EQ(peelfs_apart("hash -q -c " + list + " " + (folder_ / "odd")).exit_code, 0);
}

TEST_F(Hash, ChecksALine) {
  const std::string list = folder_ / "list";
  must_run(PEELFS_PROGRAM " hash " + disk_ + " >" + list);
  const Outputs good = peelfs_apart("hash -c " + list + " " + disk_);
  EXPECT_EQ(good.exit_code, 0) << good.errors;
  EXPECT_EQ(good.output, "disk: OK\ndiskp1: OK\ndiskp2: OK\n");
  EXPECT_EQ(good.errors, "");
  EXPECT_EQ(peelfs_apart("hash -q -c - " + disk_ + " <" + list).output, "");
  // One that was made in a mount, by names with ./
  must_run("sed 's,  ,  ./,' " + list + " >" + (folder_ / "dots"));
  EXPECT_EQ(peelfs("hash -c " + (folder_ / "dots") + " " + disk_).exit_code, 0);

  must_run("sed -i '2s/^./X/' " + list);
  const Outputs malformed = peelfs_apart("hash -c " + list + " " + disk_);
  EXPECT_EQ(malformed.exit_code, 1);
  EXPECT_TRUE(has(malformed.errors, "line 2: no digest")) << malformed.errors;
  EXPECT_TRUE(has(malformed.output, "diskp2: OK"));

  must_run("printf '%064d  diskp2\\n%064d  nosuch\\n# a remark\\n\\n' 0 0 >" + list);
  const Outputs wrong = peelfs_apart("hash -c " + list + " " + disk_);
  EXPECT_EQ(wrong.exit_code, 1);
  EXPECT_EQ(wrong.output, "diskp2: FAILED\nnosuch: FAILED open or read\n");
  EXPECT_TRUE(has(wrong.errors, "1 of 2 digests do not match")) << wrong.errors;
  EXPECT_TRUE(has(wrong.errors, "line 2: nosuch: there is no such device")) << wrong.errors;
  const auto json = nlohmann::json::parse(peelfs_apart("hash -J -c " + list + " " + disk_).output);
  EXPECT_EQ(json["checked"][0]["result"], "failed");
  EXPECT_EQ(json["checked"][0]["found"], second_);
  EXPECT_EQ(json["checked"][1]["result"], "missing");

  for (const char* text : {"", "# nothing\n", "hello\n", "abc  diskp2\n"}) {
    const Outputs none = peelfs_apart("hash -c " + file("none", text) + " " + disk_);
    EXPECT_EQ(none.exit_code, 2) << text;
    EXPECT_TRUE(has(none.errors, "no line of")) << none.errors;
  }
  const Outputs gone = peelfs_apart("hash -c " + (folder_ / "gone") + " " + disk_);
  EXPECT_EQ(gone.exit_code, 2);
  EXPECT_TRUE(has(gone.errors, "No such file")) << gone.errors;
  // With --all what the list does not name is said.
  must_run("echo '" + second_ + "  diskp2' >" + list);
  const Outputs part = peelfs_apart("hash --all -c " + list + " " + disk_);
  EXPECT_EQ(part.exit_code, 1);
  EXPECT_TRUE(has(part.errors, "diskp1 is not in the list")) << part.errors;
}

TEST_F(Hash, ChecksListsOfOtherTools) {
  SKIP_WITHOUT("openssl");
  for (const std::string command : {"md5sum", "sha1sum", "sha512sum --tag", "openssl dgst -sha256",
                                    "openssl dgst -sha3-512", "b2sum --tag"}) {
    must_run("cd " + folder_.path() + " && ln -f disk.img disk && " + command + " disk >list");
    const Outputs checked = peelfs_apart("hash -c " + (folder_ / "list") + " " + disk_);
    EXPECT_EQ(checked.exit_code, 0) << command << checked.errors;
    EXPECT_EQ(checked.output, "disk: OK\n") << command;
  }
  // A plain list of BLAKE2b looks like one of SHA-512.
  must_run("cd " + folder_.path() + " && b2sum disk >list");
  EXPECT_EQ(peelfs("hash -c " + (folder_ / "list") + " " + disk_).exit_code, 1);
  EXPECT_EQ(peelfs("hash -a blake2b -c " + (folder_ / "list") + " " + disk_).exit_code, 0);
}

TEST_F(Hash, PiecesAreThoseOfSplit) {
  const std::string said = must_run(PEELFS_PROGRAM " hash --piecewise 3M " + disk_ + " disk");
  const std::string expected = must_run(
      "cd " + folder_.path() + " && split -b 3M -d -a 3 disk.img part. && sha256sum part.*");
  std::istringstream ours(said);
  std::istringstream theirs(expected);
  std::string line;
  std::string other;
  std::uint64_t at = 0;
  while (std::getline(theirs, other)) {
    ASSERT_TRUE(std::getline(ours, line));
    const std::uint64_t end = std::min<std::uint64_t>(at + (3U << 20U), fs::file_size(disk_));
    EXPECT_EQ(line, other.substr(0, 64) + "  disk offset " + std::to_string(at) + "-" +
                        std::to_string(end - 1));
    at = end;
  }
  EXPECT_FALSE(std::getline(ours, line)) << line;
  EXPECT_EQ(at, fs::file_size(disk_));
  const Outputs checked =
      peelfs_apart("hash -c " + file("list", said + second_ + "  diskp2\n") + " " + disk_);
  EXPECT_EQ(checked.exit_code, 0) << checked.errors;
  // A list may hold pieces that overlap, and that are not there.
  const std::string whole = must_run(PEELFS_PROGRAM " hash " + disk_ + " disk");
  const std::string small = must_run(PEELFS_PROGRAM " hash --piecewise 1M " + disk_ + " disk");
  EXPECT_EQ(peelfs("hash -c " + file("list", small + whole + said) + " " + disk_).exit_code, 0);
  const Outputs far = peelfs_apart(
      "hash -c " + file("list", second_ + "  disk offset 1048576-99999999999\n") + " " + disk_);
  EXPECT_EQ(far.exit_code, 1);
  EXPECT_TRUE(has(far.errors, "the device ends before")) << far.errors;
}

TEST_F(Hash, TellsProgramsInJson) {
  const auto json =
      nlohmann::json::parse(must_run(PEELFS_PROGRAM " hash --json -a sha256,md5 " + disk_));
  ASSERT_EQ(json["devices"].size(), 3U);
  EXPECT_EQ(json["devices"][2]["name"], "diskp2");
  EXPECT_EQ(json["devices"][2]["digests"]["sha256"], second_);
  EXPECT_EQ(json["devices"][0]["digests"]["md5"], must_run("md5sum <" + disk_).substr(0, 32));
  EXPECT_EQ(json["devices"][0]["size"], fs::file_size(disk_));
  const auto pieces = nlohmann::json::parse(
      must_run(PEELFS_PROGRAM " hash --json --piecewise 8M " + disk_ + " disk"));
  EXPECT_EQ(pieces["devices"][0]["pieces"][1]["offset"], 8U << 20U);
}

TEST_F(Hash, OfALockedDeviceIsOnlyThatOfItsBytes) {
  SKIP_WITHOUT("qemu-img");
  const std::string luks = folder_ / "luks.img";
  make_luks(luks, disk_, "pass");
  const Outputs locked = peelfs_apart("hash --no-prompt " + luks);
  EXPECT_EQ(locked.exit_code, 1);
  EXPECT_EQ(digests_in(locked.output).size(), 1U);
  EXPECT_EQ(digests_in(locked.output).at("luks"), must_run("sha256sum <" + luks).substr(0, 64));
  EXPECT_TRUE(has(locked.errors, "luks: only its own bytes have a digest")) << locked.errors;
  EXPECT_TRUE(has(locked.errors, "locked")) << locked.errors;
  EXPECT_EQ(peelfs("hash --no-prompt " + luks + " luks").exit_code, 0);
  const Outputs open = peelfs_apart("hash --key-file " + file("key", "pass") + " " + luks);
  EXPECT_EQ(open.exit_code, 0) << open.errors;
  EXPECT_EQ(digests_in(open.output).at("luks_cryptp2"), second_);
}

TEST_F(Hash, OfATruncatedImageIsThatOfWhatIsThere) {
  must_run("truncate -s 11M " + disk_);
  const Outputs said = peelfs_apart("hash " + disk_);
  EXPECT_EQ(said.exit_code, 1);
  const auto digests = digests_in(said.output);
  EXPECT_EQ(digests.at("disk"), must_run("sha256sum <" + disk_).substr(0, 64));
  EXPECT_TRUE(digests.contains("diskp1"));
  EXPECT_FALSE(digests.contains("diskp2")) << said.output;
  EXPECT_TRUE(has(said.errors, "diskp2 has no digest: ")) << said.errors;
  // Of its pieces those that are there have one.
  const Outputs pieces = peelfs_apart("hash --piecewise 1M " + disk_ + " diskp2");
  EXPECT_EQ(pieces.exit_code, 1);
  EXPECT_TRUE(has(pieces.output, "diskp2 offset 1048576-2097151")) << pieces.output;
  EXPECT_FALSE(has(pieces.output, "diskp2 offset 2097152")) << pieces.output;
  EXPECT_TRUE(has(pieces.errors, "diskp2 offset 2097152-4194303 has no digest")) << pieces.errors;
  const auto json = nlohmann::json::parse(peelfs_apart("hash --json " + disk_ + " diskp2").output);
  EXPECT_TRUE(json["devices"][0]["digests"].is_null());
  EXPECT_TRUE(json["devices"][0].contains("reason"));
}

TEST_F(Hash, OfASparseFileDoesNotReadItsHoles) {
  SKIP_WITHOUT("strace");
  must_run("truncate -s 1G " + disk_);
  const std::string trace = folder_ / "trace";
  must_run("strace -f --seccomp-bpf -o " + trace +
           " -e trace=preadv,pread64,preadv2 " PEELFS_PROGRAM " hash " + disk_ + " disk >" +
           (folder_ / "list"));
  EXPECT_EQ(must_run("cat " + (folder_ / "list")).substr(0, 64),
            must_run("sha256sum <" + disk_).substr(0, 64));
  const std::string sum = must_run("awk '{ n += $NF } END { print n }' " + trace);
  EXPECT_LT(std::stoull(sum), 100ULL << 20U) << sum;
}

TEST_F(Hash, WritesNothing) {
  SKIP_WITHOUT("strace");
  const std::string trace = folder_ / "trace";
  const std::string before = must_run("sha256sum <" + disk_);
  must_run("strace -f --seccomp-bpf -o " + trace + " -e trace=%file " PEELFS_PROGRAM " hash " +
           disk_ + " >" + (folder_ / "list"));
  EXPECT_NE(run("grep -c disk.img " + trace).output, "0\n");
  const std::string changing =
      "O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|creat\\(|unlink|rename|mkdir|truncate|[^d]link|chmod|utime";
  EXPECT_EQ(run("grep -E '" + changing + "' " + trace).output, "");
  EXPECT_EQ(must_run("sha256sum <" + disk_), before);
}

TEST_F(Hash, OfASourceThatAGuestWritesIsNone) {
  SKIP_WITHOUT("qemu-storage-daemon");
  const std::string other = folder_ / "other.img";
  must_run("cp " + disk_ + " " + other);
  const CommandResult result = run(
      "cd " + folder_.path() +
      " && qemu-storage-daemon --blockdev driver=file,node-name=f,filename=disk.img --nbd-server "
      "addr.type=unix,addr.path=s --export nbd,id=e,node-name=f,writable=on --daemonize "
      "--pidfile pid && " PEELFS_PROGRAM
      " hash disk.img other.img; code=$?; kill $(cat pid); exit "
      "$code");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(has(result.output, "diskp2 has no digest: denied: disk.img is being written by"))
      << result.output;
  EXPECT_TRUE(has(result.output, "  otherp2\n")) << result.output;
  EXPECT_FALSE(has(result.output, "  diskp2\n")) << result.output;
}

TEST_F(Hash, OfASourceThatChangesMeanwhileIsNone) {
  must_run("truncate -s 1G " + disk_);  // takes most of a second
  const CommandResult result =
      run("(while :; do touch " + disk_ + "; sleep 0.1; done) & " PEELFS_PROGRAM " hash " + disk_ +
          "; code=$?; kill $!; exit $code");
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_TRUE(has(result.output, "disk has no digest: io: ")) << result.output;
  EXPECT_TRUE(has(result.output, "was changed while it was read")) << result.output;
  EXPECT_FALSE(has(result.output, "  disk\n")) << result.output;
}

TEST_F(Hash, DrawsABarAndEndsAtOnceByCtrlC) {
  must_run("truncate -s 300G " + disk_);
  Terminal terminal("exec " PEELFS_PROGRAM " hash " + disk_ + " >" + (folder_ / "list"));
  ASSERT_TRUE(terminal.wait_for("hashing  ")) << terminal.screen();
  const auto begin = std::chrono::steady_clock::now();
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 128 + SIGINT);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(2));
  EXPECT_EQ(fs::file_size(folder_ / "list"), 0U);
}

TEST_F(Hash, LooksThroughOverlays) {
  SKIP_IF_CANNOT_MOUNT();
  const std::string overlays = folder_ / "ov";
  must_run("mkdir " + (folder_ / "p") + " " + overlays + " && " PEELFS_PROGRAM " --overlay " +
           overlays + " " + disk_ + " " + (folder_ / "p") +
           " && printf changed | dd of=" + (folder_ / "p/diskp2") +
           " bs=1 seek=5000 conv=notrunc status=none && sha256sum <" + (folder_ / "p/diskp2") +
           " >" + (folder_ / "sum") + " && " PEELFS_PROGRAM " umount " + (folder_ / "p"));
  EXPECT_EQ(must_run(PEELFS_PROGRAM " hash --overlay " + overlays + " " + disk_ + " diskp2")
                .substr(0, 64),
            must_run("cat " + (folder_ / "sum")).substr(0, 64));
  EXPECT_EQ(must_run(PEELFS_PROGRAM " hash " + disk_ + " diskp2"), second_ + "  diskp2\n");
}

TEST_F(Hash, NamesMistakes) {
  const std::pair<std::string, std::string> table[] = {
      {"-a sha257 " + disk_, "sha256, md5, sha1"},
      {"-a '' " + disk_, "no digest is called so"},
      {"--piecewise 0 " + disk_, "at least 1"},
      {"--piecewise x " + disk_, "no number of bytes"},
      {"--piecewise 1 " + disk_, "take larger ones"},
      {"-c list " + disk_ + " diskp2", "exclude each other"},
      {"-c list --piecewise 1M " + disk_, "exclude each other"},
      {"-c list --tag " + disk_, "exclude each other"},
      {"-j 0 " + disk_, "from 1 to 256"},
      {"", "no SOURCE is named"},
      {"-- diskp2", "no SOURCE is named"},
      {"/no/such.img", "No such file"},
  };
  for (const auto& [arguments, says] : table) {
    const Outputs said = peelfs_apart("hash " + arguments);
    EXPECT_EQ(said.exit_code, 2) << arguments;
    EXPECT_TRUE(has(said.errors, says)) << arguments << ": " << said.errors;
    EXPECT_EQ(said.output, "") << arguments;
  }
}

TEST_F(Hash, ExportTellsTheDigestOfItsCopy) {
  const std::string copy = folder_ / "copy";
  const Outputs said = peelfs_apart("export " + disk_ + " diskp2 " + copy);
  EXPECT_EQ(said.exit_code, 0);
  EXPECT_EQ(said.output, "SHA256 (" + copy + ") = " + second_ + "\n");
  EXPECT_EQ(said.errors, "");
  must_run("echo '" + said.output + "' | sha256sum -c");
  const Outputs md5 = peelfs_apart("export -q --force --digest md5 " + disk_ + " disk " + copy);
  EXPECT_EQ(md5.output,
            "MD5 (" + copy + ") = " + must_run("md5sum <" + disk_).substr(0, 32) + "\n");
  for (const char* options : {"-q", "--digest none"}) {
    EXPECT_EQ(
        peelfs_apart(std::string("export --force ") + options + " " + disk_ + " diskp2 " + copy)
            .output,
        "");
  }
  // The copy is on standard output; its digest must not be.
  const Outputs piped = peelfs_apart("export --digest sha256 " + disk_ + " diskp2 -");
  EXPECT_EQ(piped.output.size(), 4U << 20U);
  EXPECT_EQ(piped.errors, "peelfs: SHA256 (-) = " + second_ + "\n");
  EXPECT_EQ(peelfs_apart("export " + disk_ + " diskp2 -").errors, "");
  EXPECT_EQ(peelfs_apart("export --digest x " + disk_ + " diskp2 " + copy).exit_code, 2);
}

TEST_F(Hash, ExportDoesNotWaitForTheDigestOfHoles) {
  must_run("truncate -s 200G " + disk_);
  const std::string copy = folder_ / "copy";
  const auto begin = std::chrono::steady_clock::now();
  const Outputs said = peelfs_apart("export " + disk_ + " disk " + copy);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(said.exit_code, 0) << said.errors;
  EXPECT_EQ(said.output, "");
  // Of a small device its holes count in.
  must_run("truncate -s 100M " + disk_);
  EXPECT_EQ(peelfs_apart("export --force " + disk_ + " disk " + copy).output,
            "SHA256 (" + copy + ") = " + must_run("sha256sum <" + disk_).substr(0, 64) + "\n");
}

TEST_F(Hash, ExportTellsTheDigestOfACopyWithBadPlaces) {
  must_run("truncate -s 11M " + disk_);
  const std::string copy = folder_ / "copy";
  const Outputs said = peelfs_apart("export " + disk_ + " diskp2 " + copy);
  EXPECT_EQ(said.exit_code, 1);
  EXPECT_TRUE(has(said.errors, "they are zeroes in the copy")) << said.errors;
  EXPECT_EQ(said.output,
            "SHA256 (" + copy + ") = " + must_run("sha256sum <" + copy).substr(0, 64) + "\n");
}

// Standard output and FILE may be one file: the digest must not get into the copy.
TEST_F(Hash, ExportDoesNotWriteItsDigestIntoTheCopy) {
  const std::string copy = folder_ / "copy";
  for (const std::string& command : {"/dev/stdout >" + copy, copy + " >" + copy,
                                     copy + " >>" + copy, copy + " >" + copy + " 2>&1"}) {
    must_run("rm -f " + copy + " && : >" + copy);
    const CommandResult done =
        run(PEELFS_PROGRAM " export --force " + disk_ + " diskp2 " + command);
    EXPECT_EQ(done.exit_code, 0) << command << done.output;
    EXPECT_EQ(must_run("sha256sum <" + copy).substr(0, 64), second_) << command;
  }
}

// What is a hole in the device is one in the copy, whatever lay there.
TEST_F(Hash, AResumedCopyHoldsNoOldBytes) {
  const std::string sparse = folder_ / "sparse.img";
  must_run("head -c 1M /dev/urandom >" + sparse + " && truncate -s 4M " + sparse);
  const std::string copy = folder_ / "copy";
  const std::string map = folder_ / "map";
  for (const char* const how : {"auto", "always", "never"}) {
    must_run("head -c 4M /dev/urandom >" + copy + " && printf '0x0 ?\\n0x0 0x400000 ?\\n' >" + map);
    const CommandResult done =
        run(PEELFS_PROGRAM " export --sparse " + std::string(how) + " --map-file " + map +
            " --resume " + sparse + " sparse " + copy);
    EXPECT_EQ(done.exit_code, 0) << done.output;
    EXPECT_FALSE(has(done.output, "SHA256")) << "what was there before was not read";
    EXPECT_EQ(run("cmp " + sparse + " " + copy).exit_code, 0) << how;
  }
}

TEST_F(Hash, ADigestThatTakesLongIsNotWaitedForAfterCtrlC) {
  SKIP_WITHOUT("qemu-img");
  const std::string big = folder_ / "big.qcow2";
  must_run("qemu-img create -q -f qcow2 " + big + " 200G");
  Terminal person("exec " PEELFS_PROGRAM " export --digest sha256 " + big + " big " +
                  (folder_ / "out"));
  std::this_thread::sleep_for(std::chrono::seconds(3));
  person.type("\x03");
  EXPECT_EQ(person.finish(std::chrono::seconds(20)), 128 + SIGINT) << person.screen();
}

TEST_F(Hash, AWordThatIsAFileAndADeviceIsNotGuessed) {
  file("diskp1", "a copy, perhaps");
  const CommandResult done =
      run("cd " + folder_.path() + " && " PEELFS_PROGRAM " hash disk.img diskp1 2>&1");
  EXPECT_EQ(done.exit_code, 2) << done.output;
  EXPECT_TRUE(has(done.output, "is a file here")) << done.output;
  for (const char* const clear : {"disk.img ./diskp1", "disk.img -- diskp1"}) {
    EXPECT_EQ(run("cd " + folder_.path() + " && " PEELFS_PROGRAM " hash " + clear).exit_code, 0)
        << clear;
  }
}

TEST_F(Hash, ATimeThatWasSetBackHidesNoChange) {
  const std::string image = folder_ / "s.img";
  must_run("head -c 300M /dev/urandom >" + image + " && touch -d 2020-01-01 " + image);
  const CommandResult done =
      run("(sleep 0.4; printf evil | dd status=none of=" + image +
          " bs=1 seek=100 conv=notrunc; touch -d 2020-01-01 " + image +
          ") & " PEELFS_PROGRAM " hash -j1 -a sha256,md5,sha1,sha512,blake2b,sha3-512 " + image +
          " 2>&1; code=$?; wait; exit $code");
  EXPECT_EQ(done.exit_code, 1) << done.output;
  EXPECT_TRUE(has(done.output, "was changed while it was read")) << done.output;
}

}  // namespace
}  // namespace peelfs::test

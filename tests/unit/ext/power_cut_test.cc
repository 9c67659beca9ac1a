// Cuts the power at every sort of moment while files grow and holes are filled.
#include "support/recording.h"
#include "write_support.h"

namespace peelfs::test {
namespace {

/// What of a file must be there after a cut.
struct Promise {
  std::size_t position = 0;  ///< in the log: what was flushed when
  Buffer bytes;
};

struct Written {
  std::size_t position = 0;  ///< in the log, when the write began
  std::uint64_t begin = 0, end = 0;
};

struct Session {
  std::vector<Promise> promises;
  std::vector<Written> writes;
};

Session work(const BlockDevice& device, const RecordingDevice& disk, Buffer model,
             std::uint64_t seed) {
  Session session;
  session.promises.push_back({0, model});
  std::mt19937_64 random(seed);
  for (int round = 0; round < 40; ++round) {
    const bool append = random() % 2 == 0;
    const std::uint64_t offset =
        append ? model.size() + random() % 3 * 5000 : random() % model.size();
    const Buffer bytes = pattern(1 + random() % 30'000, random());
    session.writes.push_back({disk.position(), offset, offset + bytes.size()});
    write_both(device, model, offset, bytes);
    if (random() % 3 != 0) continue;
    device.flush();
    session.promises.push_back({disk.position(), model});
    if (random() % 3 == 0) device.flush();  // clean again
  }
  return session;
}

/// "" or what of a promise was broken.
std::string broken(const Session& session, std::size_t cut, const Buffer& found) {
  const Promise* kept = &session.promises.front();
  for (const Promise& promise : session.promises) {
    if (promise.position <= cut) kept = &promise;
  }
  if (found.size() < kept->bytes.size()) return "the file has become shorter";
  std::vector<bool> may_differ(kept->bytes.size(), false);
  for (const Written& one : session.writes) {
    if (one.position < kept->position) continue;
    for (std::uint64_t at = one.begin; at < one.end && at < may_differ.size(); ++at) {
      may_differ[at] = true;
    }
  }
  for (std::size_t at = 0; at < may_differ.size(); ++at) {
    if (!may_differ[at] && found[at] != kept->bytes[at]) {
      return "byte " + std::to_string(at) + ", which was flushed, is lost";
    }
  }
  return "";
}

TEST_F(ExtWrite, PowerCuts) {
  std::uint64_t seed = 1;
  for (const std::string& kind : kinds()) {
    for (const std::string name : {"sparse.img", "many.img"}) {
      const auto disk = std::make_shared<RecordingDevice>(make(kind));
      const Buffer before = dump(name);
      Session session;
      {
        const DevicePtr device = SeenImage(disk).at(name).device->growable();
        session = work(*device, *disk, before, ++seed);
      }
      put_image(disk->bytes());
      ASSERT_EQ(fsck("-fn"), 0) << kind << "\n" << said_;
      std::mt19937_64 random(seed);
      const char* many = std::getenv("PEELFS_POWER_CUTS");  // of each kind of filesystem and file
      const int cuts = many != nullptr ? std::atoi(many) : 8;
      for (int cut = 0; cut < cuts; ++cut) {
        const std::size_t position = random() % (disk->position() + 1);
        put_image(disk->after_power_cut(position, random, cut % 4 == 0));
        const int code = fsck("-fy");
        ASSERT_LE(code, 1) << kind << " " << name << " cut at " << position << "\n" << said_;
        ASSERT_EQ(fsck("-fn"), 0) << kind << "\n" << said_;
        ASSERT_EQ(broken(session, position, dump(name)), "")
            << kind << " " << name << " cut at " << position << " of " << disk->position();
        ASSERT_TRUE(dump("other.img") == pattern(300'000, 5)) << kind;
        ASSERT_TRUE(dump("plain.img") == pattern(200'000, 1)) << kind;
      }
    }
  }
}

}  // namespace
}  // namespace peelfs::test

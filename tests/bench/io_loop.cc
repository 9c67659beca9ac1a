// Reads or writes one file in a loop, and prints as JSON how far it came:
//
//   peelfs_bench_io_loop [OPTION=VALUE]... FILE
//
//   work=read|write     what is done (read). Writes put into every block where it lies, and bytes
//                       that depend on `seed`.
//        verify         reads, and fails unless there is what work=write with the same other
//                       options has put there
//   order=seq           one block behind the other; with several jobs each has its own part
//         random        blocks anywhere
//         touch         every operation in another piece of `stride` bytes, at a place in it that
//                       depends on `seed`: the same seed goes to the same places again
//   block=BYTES         of each operation (1048576)
//   stride=BYTES        for order=touch (65536)
//   sync=0|1            every write is followed by fdatasync (0)
//   jobs=N              threads, each with a descriptor of its own (1)
//   direct=0|1          O_DIRECT (0)
//   cold=0|1            FILE's own pages are dropped from the page cache before and after (0).
//                       What FILE is made from stays there.
//   seconds=S           ends then, at the latest (1)
//   limit=BYTES         ends when all jobs together have come that far (size of FILE)
//   seed=N              of the random places (1)
//
// The time is from the first operation to the end of the last. Nothing is printed but one line:
// {"bytes": N, "operations": N, "seconds": S, "resident": F}, where resident is the part of FILE
// that was in the page cache when the loop began.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/fs.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  bool write = false, verify = false, direct = false, cold = false, sync = false;
  enum class Order { seq, random, touch } order = Order::seq;
  std::uint64_t block = 1U << 20U, stride = 65536, limit = 0, seed = 1;
  unsigned jobs = 1;
  double seconds = 1;
  std::string file;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Options parse(int count, char** arguments) {
  Options options;
  std::map<std::string, std::string> values;
  for (int at = 1; at < count; ++at) {
    const std::string text = arguments[at];
    const std::size_t equals = text.find('=');
    if (text.front() == '/' || equals == std::string::npos) {
      options.file = text;
    } else {
      values[text.substr(0, equals)] = text.substr(equals + 1);
    }
  }
  const auto take = [&](const std::string& name, const std::string& otherwise) {
    const auto found = values.extract(name);
    return found.empty() ? otherwise : found.mapped();
  };
  const std::string work = take("work", "read"), order = take("order", "seq");
  options.write = work == "write";
  options.verify = work == "verify";
  options.order = order == "random"  ? Options::Order::random
                  : order == "touch" ? Options::Order::touch
                                     : Options::Order::seq;
  options.block = std::stoull(take("block", "1048576"));
  options.stride = std::stoull(take("stride", "65536"));
  options.jobs = static_cast<unsigned>(std::stoul(take("jobs", "1")));
  options.direct = take("direct", "0") == "1";
  options.cold = take("cold", "0") == "1";
  options.sync = take("sync", "0") == "1";
  options.seconds = std::stod(take("seconds", "1"));
  options.limit = std::stoull(take("limit", "0"));
  options.seed = std::stoull(take("seed", "1"));
  if (!values.empty() || options.file.empty() || options.block == 0 || options.jobs == 0 ||
      (order == "touch" && options.stride < options.block) ||
      (work != "read" && work != "write" && work != "verify") ||
      (order != "seq" && order != "random" && order != "touch")) {
    throw std::invalid_argument("usage: [OPTION=VALUE]... FILE; see the head of io_loop.cc");
  }
  return options;
}

class File {
 public:
  File(const std::string& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC)) {
    if (descriptor_ < 0) fail("cannot open " + path);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { ::close(descriptor_); }
  int get() const { return descriptor_; }
  std::uint64_t size() const {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0) fail("fstat");
    std::uint64_t size = static_cast<std::uint64_t>(status.st_size);
    if (S_ISBLK(status.st_mode) && ::ioctl(descriptor_, BLKGETSIZE64, &size) != 0) {
      fail("BLKGETSIZE64");
    }
    return size;
  }

 private:
  const int descriptor_;
};

/// @return the part of the file that is in the page cache: 0 to 1
double resident(const File& file, std::uint64_t size) {
  void* const memory = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (memory == MAP_FAILED) fail("mmap, to see what is cached");
  std::vector<unsigned char> pages((size + 4095) / 4096);
  const int result = ::mincore(memory, size, pages.data());
  ::munmap(memory, size);
  if (result != 0) fail("mincore");
  std::size_t cached = 0;
  for (const unsigned char page : pages) cached += page & 1U;
  return static_cast<double>(cached) / static_cast<double>(pages.size());
}

/// splitmix64: every state gives another number.
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30U)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27U)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31U);
}

/// Where operation `index` of a run goes. A job does the operations job, job + jobs, ... except in
/// order=seq, where each has a part of the file.
class Places {
 public:
  Places(const Options& options, std::uint64_t size)
      : options_(options),
        blocks_(size / options.block),
        pieces_(size / options.stride),
        // Odd and near the golden section of a power of two: visits each piece once.
        step_(pieces_ == 0 ? 0 : (pieces_ * 618 / 1000) | 1U) {
    if (blocks_ < options.jobs || (options.order == Options::Order::touch && pieces_ == 0)) {
      throw std::invalid_argument("the file is too small for this");
    }
    while (options.order == Options::Order::touch && common_divisor(step_, pieces_) != 1) {
      step_ += 2;
    }
  }
  /// @return how many operations there are until places repeat, for one job
  std::uint64_t count() const {
    return (options_.order == Options::Order::touch ? pieces_ : blocks_) / options_.jobs;
  }
  std::uint64_t at(unsigned job, std::uint64_t index) const {
    const std::uint64_t serial = index * options_.jobs + job;
    switch (options_.order) {
      case Options::Order::seq:
        return (job * count() + index % count()) * options_.block;
      case Options::Order::random:
        return mixed(options_.seed * 0x1000003U + serial) % blocks_ * options_.block;
      case Options::Order::touch:
        break;
    }
    const std::uint64_t piece = (serial + options_.seed) * step_ % pieces_;
    const std::uint64_t choices = options_.stride / options_.block;
    return piece * options_.stride + mixed(options_.seed + piece) % choices * options_.block;
  }

 private:
  static std::uint64_t common_divisor(std::uint64_t a, std::uint64_t b) {
    while (b != 0) {
      a %= b;
      std::swap(a, b);
    }
    return a;
  }
  const Options& options_;
  std::uint64_t blocks_, pieces_, step_;
};

struct Result {
  std::uint64_t bytes = 0, operations = 0;
  Clock::time_point end;
  std::string failure;
};

void loop(const Options& options, const File& file, const Places& places, unsigned job,
          Clock::time_point begin, Result& result) {
  void* const buffer = ::mmap(nullptr, options.block, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (buffer == MAP_FAILED) fail("mmap");
  std::vector<std::uint64_t> words(options.block / 8);
  for (std::uint64_t at = 0; at < words.size(); ++at) words[at] = mixed(at + options.seed);
  std::memcpy(buffer, words.data(), words.size() * 8);
  const auto deadline = begin + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(options.seconds));
  const std::uint64_t once = options.order == Options::Order::random ? UINT64_MAX : places.count();
  const std::uint64_t limit =
      options.limit == 0 ? once : std::min(once, options.limit / options.block / options.jobs);
  for (std::uint64_t index = 0; index < limit; ++index) {
    const auto offset = static_cast<off_t>(places.at(job, index));
    words[0] = static_cast<std::uint64_t>(offset);
    if (options.write) std::memcpy(buffer, words.data(), sizeof(words[0]));
    const ssize_t got = options.write ? ::pwrite(file.get(), buffer, options.block, offset)
                                      : ::pread(file.get(), buffer, options.block, offset);
    if (got < 0) fail((options.write ? "write at " : "read at ") + std::to_string(offset));
    if (got == 0) throw std::runtime_error("the file ends at " + std::to_string(offset));
    if (options.verify && std::memcmp(buffer, words.data(), words.size() * 8) != 0) {
      throw std::runtime_error("what was written at " + std::to_string(offset) + " is not there");
    }
    if (options.sync && ::fdatasync(file.get()) != 0) fail("fdatasync");
    result.bytes += static_cast<std::uint64_t>(got);
    ++result.operations;
    if (Clock::now() >= deadline) break;
  }
  result.end = Clock::now();
  ::munmap(buffer, options.block);
}

int run(const Options& options) {
  const int flags = (options.write ? O_RDWR : O_RDONLY);
  const File plain(options.file, flags);
  const std::uint64_t size = plain.size();
  double cached = 0;
  if (!options.direct) {
    // Pages that are being read ahead for the last reader cannot be dropped yet: try again.
    for (int attempt = 0; attempt < 20; ++attempt) {
      if (options.cold && ::posix_fadvise(plain.get(), 0, 0, POSIX_FADV_DONTNEED) != 0) {
        fail("posix_fadvise");
      }
      cached = resident(plain, size);
      if (!options.cold || cached == 0) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  const Places places(options, size);
  std::vector<Result> results(options.jobs);
  Clock::time_point begin;
  {
    std::barrier ready(static_cast<std::ptrdiff_t>(options.jobs), [&]() noexcept {
      if (begin == Clock::time_point{}) begin = Clock::now();
    });
    std::vector<std::jthread> threads;
    for (unsigned job = 0; job < options.jobs; ++job) {
      threads.emplace_back([&, job] {
        bool waited = false;
        try {
          const File file(options.file, flags | (options.direct ? O_DIRECT : 0));
          ready.arrive_and_wait();
          waited = true;
          loop(options, file, places, job, begin, results[job]);
        } catch (const std::exception& error) {
          results[job].failure = error.what();
          if (!waited) ready.arrive_and_drop();
        }
      });
    }
  }
  if (options.cold && ::posix_fadvise(plain.get(), 0, 0, POSIX_FADV_DONTNEED) != 0) {
    fail("posix_fadvise");
  }
  Result sum;
  sum.end = begin;
  for (const Result& result : results) {
    if (!result.failure.empty()) throw std::runtime_error(result.failure);
    sum.bytes += result.bytes;
    sum.operations += result.operations;
    sum.end = std::max(sum.end, result.end);
  }
  const double seconds = std::chrono::duration<double>(sum.end - begin).count();
  std::printf("{\"bytes\": %llu, \"operations\": %llu, \"seconds\": %.9f, \"resident\": %.6f}\n",
              static_cast<unsigned long long>(sum.bytes),
              static_cast<unsigned long long>(sum.operations), seconds, cached);
  return EXIT_SUCCESS;
}

}  // namespace

int main(int count, char** arguments) {
  try {
    return run(parse(count, arguments));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "io_loop: %s\n", error.what());
    return EXIT_FAILURE;
  }
}

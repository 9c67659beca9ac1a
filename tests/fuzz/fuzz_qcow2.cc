// Fuzzes the qcow2 layer: the input is an image file, which may name itself as its backing file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "peelfs/devices.h"
#include "peelfs/io.h"
#include "peelfs/layer.h"
#include "qcow2/qcow2.h"

namespace peelfs {
namespace {

/// The fuzzer's bytes, not copied.
class InputDevice : public BlockDevice {
 public:
  explicit InputDevice(Bytes bytes) : BlockDevice(bytes.size()), bytes_(bytes) {}
  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
  }
  std::string describe() const override { return "input"; }

 private:
  const Bytes bytes_;
};

/// Any name leads to the input again, a few links deep; a name that begins with "-" to nothing.
class InputReferences : public References {
 public:
  InputReferences(Bytes bytes, unsigned links) : bytes_(bytes), links_(links) {}
  Found open(std::string_view name) const override {
    if (links_ == 0 || name.starts_with('-')) throw Error(Fault::missing, "no such file");
    return {std::make_shared<InputDevice>(bytes_),
            std::make_shared<InputReferences>(bytes_, links_ - 1), std::string(name)};
  }

 private:
  const Bytes bytes_;
  const unsigned links_;
};

/// The end of a computation that an Error may end.
template <typename Function>
void tolerate(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    // The message is made of the input's text: it must have come out printable.
    if (std::strlen(error.what()) == 0) std::abort();
  }
}

void read_all_over(const BlockDevice& device) {
  constexpr std::uint64_t most = 16384;
  const std::uint64_t size = device.size();
  for (const std::uint64_t at : {std::uint64_t{0}, size / 3, size / 2, size - size / 7 - 1,
                                 size - std::min<std::uint64_t>(size, most)}) {
    if (at >= size) continue;
    tolerate([&] { read_bytes(device, at, std::min(most, size - at)); });
    tolerate([&] { read_bytes(device, at, 1); });
  }
  tolerate([&] {
    std::uint64_t at = 0;
    for (int steps = 0; steps < 40 && at < size; ++steps) {
      at += block_status(device, at, size - at).length;
    }
  });
  device.allocated_bytes();
}

void run(Bytes bytes) {
  const auto file = std::make_shared<InputDevice>(bytes);
  const Identity identity;
  const std::optional<Claim> claim = qcow2_probe({*file, identity});
  if (!claim) return;
  KeyRing keys;
  keys.add_for_all(Secret(as_bytes("password")));
  Limits limits;
  limits.kdf_iterations = 2000;
  limits.kdf_memory = 1U << 20U;
  Member member;
  member.device = file;
  member.claim = &*claim;
  member.stem = "os";
  member.unpacks_to_stem = true;
  member.references = std::make_shared<InputReferences>(bytes, 2);
  tolerate([&] {
    const Opened opened = qcow2_open({{&member, 1}, keys, limits, nullptr, 0});
    for (std::size_t i = 0; i < std::min<std::size_t>(opened.devices.size(), 4); ++i) {
      read_all_over(*opened.devices[i].device);
    }
  });
}

}  // namespace
}  // namespace peelfs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  peelfs::run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}

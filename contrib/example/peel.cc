// Lists what is in disk images, and shows the first bytes of one device: peel SOURCE... NAME
#include <cinttypes>
#include <cstdio>

#include "peelfs/error.h"
#include "peelfs/images.h"
#include "peelfs/io.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fputs("usage: peel SOURCE... NAME\n", stderr);
    return 2;
  }
  try {
    peelfs::Images::Request request;
    request.sources.assign(argv + 1, argv + argc - 1);
    const peelfs::Images images(std::move(request));
    for (const peelfs::Images::Device& device : images.devices()) {
      std::printf("%s %s %" PRIu64 " %s\n", device.name.c_str(), device.kind.c_str(),
                  device.bytes->size(), device.format.c_str());
    }
    const auto device = images.find(argv[argc - 1]);
    if (!device) {
      std::fprintf(stderr, "peel: there is no device %s\n", argv[argc - 1]);
      return 1;
    }
    for (const std::byte byte : peelfs::read_up_to(*device->bytes, 0, 16)) {
      std::printf("%02x ", std::to_integer<unsigned>(byte));
    }
    std::puts("");
  } catch (const peelfs::Error& error) {
    std::fprintf(stderr, "peel: %s\n", error.what());
    return 1;
  }
  return 0;
}

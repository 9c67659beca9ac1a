// The default answers of a filesystem.
#include "peelfs/filesystem.h"

#include "peelfs/figure.h"
#include "peelfs/io.h"

namespace peelfs {

namespace {

constexpr std::size_t kMostLinkBytes = 4096;  // as the kernel's PATH_MAX

}  // namespace

std::optional<Filesystem::Id> Filesystem::Reader::find(const Stat& directory, std::string_view name,
                                                       Allowance& allowance) {
  std::optional<Id> found;
  const auto damage = list(directory, allowance, [&](const Entry& entry) {
    if (same_name(entry.name, name)) found = entry.id;
    return !found;
  });
  if (!found && damage) {
    throw Error(damage->fault(),
                "\"" + std::string(name) + "\" is not found in a directory that cannot all be read")
        .found(damage->what());
  }
  if (!found && allowance.ended()) {
    throw Error(Fault::unsupported, "\"" + std::string(name) +
                                        "\" is not found in the first part of directories that are "
                                        "too large to be searched");
  }
  return found;
}

std::string Filesystem::Reader::link_target(const Stat& link) {
  if (link.size == 0 || link.size > kMostLinkBytes) {
    throw Error(Fault::damaged, "a symbolic link has an impossible length")
        .found(figure(link.size) + " bytes")
        .expected("1 to " + std::to_string(kMostLinkBytes));
  }
  const DevicePtr bytes = file(link, "symbolic link");
  return std::string(as_text(read_bytes(*bytes, 0, link.size)));
}

std::vector<Filesystem::Stream> Filesystem::Reader::streams(const Stat&) {
  return {};
}

DevicePtr Filesystem::Reader::stream(const Stat&, const Stream& stream, std::string description) {
  throw Error(Fault::missing, description + " has no stream \"" + stream.name + "\"");
}

void Filesystem::cannot(std::string_view what) const {
  throw Error(Fault::unsupported,
              describe() + ": peelfs cannot " + std::string(what) + " of this filesystem");
}

Filesystem::Id Filesystem::root() const {
  cannot("list the files");
}

std::unique_ptr<Filesystem::Reader> Filesystem::reader() const {
  cannot("list the files");
}

std::vector<Filesystem::OwnedRange> Filesystem::owners(std::span<const ByteRange>) const {
  cannot("tell the owners of the bytes");
}

std::optional<Error> Filesystem::free_space(const std::function<bool(const ByteRange&)>&) const {
  cannot("tell the free space");
}

}  // namespace peelfs

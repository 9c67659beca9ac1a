#include "ext/read/file_device.h"

#include <algorithm>
#include <limits>

#include "ext/write/write_policy.h"
#include "ext/write/writer.h"
#include "peelfs/error.h"

namespace peelfs::ext {

namespace {

/// A file whose blocks lie in the filesystem's device.
class FileDevice : public BlockDevice {
 public:
  struct Parts {
    std::shared_ptr<const Volume> volume;
    std::shared_ptr<FileState> state;
    std::shared_ptr<Writer> writer;  ///< null: it is read-only
    std::string refusal;             ///< why it is
    std::uint64_t greatest = 0;
    std::string description;
  };
  FileDevice(std::uint64_t size, Parts parts) : BlockDevice(size), parts_(std::move(parts)) {}

  Extent map(std::uint64_t offset, std::uint64_t length) const override {
    const FileState::Look look = parts_.state->look(offset, size());
    if (look.size > size()) {
      // A program that copies the file would get a part of it and take it for the whole.
      throw Error(Fault::io, "the file has grown since it was shown here")
          .found(std::to_string(look.size) + " bytes")
          .expected(std::to_string(size()))
          .advice("it is shown anew when whoever writes to the image in it has closed that")
          .with_errno(EIO);
    }
    return extent(look, offset, length);
  }

  Extent map_write(std::uint64_t offset, std::uint64_t length, WriteKind kind) const override {
    parts_.state->about_to_write();
    constexpr std::uint64_t kOfAnySize = std::numeric_limits<std::uint64_t>::max();
    const Extent place = extent(parts_.state->look(offset, kOfAnySize), offset, length);
    if (place.kind == ExtentKind::lower) {
      parts_.writer->check_in_place(place.offset, place.length);
    }
    if (place.kind != ExtentKind::zero || kind != WriteKind::bytes) return place;
    // As much as the writer can take at once: it looks at the map again under its lock.
    return Extent::computed(place.length);
  }
  void store(std::uint64_t offset, Bytes data) const override {
    parts_.writer->store(parts_.state, offset, data);
  }
  std::uint32_t write_granule() const noexcept override { return parts_.volume->block_size(); }
  bool writable() const noexcept override {
    return parts_.writer != nullptr && !parts_.state->relied_on();
  }
  std::string read_only_reason() const override {
    if (const std::string by = parts_.state->relied_on_by(); !by.empty()) {
      return "'" + printable(by) + "' is based on it";
    }
    return parts_.refusal.empty() ? parts_.volume->device().read_only_reason() : parts_.refusal;
  }
  std::shared_ptr<const void> rely_on(const std::string& by) const override {
    return parts_.state->rely_on(by);
  }
  void flush() const override {
    if (parts_.writer) parts_.writer->flush();
  }
  DevicePtr growable() const override {
    return parts_.writer ? std::make_shared<FileDevice>(parts_.greatest, parts_) : nullptr;
  }
  DevicePtr regrown() const override {
    const std::uint64_t now = parts_.state->size();
    return now > size() ? std::make_shared<FileDevice>(now, parts_) : nullptr;
  }

  std::uint64_t allocated_bytes() const override {
    return std::min(size(), parts_.state->allocated_bytes());
  }
  std::string describe() const override { return parts_.description; }

 private:
  Extent extent(const FileState::Look& look, std::uint64_t offset, std::uint64_t length) const {
    if (!look.run) return Extent::zeroes(length);
    const BlockRun& run = *look.run;
    length = std::min(length, look.size - offset);
    const Volume& volume = *parts_.volume;
    const std::uint64_t block_size = volume.block_size();
    const std::uint64_t within = offset % block_size;
    // A run is at most 2^42 blocks of at most 2^16 bytes.
    const std::uint64_t covered = std::min(length, run.blocks * block_size - within);
    if (!run.physical) return Extent::zeroes(covered);
    // The map has checked the block against the filesystem's end, and that is below 2^64 bytes.
    const std::uint64_t at = *run.physical * block_size + within;
    const std::uint64_t end = volume.device().size();
    if (at >= end) {
      throw Error(Fault::damaged, "a block of the file lies beyond the end of the device")
          .found("byte " + std::to_string(at))
          .expected("below " + std::to_string(end))
          .advice("the filesystem is larger than its device: is this a truncated copy?");
    }
    return Extent::in_device(volume.device(), at, std::min(covered, end - at));
  }

  const Parts parts_;
};

/// A file whose few bytes stand in its inode.
class InlineFile : public BlockDevice {
 public:
  InlineFile(Buffer bytes, std::string description)
      : BlockDevice(bytes.size()), bytes_(std::move(bytes)), description_(std::move(description)) {}

  Extent map(std::uint64_t, std::uint64_t length) const override {
    return Extent::computed(length);
  }
  void compute(std::uint64_t offset, MutableBytes out) const override {
    const Bytes from = Bytes(bytes_).subspan(offset, out.size());
    std::copy(from.begin(), from.end(), out.begin());
  }
  std::string describe() const override { return description_; }

 private:
  const Buffer bytes_;
  const std::string description_;
};

}  // namespace

DevicePtr make_file(Library& library, const Inode& inode, std::string description) {
  if (inode.has(kFlagEncrypted)) {
    throw Error(Fault::unsupported, description + " is encrypted by the filesystem (fscrypt)")
        .advice("copy it out on a system that has its key");
  }
  if (inode.has(kFlagCompressed)) {
    throw Error(Fault::unsupported, description + " is compressed by the filesystem (e2compr)")
        .advice("copy it out on a system that supports it");
  }
  if (inode.has(kFlagEaInode)) {
    throw Error(Fault::damaged, description + " is the value of an extended attribute")
        .expected("a file, because a directory names it")
        .advice("run e2fsck on a writable copy");
  }
  if (inode.has(kFlagInlineData)) {
    return std::make_shared<InlineFile>(library.inline_data(inode), std::move(description));
  }
  if (inode.is_fast_link()) {
    return std::make_shared<InlineFile>(
        Buffer(inode.block.begin(), inode.block.begin() + static_cast<std::ptrdiff_t>(inode.size)),
        std::move(description));
  }
  FileDevice::Parts parts;
  parts.volume = library.volume();
  parts.description = std::move(description);
  if (const BlockDevice& device = parts.volume->device(); device.writable()) {
    parts.refusal = why_no_writes(inode);
    std::shared_ptr<Writer> writer = parts.refusal.empty() ? Writer::of(parts.volume) : nullptr;
    if (writer) parts.refusal = why_no_writes(*parts.volume, writer->is_at_work());
    if (parts.refusal.empty()) parts.writer = std::move(writer);
  }
  parts.state = parts.writer
                    ? parts.writer->file(inode)
                    : std::make_shared<FileState>(parts.volume, inode, FileState::Use::fixed);
  parts.greatest = greatest_size(*parts.volume, inode);
  // An open device of the same file may have grown it, and not flushed that yet.
  const std::uint64_t size = parts.state->size();
  return std::make_shared<FileDevice>(size, std::move(parts));
}

}  // namespace peelfs::ext

// Filesystems on several devices, as they are when they most need a repair.
#pragma once

#include <string>

namespace peelfs::test {

/// A btrfs with everything twice, on two images, of which the first has lost its primary
/// superblock. Needs mkfs.btrfs. @return why it cannot be made here; "" when it was
std::string make_broken_btrfs(const std::string& one, const std::string& two);

/// An ext4 whose journal is on another image and holds a transaction that has not been replayed:
/// the files f1 to f50. Needs mke2fs and debugfs.
void make_ext4_with_journal(const std::string& filesystem, const std::string& journal,
                            const std::string& scratch);

/// How many of the files f1 to f50 there are, and are right, in an ext4.
int files_in_ext4(const std::string& image);

}  // namespace peelfs::test

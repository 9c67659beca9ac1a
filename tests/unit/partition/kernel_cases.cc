#include "unit/partition/kernel_cases.h"

namespace peelfs::test {

namespace {

constexpr std::uint64_t kMiB = 1U << 20U;
constexpr std::uint64_t kTiB = 1ULL << 40U;

// The boot sector of a FAT16 filesystem: its BPB, with room for a partition table behind.
void fat_boot_sector(SparseDisk& disk) {
  Buffer bpb(64);
  put_le(bpb, 0, 0x903CEB, 3);
  put_le(bpb, 11, 512, 2);
  put_le(bpb, 13, 4, 1);
  put_le(bpb, 14, 4, 2);
  put_le(bpb, 16, 2, 1);
  put_le(bpb, 17, 512, 2);
  put_le(bpb, 19, 20480, 2);
  put_le(bpb, 21, 0xF8, 1);
  put_le(bpb, 22, 20, 2);
  disk.put(0, bpb);
  disk.put(54, "FAT16   ");
}

}  // namespace

const std::vector<KernelCase>& kernel_cases() {
  static const std::vector<KernelCase> cases = {
      {"primaries", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 2048, 1000}, {0x0C, 100, 7, 0x80}, {}, {0x07, 4000, 12384}}, 0x1234);
       }},
      {"type_zero_with_a_size", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {0x00, 300, 100}, {0x83, 500, 0}, {}}, 1);
       }},
      {"type_zero_alone", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x00, 300, 100}, {}, {}, {}}, 1);
       }},
      {"chain", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {0x0F, 1000, 5000}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 63, 100}, {0x05, 1000, 200}, {}, {}});
         d.mbr(2000, {{0x82, 1, 100}, {0x05, 500, 200}, {}, {}});
         d.mbr(1500, {{0x8E, 2, 50}, {}, {}, {}});
       }},
      {"chain_of_type_85", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{}, {}, {}, {0x85, 1000, 5000}}, 1);
         d.mbr(1000, {{0x83, 63, 100}, {0x85, 1000, 200}, {}, {}});
         d.mbr(2000, {{0x83, 63, 100}, {}, {}, {}});
       }},
      {"link_before_data", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 5000}, {}, {}, {}}, 1);
         d.mbr(1000, {{0x05, 1000, 200}, {0x83, 63, 100}, {}, {}});
         d.mbr(2000, {{}, {0x83, 63, 100}, {}, {}});
       }},
      {"records_without_data", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 5000}, {}, {}, {}}, 1);
         for (std::uint32_t i = 0; i < 50; ++i)
           d.mbr(1000 + i * 2, {{0x05, i * 2 + 2, 2}, {}, {}, {}});
         d.mbr(1100, {{0x83, 63, 100}, {}, {}, {}});
       }},
      {"four_logicals_in_one_record", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 5000}, {}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 10, 10}, {0x83, 20, 10}, {0x83, 30, 10}, {0x83, 4990, 11}});
       }},
      {"two_extended", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {0x83, 50, 10}, {0x0F, 3000, 500}, {}}, 1);
         d.mbr(1000, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
         d.mbr(1100, {{0x83, 10, 10}, {}, {}, {}});
         d.mbr(3000, {{0x83, 20, 10}, {}, {}, {}});
       }},
      {"logical_leaves_the_extended", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 10, 1000}, {0x05, 2000, 100}, {}, {}});
         d.mbr(3000, {{0x83, 10, 10}, {}, {}, {}});
       }},
      {"record_without_signature", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {0x83, 4000, 10}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
         d.mbr(1100, {{0x83, 10, 10}, {}, {}, {}});
         d.unsign(1100);
       }},
      {"extended_of_one_sector", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 1}, {}, {}, {}}, 1);
       }},
      {"overlapping", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {0x83, 150, 100}, {0x83, 100, 100}, {}}, 1);
       }},
      {"from_sector_zero", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x17, 0, 16384}, {0xEF, 100, 100}, {}, {}}, 1);
       }},
      {"bad_boot_indicator", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {}, {0, 0, 0, 0x01}, {}}, 1);
       }},
      {"signature_only", 8 * kMiB, 512, [](SparseDisk& d) { d.mbr(0, {}); }},
      {"bsd_and_solaris_types", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0xA5, 100, 100}, {0x82, 300, 100}, {0xA9, 500, 100}, {0x81, 700, 9}}, 1);
       }},
      {"aix_with_linux_partition", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {}, {}, {}}, 1);
         d.put(0, "\xC9\xC2\xD4\xC1");
         d.put(7 * 512, "_LVM");
       }},
      {"aix_disk", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x41, 100, 100}, {}, {}, {}}, 1);
         d.put(0, "\xC9\xC2\xD4\xC1");
         d.put(7 * 512, "_LVM");
       }},
      {"fat_without_a_table", 16 * kMiB, 512,
       [](SparseDisk& d) {
         fat_boot_sector(d);
         d.mbr(0, {});
       }},
      {"fat_with_a_table", 16 * kMiB, 512,
       [](SparseDisk& d) {
         fat_boot_sector(d);
         d.mbr(0, {{0x83, 100, 100}, {}, {}, {}}, 1);
       }},
      {"mbr_of_4096", 64 * kMiB, 4096,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 100, 100}, {0x05, 1000, 5000}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 63, 100}, {0x05, 1000, 200}, {}, {}});
         d.mbr(2000, {{0x83, 63, 100}, {}, {}, {}});
       }},
      {"mbr_beyond_two_tib", 5 * kTiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 4294967295U, 4294967295U}, {0x0F, 4294000000U, 4000000000U}, {}, {}}, 1);
         d.mbr(4294000000ULL, {{0x83, 2048, 3000000000U}, {0x05, 3000002048U, 900000000U}, {}, {}});
         d.mbr(4294000000ULL + 3000002048ULL, {{0x83, 63, 800000000U}, {}, {}, {}});
       }},
      {"mbr_of_4096_15_tib", 15 * kTiB, 4096,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 4000000000U, 26000000U}, {0x83, 1, 3999999999U}, {}, {}}, 1);
       }},
      {"loop_of_records", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {}, {}, {}}, 1);
         d.mbr(1000, {{}, {0x05, 100, 100}, {}, {}});
         d.mbr(1100, {{}, {0x05, 100, 100}, {}, {}});
       }},
      {"loop_with_data", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {}, {}, {}}, 1);
         d.mbr(1000, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
         d.mbr(1100, {{0x83, 10, 10}, {0x05, 100, 100}, {}, {}});
       }},
      {"link_to_the_first_record", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 1000, 500}, {}, {}, {}}, 1);
         d.mbr(1000, {{}, {0x05, 0, 100}, {0x05, 100, 50}, {}});
         d.mbr(1100, {{0x83, 10, 10}, {}, {}, {}});
       }},
      {"extended_from_sector_zero", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x05, 0, 5000}, {0x83, 6000, 10}, {}, {}}, 1);
       }},
      {"beyond_the_end", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0x83, 16000, 1000}, {0x83, 20000, 10}, {0x83, 100, 10}, {}}, 1);
       }},
      {"protective_without_gpt", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0xEE, 1, 16383}, {}, {}, {}});
       }},
      {"hybrid_without_gpt", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.mbr(0, {{0xEE, 1, 99}, {0x83, 100, 100}, {}, {}});
       }},
      {"gpt", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 2048, 4095}, {3, 34, 99}, {7, 5000, 16350}, {128, 4096, 4096}});
       }},
      {"gpt_of_4096", 64 * kMiB, 4096,
       [](SparseDisk& d) {
         d.gpt({{1, 256, 1023}, {2, 6, 6}, {5, 1024, 16378}});
       }},
      {"gpt_8_tib", 8 * kTiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 2048, 4294967295ULL}, {2, 4294967296ULL, 17179869150ULL}});
       }},
      {"gpt_hybrid", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 2048, 4095}, {2, 5000, 5999}});
         d.mbr(0, {{0x83, 5000, 1000}, {0xEE, 1, 2047}, {}, {}});
       }},
      {"gpt_unusual_places", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 10, 33}, {2, 16351, 16383}, {3, 100, 300}, {4, 200, 400}, {5, 2, 2}});
       }},
      {"gpt_of_300", 8 * kMiB, 512,
       [](SparseDisk& d) {
         std::vector<SparseDisk::Entry> entries;
         for (unsigned i = 1; i <= 300; i += 13)
           entries.push_back({i, 1000 + i * 10, 1000 + i * 10 + 5});
         SparseDisk::GptOptions options;
         options.entries = 304;
         d.gpt(entries, options);
       }},
      {"gpt_entry_from_block_zero", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 0, 4095}, {2, 5000, 5999}});
       }},
      {"gpt_impossible_entries", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 4000, 3000}, {2, 20000, 30000}, {3, 16000, 20000}, {4, 100, 100}});
       }},
      {"gpt_without_protective", 8 * kMiB, 512,
       [](SparseDisk& d) {
         SparseDisk::GptOptions options;
         options.protective = false;
         d.gpt({{1, 2048, 4095}}, options);
       }},
      {"gpt_backup_only", 8 * kMiB, 512,
       [](SparseDisk& d) {
         SparseDisk::GptOptions options;
         options.primary = false;
         d.gpt({{1, 2048, 4095}}, options);
       }},
      {"gpt_primary_only", 8 * kMiB, 512,
       [](SparseDisk& d) {
         SparseDisk::GptOptions options;
         options.backup = false;
         d.gpt({{1, 2048, 4095}}, options);
       }},
      {"gpt_on_truncated_disk", 8 * kMiB, 512,
       [](SparseDisk& d) {
         SparseDisk::GptOptions options;
         options.last_usable = 20000;
         d.gpt({{1, 2048, 4095}}, options);
       }},
      {"gpt_entries_of_256_bytes", 8 * kMiB, 512,
       [](SparseDisk& d) {
         SparseDisk::GptOptions options;
         options.entry_size = 256;
         d.gpt({{1, 2048, 4095}}, options);
       }},
      {"gpt_stale_under_an_mbr", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 2048, 4095}});
         d.mbr(0, {{0x83, 5000, 1000}, {}, {}, {}}, 1);
       }},
      {"gpt_protective_not_at_one", 8 * kMiB, 512,
       [](SparseDisk& d) {
         d.gpt({{1, 2048, 4095}});
         d.mbr(0, {{0xEE, 2, 16382}, {}, {}, {}});
       }},
  };
  return cases;
}

}  // namespace peelfs::test

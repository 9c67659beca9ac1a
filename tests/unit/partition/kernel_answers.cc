// Recorded by running the cases under Linux 6.1.176 (Debian's user-mode-linux, loop device with
// partscan); IsRecordedRightly asks the kernel at hand again, where it reads partition tables.
#include "unit/partition/kernel_cases.h"

namespace peelfs::test {

namespace {

/// One and the same place under every number that Linux has left.
std::vector<KernelPart> repeated(std::vector<KernelPart> first, unsigned from, std::uint64_t start,
                                 std::uint64_t size) {
  for (unsigned number = from; number <= 255; ++number) first.push_back({number, start, size});
  return first;
}

}  // namespace

const KernelAnswer& kernel_answer(const std::string& name) {
  static const std::map<std::string, KernelAnswer> answers = {
      {"aix_disk", {{}, "", {}}},
      {"aix_with_linux_partition", {{{1, 100, 100}}, "", {}}},
      {"bad_boot_indicator", {{}, "", {}}},
      {"beyond_the_end",
       {{{1, 16000, 384}, {3, 100, 10}},
        "Linux cuts the partition off; a wrong size is dangerous, so it keeps its own and reads "
        "fail beyond the end. One that is wholly gone stays visible.",
        {{1, 16000, 1000}, {3, 100, 10}}}},
      {"bsd_and_solaris_types",
       {{{1, 100, 100}, {2, 300, 100}, {3, 500, 100}, {4, 700, 9}}, "", {}}},
      {"chain",
       {{{1, 100, 100}, {2, 1000, 2}, {5, 1063, 100}, {6, 2001, 100}, {7, 1502, 50}}, "", {}}},
      {"chain_of_type_85", {{{4, 1000, 2}, {5, 1063, 100}, {6, 2063, 100}}, "", {}}},
      {"extended_from_sector_zero",
       {repeated({{1, 0, 2}, {2, 6000, 10}}, 5, 6000, 10),
        "Linux reads the MBR as an extended boot record, over and over.",
        {{1, 0, 2}, {2, 6000, 10}}}},
      {"extended_of_one_sector", {{{1, 1000, 1}}, "", {}}},
      {"fat_with_a_table",
       {{{1, 100, 100}},
        "Linux looks only at the boot indicators; as libblkid, we do not take a filesystem's boot "
        "sector for a table.",
        {}}},
      {"fat_without_a_table", {{}, "", {}}},
      {"four_logicals_in_one_record",
       {{{1, 1000, 2}, {5, 1010, 10}, {6, 1020, 10}, {7, 1030, 10}}, "", {}}},
      {"from_sector_zero", {{{1, 0, 16384}, {2, 100, 100}}, "", {}}},
      {"gpt", {{{1, 2048, 2048}, {3, 34, 66}, {7, 5000, 11351}, {128, 4096, 1}}, "", {}}},
      {"gpt_8_tib", {{{1, 2048, 4294965248}, {2, 4294967296, 12884901855}}, "", {}}},
      {"gpt_backup_only",
       {{}, "Linux uses the backup only with its boot option gpt.", {{1, 2048, 2048}}}},
      {"gpt_entries_of_256_bytes",
       {{}, "UEFI allows entries of 128 * 2^n bytes, Linux does not.", {{1, 2048, 2048}}}},
      {"gpt_entry_from_block_zero", {{{1, 0, 4096}, {2, 5000, 1000}}, "", {}}},
      {"gpt_hybrid", {{{1, 2048, 2048}, {2, 5000, 1000}}, "", {}}},
      {"gpt_impossible_entries",
       {{{1, 4000, 9223372036854775807}, {4, 100, 1}},
        "Linux shows a partition with a negative size as huge; one that ends beyond the end it "
        "leaves out.",
        {{1, 0, 0}, {3, 16000, 4001}, {4, 100, 1}}}},
      {"gpt_of_300",
       {{{1, 1010, 6},   {14, 1140, 6},  {27, 1270, 6},  {40, 1400, 6},  {53, 1530, 6},
         {66, 1660, 6},  {79, 1790, 6},  {92, 1920, 6},  {105, 2050, 6}, {118, 2180, 6},
         {131, 2310, 6}, {144, 2440, 6}, {157, 2570, 6}, {170, 2700, 6}, {183, 2830, 6},
         {196, 2960, 6}, {209, 3090, 6}, {222, 3220, 6}, {235, 3350, 6}, {248, 3480, 6}},
        "Linux has no minor numbers for more than 255 partitions.",
        {{1, 1010, 6},   {14, 1140, 6},  {27, 1270, 6},  {40, 1400, 6},  {53, 1530, 6},
         {66, 1660, 6},  {79, 1790, 6},  {92, 1920, 6},  {105, 2050, 6}, {118, 2180, 6},
         {131, 2310, 6}, {144, 2440, 6}, {157, 2570, 6}, {170, 2700, 6}, {183, 2830, 6},
         {196, 2960, 6}, {209, 3090, 6}, {222, 3220, 6}, {235, 3350, 6}, {248, 3480, 6},
         {261, 3610, 6}, {274, 3740, 6}, {287, 3870, 6}, {300, 4000, 6}}}},
      {"gpt_of_4096", {{{1, 2048, 6144}, {2, 48, 8}, {5, 8192, 122840}}, "", {}}},
      {"gpt_on_truncated_disk",
       {{}, "Linux refuses a GPT whose usable blocks leave the disk.", {{1, 2048, 2048}}}},
      {"gpt_primary_only", {{{1, 2048, 2048}}, "", {}}},
      {"gpt_protective_not_at_one",
       {{},
        "Linux wants the protective entry at LBA 1; libblkid and we do not.",
        {{1, 2048, 2048}}}},
      {"gpt_stale_under_an_mbr", {{{1, 5000, 1000}}, "", {}}},
      {"gpt_unusual_places",
       {{{1, 10, 24}, {2, 16351, 33}, {3, 100, 201}, {4, 200, 201}, {5, 2, 1}}, "", {}}},
      {"gpt_without_protective", {{}, "Linux wants its boot option gpt.", {{1, 2048, 2048}}}},
      {"hybrid_without_gpt", {{}, "", {}}},
      {"link_before_data", {{{1, 1000, 2}, {5, 1063, 100}, {6, 2063, 100}}, "", {}}},
      {"link_to_the_first_record",
       {{{1, 1000, 2}},
        "Linux runs in a circle; as libblkid, we ignore the link.",
        {{1, 1000, 2}, {5, 1110, 10}}}},
      {"logical_leaves_the_extended", {{{1, 1000, 2}, {5, 1010, 1000}, {6, 3010, 10}}, "", {}}},
      {"loop_of_records", {{{1, 1000, 2}}, "", {}}},
      {"loop_with_data",
       {repeated({{1, 1000, 2}, {5, 1010, 10}}, 6, 1110, 10),
        "Linux numbers the same partition again and again.",
        {{1, 1000, 2}, {5, 1010, 10}, {6, 1110, 10}}}},
      {"mbr_beyond_two_tib",
       {{{1, 4294967295, 4294967295},
         {2, 4294000000, 2},
         {5, 4294002048, 3000000000},
         {6, 7294002111, 800000000}},
        "",
        {}}},
      {"mbr_of_4096", {{{1, 800, 800}, {2, 8000, 8}, {5, 8504, 800}, {6, 16504, 800}}, "", {}}},
      {"mbr_of_4096_15_tib", {{{1, 32000000000, 208000000}, {2, 8, 31999999992}}, "", {}}},
      {"overlapping", {{{1, 100, 100}, {2, 150, 100}, {3, 100, 100}}, "", {}}},
      {"primaries", {{{1, 2048, 1000}, {2, 100, 7}, {4, 4000, 12384}}, "", {}}},
      {"protective_without_gpt", {{}, "", {}}},
      {"record_without_signature", {{{1, 1000, 2}, {2, 4000, 10}, {5, 1010, 10}}, "", {}}},
      {"records_without_data", {{{1, 1000, 2}, {5, 1163, 100}}, "", {}}},
      {"signature_only", {{}, "", {}}},
      {"two_extended",
       {{{1, 1000, 2}, {2, 50, 10}, {3, 3000, 2}, {5, 1010, 10}, {6, 1110, 10}, {7, 3020, 10}},
        "",
        {}}},
      {"type_zero_alone",
       {{{1, 300, 100}},
        "Linux looks only at the sizes; a table in which no entry has a type is none for us.",
        {}}},
      {"type_zero_with_a_size", {{{1, 100, 100}, {2, 300, 100}}, "", {}}},
  };
  return answers.at(name);
}

}  // namespace peelfs::test

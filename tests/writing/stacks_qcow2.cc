// qcow2 in place, in all its kinds.
#include "writing/qcow2_stack.h"

namespace peelfs::test {
namespace {

constexpr std::uint64_t mib = 1U << 20U;
/// Neither a whole number of clusters nor of 4096 bytes.
constexpr std::uint64_t odd = 5 * mib + 1536;

Stack in_place(std::string name, Qcow2Options options) {
  return {std::move(name),
          [options](const std::string& folder) { return make_qcow2(folder, options); }};
}

}  // namespace

void add_qcow2_stacks(std::vector<Stack>& list) {
  list.push_back(in_place("qcow2", {.size = odd}));
  list.push_back(in_place("qcow2_v2", {.size = odd, .create = "compat=0.10"}));
  list.push_back(in_place("qcow2_512", {.cluster = 512, .size = 2 * mib}));
  list.push_back(
      in_place("qcow2_512_v2", {.cluster = 512, .size = 2 * mib, .create = "compat=0.10"}));
  list.push_back(in_place("qcow2_4k", {.cluster = 4096, .size = odd}));
  list.push_back(in_place("qcow2_2m", {.cluster = 2 * mib, .size = 32 * mib + 512}));
  list.push_back(in_place("qcow2_large", {.size = 64 * mib}));
  for (const unsigned bits : {1U, 8U, 64U}) {
    list.push_back(in_place("qcow2_refcount_" + std::to_string(bits),
                            {.cluster = 4096, .size = odd, .refcount_bits = bits}));
  }
  list.push_back(in_place("qcow2_extended", {.size = odd, .create = "extended_l2=on"}));
  list.push_back(
      in_place("qcow2_extended_16k", {.cluster = 16384, .size = odd, .create = "extended_l2=on"}));
  list.push_back(in_place("qcow2_data_file", {.size = odd, .data_file = "data.raw"}));
  list.push_back(in_place("qcow2_data_file_raw",
                          {.size = odd, .create = "data_file_raw=on", .data_file = "data.raw"}));
  list.push_back(in_place("qcow2_on_raw_shorter",
                          {.size = odd, .backing_format = "raw", .backing_size = 3 * mib + 512}));
  list.push_back(in_place("qcow2_on_raw_longer",
                          {.size = odd, .backing_format = "raw", .backing_size = 8 * mib}));
  list.push_back(in_place(
      "qcow2_on_qcow2_shorter",
      {.cluster = 4096, .size = odd, .backing_format = "qcow2", .backing_size = 3 * mib + 512}));
  list.push_back(in_place("qcow2_v2_on_qcow2_longer", {.size = odd,
                                                       .create = "compat=0.10",
                                                       .backing_format = "qcow2",
                                                       .backing_size = 8 * mib,
                                                       .qemu_discards = false}));
  list.push_back(in_place("qcow2_extended_on_raw", {.size = odd,
                                                    .create = "extended_l2=on",
                                                    .backing_format = "raw",
                                                    .backing_size = 4 * mib + 512}));
  list.push_back(in_place("qcow2_compressed", {.size = 6 * mib, .compressed = true}));
  list.push_back(in_place(
      "qcow2_compressed_4k_zstd",
      {.cluster = 4096, .size = 6 * mib, .create = "compression_type=zstd", .compressed = true}));
  list.push_back(in_place("qcow2_snapshots", {.size = odd, .snapshots = true}));
  list.push_back(
      in_place("qcow2_snapshots_4k_compressed",
               {.cluster = 4096, .size = 4 * mib, .compressed = true, .snapshots = true}));
  list.push_back(in_place("qcow2_preallocated", {.size = odd, .create = "preallocation=metadata"}));
  list.push_back(
      in_place("qcow2_preallocated_full", {.size = odd, .create = "preallocation=full"}));
  list.push_back(in_place("qcow2_lazy", {.size = odd, .create = "lazy_refcounts=on"}));
  list.push_back(in_place("qcow2_encrypted", {.size = odd, .encrypted = true}));
}

}  // namespace peelfs::test

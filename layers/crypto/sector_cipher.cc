#include "crypto/sector_cipher.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "crypto/cipher_spec.h"
#include "crypto/gcrypt.h"
#include "peelfs/error.h"
#include "peelfs/mutex.h"

namespace peelfs {
namespace {

/// Owner of one libgcrypt handle.
class CipherHandle {
 public:
  CipherHandle() = default;
  CipherHandle(int algorithm, int mode, Bytes key, const std::string& name) {
    check_gcrypt(gcry_cipher_open(&handle_, algorithm, mode, GCRY_CIPHER_SECURE),
                 "cipher " + name + " cannot be opened");
    const gcry_error_t code = gcry_cipher_setkey(handle_, key.data(), key.size());
    if (code != 0) {
      gcry_cipher_close(std::exchange(handle_, nullptr));
      check_gcrypt(code, "cipher " + name + " does not take its key");
    }
  }
  CipherHandle(CipherHandle&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CipherHandle& operator=(CipherHandle&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~CipherHandle() { gcry_cipher_close(handle_); }

  gcry_cipher_hd_t get() const noexcept { return handle_; }

 private:
  gcry_cipher_hd_t handle_ = nullptr;
};

/// What one thread needs while it encrypts or decrypts.
struct Worker {
  CipherHandle data;
  CipherHandle essiv;  ///< null without ESSIV
};

class GcryptSectorCipher final : public SectorCipher {
 public:
  GcryptSectorCipher(CipherSpec spec, Bytes key, std::uint32_t sector_size)
      : SectorCipher(sector_size), spec_(std::move(spec)), key_(key) {
    if (spec_.essiv_hash != 0) {
      essiv_key_ = Secret(gcry_md_get_algo_dlen(spec_.essiv_hash));
      gcry_md_hash_buffer(spec_.essiv_hash, essiv_key_.writable().data(), key.data(), key.size());
    }
    idle_.reserve(workers_);
    give_back(make_worker());  // a key that the cipher refuses is found now, not on the first read
  }

  void decrypt(MutableBytes data, std::uint64_t sector) const override {
    transform(data, sector, &gcry_cipher_decrypt);
  }
  void encrypt(MutableBytes data, std::uint64_t sector) const override {
    transform(data, sector, &gcry_cipher_encrypt);
  }

 private:
  using Operation = decltype(&gcry_cipher_decrypt);

  /// Sectors whose IVs are made at once: ESSIV encrypts them in one call.
  static constexpr std::size_t kBatchSectors = 64;

  void transform(MutableBytes data, std::uint64_t sector, Operation operation) const {
    if (data.size() % sector_size() != 0) {
      throw Error(Fault::usage, "cipher " + spec_.text + " works on whole sectors")
          .found(std::to_string(data.size()) + " bytes")
          .expected("a multiple of " + std::to_string(sector_size()));
    }
    const Lease lease(*this);
    const std::uint32_t step = sector_size() / 512;
    std::array<std::byte, kBatchSectors * kCipherBlockBytes> ivs;
    while (!data.empty()) {
      const std::size_t sectors = std::min(kBatchSectors, data.size() / sector_size());
      const std::span<std::byte> used(ivs.data(), sectors * kCipherBlockBytes);
      write_ivs(spec_.iv, sector, step, used);
      if (lease.worker().essiv.get() != nullptr) {
        check(
            gcry_cipher_encrypt(lease.worker().essiv.get(), used.data(), used.size(), nullptr, 0));
      }
      for (std::size_t i = 0; i < sectors; ++i) {
        gcry_cipher_hd_t handle = lease.worker().data.get();
        check(gcry_cipher_setiv(handle, used.data() + i * kCipherBlockBytes, kCipherBlockBytes));
        check(operation(handle, data.data() + i * sector_size(), sector_size(), nullptr, 0));
      }
      sector += sectors * step;
      data = data.subspan(sectors * sector_size());
    }
  }

  void check(gcry_error_t code) const {
    if (code != 0) check_gcrypt(code, "cipher " + spec_.text + " failed on a sector");
  }

  Worker make_worker() const {
    Worker worker;
    const int mode = spec_.mode == ChainMode::xts ? GCRY_CIPHER_MODE_XTS : GCRY_CIPHER_MODE_CBC;
    worker.data = CipherHandle(spec_.algorithm, mode, key_.bytes(), spec_.text);
    if (spec_.essiv_hash != 0) {
      worker.essiv = CipherHandle(spec_.essiv_algorithm, GCRY_CIPHER_MODE_ECB, essiv_key_.bytes(),
                                  spec_.text + " (ESSIV)");
    }
    return worker;
  }

  void give_back(Worker worker) const noexcept {
    const MutexLock lock(mutex_);
    idle_.push_back(std::move(worker));  // take() reserved room for every worker there is
  }

  Worker take() const {
    {
      const MutexLock lock(mutex_);
      if (!idle_.empty()) {
        Worker worker = std::move(idle_.back());
        idle_.pop_back();
        return worker;
      }
      idle_.reserve(++workers_);
    }
    return make_worker();
  }

  /// A worker for the time of one call.
  class Lease {
   public:
    explicit Lease(const GcryptSectorCipher& owner) : owner_(owner), worker_(owner.take()) {}
    ~Lease() { owner_.give_back(std::move(worker_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    const Worker& worker() const noexcept { return worker_; }

   private:
    const GcryptSectorCipher& owner_;
    Worker worker_;
  };

  CipherSpec spec_;
  Secret key_, essiv_key_;
  mutable Mutex mutex_;
  mutable std::vector<Worker> idle_ PEELFS_GUARDED_BY(mutex_);
  mutable std::size_t workers_ PEELFS_GUARDED_BY(mutex_) = 1;
};

}  // namespace

std::shared_ptr<const SectorCipher> SectorCipher::create(std::string_view spec, Bytes key,
                                                         std::uint32_t sector_size) {
  if (sector_size < 512 || sector_size > 4096 || !std::has_single_bit(sector_size)) {
    throw Error(Fault::unsupported, "encryption sector size is out of range")
        .found(std::to_string(sector_size) + " bytes")
        .expected("512, 1024, 2048 or 4096 bytes");
  }
  require_gcrypt();
  return std::make_shared<GcryptSectorCipher>(parse_cipher_spec(spec, key.size()), key,
                                              sector_size);
}

}  // namespace peelfs

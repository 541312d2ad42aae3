// The zip container of weight files. Reading finds stored members inside the memory map, so that their bytes need not
// be copied, and inflates the others. Writing streams stored members at aligned offsets through minizip. Reading does
// not use minizip, because Debian's (1.1) misses zip64's sizes and offsets, which files beyond 4 GiB have. Everything
// that a file says about itself is checked against its size before it is used.
#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>

#include "core/file.h"
#include "core/io/budget.h"

namespace hr {

class ZipReader {
 public:
  struct Member {
    uint64_t size, packed_size;  // Bytes before and after compression.
    uint64_t header_offset;      // The offset of the member's own header in the file.
    uint32_t crc;
    bool deflated;
  };

  // Reads the directory. `map`, if given, is the file that `bytes` views; pages that have been inflated are released
  // from it. Throws Error if there is no end record, for a directory that does not fit its records, a name that occurs
  // twice, encryption, and a method other than stored and deflated.
  ZipReader(std::span<const std::byte> bytes, std::string where, Budget& budget, const MappedFile* map = nullptr);

  const std::unordered_map<std::string, Member>& members() const { return members_; }
  const Member* find(const std::string& name) const;

  // Returns a member's bytes as they stand in the file; for a stored member these are its data. Throws Error if they do
  // not lie in the file. The CRC is not computed.
  std::span<const std::byte> stored(const std::string& name) const;
  // Inflates into `out`, which is `size` bytes long. Throws Error if the data end early or the CRC does not match.
  void inflate(const std::string& name, std::span<std::byte> out) const;

 private:
  std::string where_;
  std::span<const std::byte> bytes_;
  const MappedFile* map_;
  std::unordered_map<std::string, Member> members_;
};

// Returns the CRC-32 of a zip member of any length.
uint32_t zip_crc(std::span<const std::byte> bytes);

// Writes stored members one after the other. Call finish(), which returns control of the file to the caller, and then
// commit the file.
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file);
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  // The alignment of every member's first byte, as PyTorch aligns its records.
  static constexpr uint64_t kAlignment = 64;
  void add(const std::string& name, std::span<const std::byte> bytes);
  void finish();  // Writes the directory.

 private:
  struct Output;
  struct Close {
    void operator()(void* zip) const;
  };
  std::unique_ptr<Output> output_;
  std::unique_ptr<void, Close> zip_;
};

}  // namespace hr

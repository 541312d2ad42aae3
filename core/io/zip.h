// The zip container, for weight files: reading finds stored members inside the memory map, so that their bytes need no
// copy, and inflates the others; writing streams stored members at aligned offsets, through minizip. Reading does
// without minizip, because Debian's (1.1) misses zip64's sizes and offsets, which files beyond 4 GiB have. Everything a
// file says about itself is checked against its size before it is used.
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
    uint64_t size, packed_size;  // bytes before and after compression
    uint64_t header_offset;      // of the member's own header, in the file
    uint32_t crc;
    bool deflated;
  };

  // Reads the directory. `map`, when given, is what `bytes` views; pages that were inflated are handed back to it.
  // Error: no end record, a directory that does not fit its records, the same name twice, encryption, a method other
  // than stored and deflated.
  ZipReader(std::span<const std::byte> bytes, std::string where, Budget& budget, const MappedFile* map = nullptr);

  const std::unordered_map<std::string, Member>& members() const { return members_; }
  const Member* find(const std::string& name) const;

  // A member's bytes as they are in the file: for a stored one, the data. Error if they do not lie in the file. The CRC
  // is not computed.
  std::span<const std::byte> stored(const std::string& name) const;
  // Inflates into `out`, which is `size` bytes long. Error if the data end early or their CRC is another.
  void inflate(const std::string& name, std::span<std::byte> out) const;

 private:
  std::string where_;
  std::span<const std::byte> bytes_;
  const MappedFile* map_;
  std::unordered_map<std::string, Member> members_;
};

// The CRC-32 of a zip member, of any length.
uint32_t zip_crc(std::span<const std::byte> bytes);

// Writes members one after the other, stored. Give the file back with finish(), then commit it.
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file);
  ~ZipWriter();
  ZipWriter(const ZipWriter&) = delete;
  ZipWriter& operator=(const ZipWriter&) = delete;

  static constexpr uint64_t kAlignment = 64;  // of every member's first byte, as PyTorch aligns its records
  void add(const std::string& name, std::span<const std::byte> bytes);
  void finish();  // writes the directory

 private:
  struct Output;
  struct Close {
    void operator()(void* zip) const;
  };
  std::unique_ptr<Output> output_;
  std::unique_ptr<void, Close> zip_;
};

}  // namespace hr

// The structures of a pack file, which the writer and the reader share. data/pack/pack.h describes the format.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/pack/pack.h"

namespace hr {

inline constexpr std::string_view kPackMagic = "HRPACK\r\n";
inline constexpr uint64_t kPackHeaderBytes = 64, kPackAlignment = 64, kPackSlack = 16;

// A decoded part of a picture.
struct PackBlock {
  uint32_t image = 0;  // The index of the picture in the list of images.
  Region region;
  uint64_t offset = 0, sum = 0;
  uint64_t bytes() const { return static_cast<uint64_t>(region.area()) * 3; }
};

struct PackSplit {
  std::string name;
  PackLimits limits;
  CocoAnnotations annotations;
  DatasetCounts counts;
  std::vector<Person> people;
  std::vector<PackBlock> blocks;
};

struct PackIndex {
  Skeleton skeleton;
  std::vector<PackSplit> splits;
};

// Returns how many bytes of the file a block of so many bytes of pixels takes.
inline uint64_t pack_padded(uint64_t bytes) {
  return (bytes + kPackSlack + kPackAlignment - 1) / kPackAlignment * kPackAlignment;
}

// A checksum of four lanes that multiply and rotate. Every step is reversible, so that a single changed word always
// changes the sum. It is as fast as reading memory.
uint64_t pack_checksum(std::span<const std::byte> bytes);

std::string pack_index_text(const PackIndex& index);
// Throws Error if anything in the index does not fit into the file or to the rest of the index. The blocks must end
// before `pixels_end`; `where` begins the messages.
PackIndex read_pack_index(std::span<const std::byte> bytes, const std::string& where, uint64_t pixels_end);

// The position of the index in the file, and its checksum.
struct PackHeader {
  uint64_t offset = 0, size = 0, sum = 0;
};
std::string pack_header_text(const PackHeader& header);
// Throws Error if the file does not begin with a header of this version, or ends before the header says.
PackHeader read_pack_header(std::span<const std::byte> file, const std::string& where);

}  // namespace hr

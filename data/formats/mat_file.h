// MATLAB files of level 5 ("v5" and "v7", which MATLAB's save and scipy's savemat write): real arrays of numbers, text,
// and cells of text. MPII's ground truth and result files have this format. Structs, objects and complex or sparse
// arrays are skipped. HDF5 files ("v7.3") are refused with a hint.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct MatArray {
  std::vector<int64_t> shape;     // At least two dimensions.
  std::vector<double> values;     // Column-major: the first index varies fastest.
  std::vector<std::string> text;  // One string, or one per cell.

  // Returns the number at an index with one coordinate per dimension. MATLAB drops trailing dimensions of size 1, so
  // further coordinates must be 0.
  double at(std::initializer_list<int64_t> index) const;
};

// Reads the arrays by variable name. Throws Error (path, byte, what was expected) for malformed files; the sizes in the
// file are never trusted. Memory is limited by the size of the file: all arrays together, and each compressed element
// when it is unpacked, may take 64 times the file's size, at least 32 MiB and at most 1 GiB.
std::map<std::string, MatArray> read_mat(const fs::path& path);
std::map<std::string, MatArray> parse_mat(std::span<const std::byte> file, const std::string& name);

// Writes arrays of numbers as MATLAB's double, or as single with `single`, and `text` of several strings as a cell. The
// file is uncompressed and little-endian.
void write_mat(const fs::path& path, const std::map<std::string, MatArray>& arrays, bool single = false);

}  // namespace hr

// MATLAB files of level 5 ("v5", "v7": what MATLAB's save and scipy's savemat write): real arrays of numbers, text and
// cells of text. MPII's ground truth and result files are such. Structs, objects and complex or sparse arrays are
// skipped. HDF5 files ("v7.3") are refused with a hint.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"

namespace hr {

struct MatArray {
  std::vector<int64_t> shape;     // at least two dimensions
  std::vector<double> values;     // column-major: the first index runs fastest
  std::vector<std::string> text;  // one string, or one per cell

  // Number at an index of as many coordinates as there are dimensions; MATLAB drops trailing dimensions of size 1, so
  // coordinates beyond are 0.
  double at(std::initializer_list<int64_t> index) const;
};

// By variable name. Error (path, byte, what was expected) for anything malformed; the sizes in the file are never
// trusted. Memory is bounded by what is really there: the arrays together, and each compressed element when it is
// unpacked, may take 64 times the file's size, at least 32 MiB and at most 1 GiB.
std::map<std::string, MatArray> read_mat(const fs::path& path);
std::map<std::string, MatArray> parse_mat(std::span<const std::byte> file, const std::string& name);

// Arrays of numbers as MATLAB's double, or single with `single`; `text` of several strings as a cell. Uncompressed,
// little-endian.
void write_mat(const fs::path& path, const std::map<std::string, MatArray>& arrays, bool single = false);

}  // namespace hr

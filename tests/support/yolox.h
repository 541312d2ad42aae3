// Weight files of YOLOX networks whose numbers are computed from their names (oracle/yolox/README.md), written as
// safetensors.
#pragma once
#include "core/io/safetensors.h"
#include "hrnet/model/yolox.h"
#include "tests/support/formula.h"
#include "tests/support/oracle.h"

namespace hr::test {

// The smallest batch-norm weight of oracle/yolox, which was chosen by size so that the activations stay in range.
inline double yolox_base(const std::string& name) {
  if (name == "yolox_nano") return 0.47;
  if (name == "yolox_tiny") return 0.41;
  if (name == "yolox_m") return 0.38;
  return 0.44;
}

struct MadeEntry {
  Shape shape;
  std::vector<float> numbers;
};

inline std::vector<std::pair<std::string, MadeEntry>> yolox_by_formula(const YoloxShape& shape) {
  const Yolox network(shape);
  const double base = yolox_base(network.name());
  std::vector<std::pair<std::string, MadeEntry>> made;
  for (const auto& e : network.layout().entries()) {
    if (e.counter != nullptr) continue;
    const std::string& name = e.name();
    const Shape s = e.torch_shape();
    double from = -0.2, width = 0.4;  // bias and mean of a batch norm
    if (s.size() == 4) {
      const double gain = name.find("_preds.") != std::string::npos ? 0.5 : 1.6;
      const double range = std::sqrt(3.0 / static_cast<double>(s[1] * s[2] * s[3])) * gain;
      from = -range, width = 2 * range;
    } else if (name.find("_preds.") != std::string::npos) {
      from = -0.1, width = 0.2;
    } else if (name.ends_with("running_var")) {
      from = 0.5, width = 1;
    } else if (name.ends_with("bn.weight")) {
      from = base, width = 0.8;
    }
    MadeEntry entry{s, std::vector<float>(static_cast<size_t>(numel(s)))};
    const uint64_t hash = fnv1a64(name);
    for (size_t i = 0; i < entry.numbers.size(); ++i)
      entry.numbers[i] = static_cast<float>(from + width * unit(hash, i));
    made.emplace_back(name, std::move(entry));
  }
  return made;
}

inline fs::path write_entries(const std::vector<std::pair<std::string, MadeEntry>>& entries) {
  std::vector<NamedArray> arrays;
  arrays.reserve(entries.size());
  for (const auto& [name, e] : entries)
    arrays.push_back({name, DType::f32, e.shape, std::as_bytes(std::span(e.numbers))});
  fs::path path = temporary_folder() / "yolox.safetensors";
  write_safetensors(path, arrays);
  return path;
}

inline fs::path write_yolox(const YoloxShape& shape) { return write_entries(yolox_by_formula(shape)); }

}  // namespace hr::test

#include "hrnet/export/int8_check.h"

#include <algorithm>
#include <cstdlib>
#include <map>

#include "core/error.h"

namespace hr {
namespace {

// The bytes of a tensor without its border, as [N, C, H, W].
std::vector<int64_t> channels_first(const Int8Layout& l, const uint8_t* bytes) {
  std::vector<int64_t> to;
  to.reserve(static_cast<size_t>(l.n * l.c * l.h * l.w));
  for (int64_t n = 0; n < l.n; ++n) {
    for (int64_t c = 0; c < l.c; ++c) {
      for (int64_t y = 0; y < l.h; ++y) {
        for (int64_t x = 0; x < l.w; ++x)
          to.push_back(bytes[l.first() + n * l.image() + y * l.row() + x * l.pixel() + c]);
      }
    }
  }
  return to;
}

}  // namespace

OnnxArrays run_onnx_beside(Context& cx, const OnnxModel& model, Int8Network& network, const Tensor& images,
                           const OnnxArrays& inputs, const std::vector<std::string>& wanted, Int8Check& result) {
  std::map<std::string, std::vector<int64_t>> own;
  network.observe([&](int value, const Int8Layout& layout, const uint8_t* bytes) {
    // The passes of a batch follow each other.
    std::vector<int64_t>& all = own[fmt::format("quantize_{}", value)];
    const std::vector<int64_t> some = channels_first(layout, bytes);
    all.insert(all.end(), some.begin(), some.end());
  });
  network.run(cx, images);
  network.observe({});
  size_t found = 0;
  const OnnxArrays arrays = run_onnx(cx, model, inputs, wanted, [&](const OnnxNode& node, OnnxArray& array) {
    const auto expected = own.find(node.name);
    if (expected == own.end()) return;
    ++found;
    check(array.integers.size() == expected->second.size(), "onnx: node {} gives {} numbers, the network {}", node.name,
          array.integers.size(), expected->second.size());
    for (size_t i = 0; i < array.integers.size(); ++i) {
      const int off = static_cast<int>(std::abs(array.integers[i] - expected->second[i]));
      result.steps = std::max(result.steps, off);
      result.differing += off != 0 ? 1 : 0;
    }
    result.bytes += static_cast<int64_t>(array.integers.size());
    array.integers = std::move(expected->second);
  });
  check(found == own.size(), "onnx: the graph has {} of the network's {} tensors of bytes", found, own.size());
  return arrays;
}

}  // namespace hr

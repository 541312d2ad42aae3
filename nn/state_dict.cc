#include "nn/state_dict.h"

#include <cstring>

#include "core/error.h"

namespace hr {
namespace {

constexpr std::string_view kOptimizer = "optimizer.";

// Walks the elements of a filter in torch's order, giving the index of each in ours.
template <class Visit>
void permuted(const Parameter& p, const Visit& visit) {
  const Shape ours = p.shape();
  const int64_t out = ours[0], kh = ours[1], kw = ours[2], in = ours[3];
  const bool deconv = p.layout == ParameterLayout::deconv_filter;
  int64_t torch_index = 0;
  for (int64_t a = 0; a < (deconv ? in : out); ++a) {
    for (int64_t b = 0; b < (deconv ? out : in); ++b) {
      const int64_t o = deconv ? b : a, i = deconv ? a : b;
      for (int64_t y = 0; y < kh; ++y) {
        for (int64_t x = 0; x < kw; ++x) visit(torch_index++, ((o * kh + y) * kw + x) * in + i);
      }
    }
  }
}

std::string list(const std::vector<std::string>& names) {
  constexpr size_t shown = 5;
  const auto end = names.begin() + static_cast<ptrdiff_t>(std::min(shown, names.size()));
  return fmt::format("{}{}", fmt::join(names.begin(), end, ", "),
                     names.size() > shown ? fmt::format(", … ({} in all)", names.size()) : "");
}

}  // namespace

void load_state_dict(const SafetensorsFile& file, ParameterStore& store) {
  std::vector<std::string> missing, unexpected, misshaped, mistyped;
  std::map<std::string, bool> known;
  for (const auto& entry : store.entries()) {
    const std::string& name = entry.name();
    known[name] = true;
    if (!file.contains(name)) {
      if (entry.counter == nullptr) missing.push_back(name);
      continue;
    }
    const ArrayView& array = file.at(name);
    const Shape expected = entry.torch_shape();
    const bool one_number = entry.counter != nullptr && array.numel() == 1;
    if (array.shape != expected && !one_number) {
      misshaped.push_back(fmt::format("{}: file {}, model {}", name, to_string(array.shape), to_string(expected)));
    }
    // Checked here and not on the way: nothing may be changed by a file that does not fit.
    const bool floating = array.dtype == DType::f32 || array.dtype == DType::bf16 || array.dtype == DType::f64 ||
                          array.dtype == DType::f16;
    if (floating == (entry.counter != nullptr)) {
      mistyped.push_back(fmt::format("{}: file {}, model {}", name, name_of(array.dtype),
                                     name_of(entry.counter != nullptr ? DType::i64 : DType::f32)));
    }
  }
  for (const std::string& name : file.names()) {
    if (known.count(name) == 0 && !name.starts_with(kOptimizer)) unexpected.push_back(name);
  }
  if (!missing.empty() || !unexpected.empty() || !misshaped.empty() || !mistyped.empty()) {
    std::string report = fmt::format("{}: these weights do not fit the model", file.path().string());
    if (!missing.empty()) report += fmt::format("; missing: {}", list(missing));
    if (!unexpected.empty()) report += fmt::format("; unexpected: {}", list(unexpected));
    if (!misshaped.empty()) report += fmt::format("; of another shape: {}", list(misshaped));
    if (!mistyped.empty()) report += fmt::format("; of another type: {}", list(mistyped));
    const auto model = file.metadata().find("model");
    if (model != file.metadata().end()) {
      report += fmt::format("; the file says it is {} — try --model {}", model->second, model->second);
    } else {
      report += "; check --model and --num-joints";
    }
    throw Error(report);
  }
  for (const auto& entry : store.entries()) {
    if (!file.contains(entry.name())) continue;
    const ArrayView& array = file.at(entry.name());
    try {
      if (entry.counter != nullptr) {
        entry.counter->value = array.to_i64().at(0);
        continue;
      }
      const std::vector<float> values = array.to_f32();
      const Tensor& target = entry.parameter != nullptr ? entry.parameter->value : entry.buffer->value;
      float* to = target.data<float>();
      if (entry.parameter != nullptr && entry.parameter->layout != ParameterLayout::vector) {
        permuted(*entry.parameter, [&](int64_t torch_index, int64_t index) { to[index] = values[torch_index]; });
      } else {
        std::memcpy(to, values.data(), values.size() * sizeof(float));
      }
    } catch (const Error& e) {
      fail("{}: {}: {}", file.path().string(), entry.name(), e.what());
    }
  }
  ++store.version;
}

void save_state_dict(const fs::path& path, const ParameterStore& store,
                     const std::map<std::string, std::string>& metadata, const Optimizer* optimizer) {
  std::vector<std::vector<float>> permutations;
  permutations.reserve(store.entries().size());
  std::vector<NamedArray> arrays;
  const auto floats = [](std::span<const float> v) { return std::as_bytes(v); };
  for (const auto& entry : store.entries()) {
    NamedArray array{.name = entry.name(), .dtype = DType::f32, .shape = entry.torch_shape()};
    if (entry.counter != nullptr) {
      array.dtype = DType::i64;
      array.bytes = std::as_bytes(std::span(&entry.counter->value, 1));
    } else if (entry.buffer != nullptr) {
      array.bytes = floats({entry.buffer->value.data<float>(), static_cast<size_t>(entry.buffer->value.numel())});
    } else if (entry.parameter->layout == ParameterLayout::vector) {
      array.bytes = floats({entry.parameter->value.data<float>(), static_cast<size_t>(entry.parameter->value.numel())});
    } else {
      const float* from = entry.parameter->value.data<float>();
      auto& values = permutations.emplace_back(static_cast<size_t>(entry.parameter->value.numel()));
      permuted(*entry.parameter, [&](int64_t torch_index, int64_t index) { values[torch_index] = from[index]; });
      array.bytes = floats(values);
    }
    arrays.push_back(array);
  }
  int64_t steps = 0;
  if (optimizer != nullptr) {
    // The moments stay in our layout: flat slabs, in the order and padding of the parameters.
    steps = optimizer->steps;
    const auto size = static_cast<size_t>(optimizer->exp_avg.numel());
    const Shape shape{optimizer->exp_avg.numel()};
    arrays.push_back({"optimizer.exp_avg", DType::f32, shape, floats({optimizer->exp_avg.data<float>(), size})});
    arrays.push_back({"optimizer.exp_avg_sq", DType::f32, shape, floats({optimizer->exp_avg_sq.data<float>(), size})});
    arrays.push_back({"optimizer.step", DType::i64, {}, std::as_bytes(std::span(&steps, 1))});
  }
  write_safetensors(path, arrays, metadata);
}

void load_optimizer(const SafetensorsFile& file, Optimizer& optimizer) {
  check(file.contains("optimizer.exp_avg"),
        "{}: holds weights only, no optimiser state; use --weights to start from it, not --resume",
        file.path().string());
  const std::pair<const char*, Tensor> moments[] = {{"optimizer.exp_avg", optimizer.exp_avg},
                                                    {"optimizer.exp_avg_sq", optimizer.exp_avg_sq}};
  for (const auto& [name, target] : moments) {
    const ArrayView& array = file.at(name);
    check(array.dtype == DType::f32 && array.numel() == target.numel(), "{}: {} has {} elements, the model needs {}",
          file.path().string(), name, array.numel(), target.numel());
  }
  const int64_t steps = file.at("optimizer.step").to_i64().at(0);
  for (const auto& [name, target] : moments) std::memcpy(target.raw(), file.at(name).bytes.data(), target.bytes());
  optimizer.steps = steps;
}

}  // namespace hr

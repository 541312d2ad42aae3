// The entry functions for files of unknown origin: they open a file and use everything in it. The fuzz targets call
// them, and so does an ordinary test. They return normally if the file is read, or if it is refused with an Error of
// one line; everything else is a finding (a crash, a sanitizer's report, another exception, abort()).
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/io/pth.h"
#include "core/io/safetensors.h"
#include "tests/support/named_tensors.h"

namespace hr::test {

inline void require(bool holds, const char* what, const std::string& detail = {}) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s: %s\n", what, detail.c_str());
  std::abort();
}

// Requires that the message of an Error names the file and is one line of limited length.
inline void require_clear(const Error& e) {
  const std::string text = e.what();
  require(text.find("fuzzed") != std::string::npos && text.find('\n') == std::string::npos && text.size() < 2000,
          "an unclear message", text);
}

// Reads every element of a small array, and both ends of a large one. Returns the number of bytes read.
inline size_t touch(const ArrayView& a) {
  require(a.stride.empty() || a.stride.size() == a.shape.size(), "strides without dims");
  const int64_t numel = a.numel();
  require(numel >= 0, "a negative number of elements");
  if (numel > (1 << 16)) {
    for (const std::byte& end : {a.bytes.front(), a.bytes.back()}) {
      const volatile std::byte seen = end;
      (void)seen;
    }
    return 1 << 16;
  }
  std::vector<std::byte> out(static_cast<size_t>(numel) * size_of(a.dtype));
  a.copy_to(out);
  switch (a.dtype) {
    case DType::f32:
    case DType::f64:
    case DType::f16:
    case DType::bf16:
      require(a.to_f32().size() == static_cast<size_t>(numel), "to_f32");
      require(a.to_f64().size() == static_cast<size_t>(numel), "to_f64");
      break;
    default:
      require(a.to_i64().size() == static_cast<size_t>(numel), "to_i64");
  }
  return out.size();
}

// Walks a value recursively, which its limited depth allows. Small arrays are read until `budget` is used up.
inline void walk(const Value& value, int depth, int64_t& nodes, size_t& budget) {
  require(depth <= Value::kMaxDepth, "nested too deep");
  require(++nodes <= Value::kMaxNodes, "too many values");
  const auto inside = [&](const ValuePtr& item) {
    require(item != nullptr, "a null value");
    walk(*item, depth + 1, nodes, budget);
  };
  if (const auto* array = value.as<ArrayView>()) {
    if (budget > 0) budget -= std::min(budget, touch(*array));
  } else if (const auto* tuple = value.as<Value::Tuple>()) {
    for (const auto& item : tuple->items) inside(item);
  } else if (const auto* list = value.as<Value::List>()) {
    for (const auto& item : list->items) inside(item);
  } else if (const auto* dict = value.as<Value::Dict>()) {
    for (const auto& [key, item] : dict->items) {
      inside(key);
      inside(item);
    }
  } else if (const auto* object = value.as<Value::Object>()) {
    for (const auto& item : object->arguments) inside(item);
    if (object->state != nullptr) inside(object->state);
  }
}

// The processor time of this thread, so that other load on the machine does not make a reader seem slow.
inline double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

inline double slowest_seconds = 0;  // of all files so far

// A file may take one second, with sanitizers or without.
struct Stopwatch {
  double start = cpu_seconds();
  ~Stopwatch() {
    const double seconds = cpu_seconds() - start;
    slowest_seconds = std::max(slowest_seconds, seconds);
    require(seconds < 1, "slow", std::to_string(seconds) + " s");
  }
};

enum class Outcome : uint8_t { loaded, refused };

inline Outcome open_pth(std::span<const std::byte> bytes) {
  const Stopwatch stopwatch;
  try {
    const PthFile file(bytes, "fuzzed");
    require(file.root().as<Value::Dict>() != nullptr, "the top is no dict");
    int64_t nodes = 0;
    size_t budget = size_t{4} << 20;
    walk(file.root(), 1, nodes, budget);
    try {
      named_tensors(file.root(), "fuzzed");
      file.verify();
    } catch (const Error& e) {
      require_clear(e);
    }
    return Outcome::loaded;
  } catch (const Error& e) {
    require_clear(e);
    return Outcome::refused;
  }
}

inline Outcome open_safetensors(std::span<const std::byte> bytes) {
  const Stopwatch stopwatch;
  try {
    const SafetensorsFile file(bytes, "fuzzed");
    size_t covered = 0;
    for (const std::string& name : file.names()) {
      touch(file.at(name));
      covered += file.at(name).bytes.size();
    }
    require(covered <= bytes.size(), "tensors overlap");
    return Outcome::loaded;
  } catch (const Error& e) {
    require_clear(e);
    return Outcome::refused;
  }
}

}  // namespace hr::test

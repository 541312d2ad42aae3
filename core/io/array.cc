#include "core/io/array.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/error.h"

namespace hr {
namespace {

static_assert(std::endian::native == std::endian::little, "the raw data of every format here is little-endian");

struct Dim {
  int64_t extent, step;  // The step in elements.
};

// Returns the dimensions that must be walked, outermost first: without those of extent 1, and with neighbours merged
// that can be walked as one.
std::vector<Dim> walked_dims(const ArrayView& a) {
  std::vector<Dim> dims;
  int64_t row_major = 1;
  for (size_t i = a.shape.size(); i-- > 0;) {
    const int64_t extent = a.shape[i], step = a.stride.empty() ? row_major : a.stride[i];
    row_major *= extent;
    if (extent == 1) continue;
    if (!dims.empty() && step == dims.back().step * dims.back().extent) {
      dims.back().extent *= extent;
    } else {
      dims.push_back({extent, step});
    }
  }
  std::reverse(dims.begin(), dims.end());
  return dims;
}

// A reader has already checked this; a view made by hand has not been checked.
void check_inside(const ArrayView& a) {
  check(a.stride.empty() || a.stride.size() == a.shape.size(), "an array has {} dims and {} strides", a.shape.size(),
        a.stride.size());
  int64_t needed = a.numel() == 0 ? 0 : 1;
  for (const Dim& d : walked_dims(a)) {
    if (needed != 0) needed += (d.extent - 1) * d.step;
  }
  needed *= static_cast<int64_t>(size_of(a.dtype));
  check(needed >= 0 && static_cast<size_t>(needed) <= a.bytes.size(), "an array of [{}] {} needs {} bytes, has {}",
        fmt::join(a.shape, ", "), name_of(a.dtype), needed, a.bytes.size());
}

// Calls visit(first element, count, step in bytes) for each innermost row, in row-major order.
template <class Visit>
void for_each_row(const ArrayView& a, Visit visit) {
  check_inside(a);
  if (a.numel() == 0) return;
  const auto size = static_cast<int64_t>(size_of(a.dtype));
  std::vector<Dim> dims = walked_dims(a);
  const Dim row = dims.empty() ? Dim{1, 1} : dims.back();
  if (!dims.empty()) dims.pop_back();
  std::vector<int64_t> index(dims.size(), 0);
  const std::byte* p = a.bytes.data();
  for (;;) {
    visit(p, row.extent, row.step * size);
    size_t i = dims.size();
    while (i-- > 0) {
      p += dims[i].step * size;
      if (++index[i] < dims[i].extent) break;
      p -= dims[i].extent * dims[i].step * size;
      index[i] = 0;
    }
    if (i == static_cast<size_t>(-1)) return;
  }
}

// Calls `load` for every stored element. It uses memcpy, because the data in a file may be unaligned.
template <class Stored, class To, class Load>
std::vector<To> converted(const ArrayView& a, Load load) {
  std::vector<To> out(static_cast<size_t>(a.numel()));
  To* to = out.data();
  for_each_row(a, [&](const std::byte* p, int64_t count, int64_t step) {
    for (int64_t i = 0; i < count; ++i) {
      Stored v;
      std::memcpy(&v, p + i * step, sizeof v);
      *to++ = load(v);
    }
  });
  return out;
}

template <class Stored>
void copy_elements(const ArrayView& a, std::byte* to) {
  for_each_row(a, [&](const std::byte* p, int64_t count, int64_t step) {
    if (step == sizeof(Stored)) {
      std::memcpy(to, p, static_cast<size_t>(count) * sizeof(Stored));
    } else {
      for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * sizeof(Stored), p + i * step, sizeof(Stored));
    }
    to += static_cast<size_t>(count) * sizeof(Stored);
  });
}

// Converts IEEE half to float, including subnormals.
float half_to_float(uint16_t h) {
  const uint32_t sign = uint32_t{h & 0x8000u} << 16;
  const uint32_t exponent = h >> 10 & 31u;
  const uint32_t mantissa = h & 0x3ffu;
  if (exponent == 0)
    return std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-24f) | sign);
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

template <class To>
std::vector<To> to_floating(const ArrayView& a) {
  const auto same = [](auto v) { return static_cast<To>(v); };
  switch (a.dtype) {
    case DType::f32:
      return converted<float, To>(a, same);
    case DType::f64:
      return converted<double, To>(a, same);
    case DType::bf16:
      return converted<uint16_t, To>(
          a, [](uint16_t v) { return static_cast<To>(std::bit_cast<float>(uint32_t{v} << 16)); });
    case DType::f16:
      return converted<uint16_t, To>(a, [](uint16_t v) { return static_cast<To>(half_to_float(v)); });
    default:
      fail("expected floating-point elements, found {}", name_of(a.dtype));
  }
}

}  // namespace

int64_t ArrayView::numel() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

bool ArrayView::dense() const {
  if (stride.empty() || numel() == 0) return true;
  const std::vector<Dim> dims = walked_dims(*this);
  return dims.empty() || (dims.size() == 1 && dims[0].step == 1);
}

std::vector<float> ArrayView::to_f32() const {
  if (dtype != DType::f32) return to_floating<float>(*this);
  std::vector<float> out(static_cast<size_t>(numel()));
  copy_to(std::as_writable_bytes(std::span(out)));
  return out;
}

std::vector<double> ArrayView::to_f64() const { return to_floating<double>(*this); }

std::vector<int64_t> ArrayView::to_i64() const {
  const auto widen = [](auto v) { return static_cast<int64_t>(v); };
  switch (dtype) {
    case DType::i64:
      return converted<int64_t, int64_t>(*this, widen);
    case DType::i32:
      return converted<int32_t, int64_t>(*this, widen);
    case DType::i16:
      return converted<int16_t, int64_t>(*this, widen);
    case DType::i8:
      return converted<int8_t, int64_t>(*this, widen);
    case DType::u8:
      return converted<uint8_t, int64_t>(*this, widen);
    case DType::boolean:
      return converted<uint8_t, int64_t>(*this, [](uint8_t v) { return int64_t{v != 0}; });
    default:
      fail("expected integer elements, found {}", name_of(dtype));
  }
}

void ArrayView::copy_to(std::span<std::byte> out) const {
  const size_t size = size_of(dtype), expected = static_cast<size_t>(numel()) * size;
  check(out.size() == expected, "copying an array of {} bytes into {} bytes", expected, out.size());
  if (stride.empty() && bytes.size() >= expected) {
    if (expected != 0) std::memcpy(out.data(), bytes.data(), expected);
    return;
  }
  if (size == 8) return copy_elements<uint64_t>(*this, out.data());
  if (size == 4) return copy_elements<uint32_t>(*this, out.data());
  if (size == 2) return copy_elements<uint16_t>(*this, out.data());
  copy_elements<uint8_t>(*this, out.data());
}

}  // namespace hr

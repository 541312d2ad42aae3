#include "hrnet/export/onnx_plain_ops.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace hr {
namespace {

size_t count(const Shape& shape) { return static_cast<size_t>(numel(shape)); }

OnnxArray made(DType dtype, Shape shape) {
  OnnxArray a{.dtype = dtype, .shape = std::move(shape), .reals = {}, .integers = {}};
  dtype == DType::f32 ? a.reals.resize(count(a.shape)) : a.integers.resize(count(a.shape));
  return a;
}

// Returns the common shape to which NumPy broadcasts two arrays.
Shape together(const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (const Shape* one : {&a, &b}) {
    const size_t lead = shape.size() - one->size();
    for (size_t i = 0; i < one->size(); ++i) {
      int64_t& d = shape[lead + i];
      check(d == (*one)[i] || d == 1 || (*one)[i] == 1, "shapes {} and {} cannot be broadcast", to_string(a),
            to_string(b));
      d = std::max(d, (*one)[i]);
    }
  }
  return shape;
}

// Returns, for every element of `shape` in order, the index of the element of `from` that is broadcast to it.
std::vector<size_t> places(const Shape& from, const Shape& shape) {
  Shape stride(shape.size(), 0);
  int64_t step = 1;
  for (size_t i = from.size(); i-- > 0;) {
    if (from[i] != 1) stride[shape.size() - from.size() + i] = step;
    step *= from[i];
  }
  std::vector<size_t> out(count(shape));
  Shape at(shape.size(), 0);
  int64_t place = 0;
  for (size_t& o : out) {
    o = static_cast<size_t>(place);
    for (size_t d = shape.size(); d-- > 0;) {
      place += stride[d];
      if (++at[d] < shape[d]) break;
      place -= stride[d] * shape[d];
      at[d] = 0;
    }
  }
  return out;
}

template <class T, class R, class F>
void map_two(const std::vector<T>& a, const Shape& a_shape, const std::vector<T>& b, const Shape& b_shape,
             const Shape& shape, std::vector<R>& out, const F& f) {
  if (a_shape == shape && b_shape == shape) {
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<R>(f(a[i], b[i]));
    return;
  }
  const std::vector<size_t> in_a = places(a_shape, shape), in_b = places(b_shape, shape);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<R>(f(a[in_a[i]], b[in_b[i]]));
}

template <class T>
T arithmetic(char op, T a, T b) {
  switch (op) {
    case '+':
      return a + b;
    case '-':
      return a - b;
    case '*':
      return a * b;
    default:
      return a / b;
  }
}

int64_t modulo(int64_t a, int64_t b) {
  const int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

}  // namespace

OnnxArray onnx_unary(const std::string& op, const OnnxArray& x) {
  check(x.dtype == DType::f32, "expected f32, got {}", name_of(x.dtype));
  OnnxArray y = x;
  const auto all = [&](auto f) {
    for (float& v : y.reals) v = f(v);
  };
  if (op == "Relu") {
    all([](float v) { return v < 0 ? 0.0F : v; });
  } else if (op == "Sigmoid") {
    all([](float v) { return static_cast<float>(1 / (1 + std::exp(-static_cast<double>(v)))); });
  } else if (op == "Exp") {
    all([](float v) { return std::exp(v); });
  } else if (op == "Log") {
    all([](float v) { return std::log(v); });
  } else if (op == "Sign") {
    all([](float v) { return v > 0 ? 1.0F : v < 0 ? -1.0F : 0.0F; });
  } else {
    fail("this op with one input is not supported");
  }
  return y;
}

OnnxArray onnx_binary(const std::string& op, const OnnxArray& a, const OnnxArray& b) {
  check(a.dtype == b.dtype, "expected two inputs of one element type, got {} and {}", name_of(a.dtype),
        name_of(b.dtype));
  const bool compares = op == "Greater" || op == "Less" || op == "And", real = a.dtype == DType::f32;
  check((op == "And") == (a.dtype == DType::boolean), "the element type {} is not supported", name_of(a.dtype));
  OnnxArray y = made(compares ? DType::boolean : a.dtype, together(a.shape, b.shape));
  const auto run = [&](auto f) {
    if (real && compares) {
      map_two(a.reals, a.shape, b.reals, b.shape, y.shape, y.integers, f);
    } else if (real) {
      map_two(a.reals, a.shape, b.reals, b.shape, y.shape, y.reals, f);
    } else {
      map_two(a.integers, a.shape, b.integers, b.shape, y.shape, y.integers, f);
    }
  };
  const auto is = [&](const char* name, char symbol) {
    if (op == name) run([symbol](auto p, auto q) { return arithmetic(symbol, p, q); });
    return op == name;
  };
  if (op == "Div" && !real) {
    check(std::find(b.integers.begin(), b.integers.end(), 0) == b.integers.end(), "division of whole numbers by 0");
  }
  if (is("Add", '+') || is("Sub", '-') || is("Mul", '*') || is("Div", '/')) return y;
  if (op == "Greater") {
    run([](auto p, auto q) { return p > q; });
  } else if (op == "Less") {
    run([](auto p, auto q) { return p < q; });
  } else if (op == "And") {
    run([](auto p, auto q) { return p != 0 && q != 0; });
  } else if (op == "Max") {
    run([](auto p, auto q) { return std::max(p, q); });
  } else if (op == "Min") {
    run([](auto p, auto q) { return std::min(p, q); });
  } else if (op == "Mod" && !real) {
    check(std::find(b.integers.begin(), b.integers.end(), 0) == b.integers.end(), "division of whole numbers by 0");
    map_two(a.integers, a.shape, b.integers, b.shape, y.shape, y.integers, modulo);
  } else {
    fail("this op with two inputs is not supported");
  }
  return y;
}

OnnxArray onnx_where(const OnnxArray& condition, const OnnxArray& a, const OnnxArray& b) {
  check(condition.dtype == DType::boolean && a.dtype == DType::f32 && b.dtype == DType::f32,
        "expected bool, f32 and f32, got {}, {} and {}", name_of(condition.dtype), name_of(a.dtype), name_of(b.dtype));
  OnnxArray y = made(DType::f32, together(condition.shape, together(a.shape, b.shape)));
  const auto at = places(condition.shape, y.shape), in_a = places(a.shape, y.shape), in_b = places(b.shape, y.shape);
  for (size_t i = 0; i < y.reals.size(); ++i)
    y.reals[i] = condition.integers[at[i]] != 0 ? a.reals[in_a[i]] : b.reals[in_b[i]];
  return y;
}

OnnxArray onnx_quantize(const OnnxArray& x, const OnnxArray& scale, const OnnxArray& zero) {
  check(x.dtype == DType::f32 && scale.reals.size() == 1 && zero.integers.size() == 1 && scale.reals[0] > 0,
        "expected an f32 array, one positive scale and one zero");
  OnnxArray y = made(DType::i64, x.shape);
  constexpr float least = 0, most = 255;
  const auto offset = static_cast<float>(zero.integers[0]);
  for (size_t i = 0; i < y.integers.size(); ++i) {
    const float v = std::nearbyint(x.reals[i] / scale.reals[0]) + offset;
    check(!std::isnan(v), "a number to be rounded is not a number");
    y.integers[i] = static_cast<int64_t>(std::clamp(v, least, most));
  }
  return y;
}

OnnxArray onnx_dequantize(const OnnxArray& x, const OnnxArray& scale, const OnnxArray* zero, int64_t axis) {
  const size_t steps = scale.reals.size(), rank = x.shape.size();
  const bool one = steps == 1 && scale.shape.empty();
  check(x.dtype != DType::f32 && (one || (axis >= 0 && static_cast<size_t>(axis) < rank &&
                                          x.shape[static_cast<size_t>(axis)] == static_cast<int64_t>(steps))),
        "expected whole numbers and one scale, or one for each index along the axis {}; got {} scales for {}", axis,
        steps, to_string(x.shape));
  check(zero == nullptr || zero->integers.size() == steps, "expected as many zeros as scales");
  size_t inner = 1;
  if (!one) {
    for (size_t d = static_cast<size_t>(axis) + 1; d < rank; ++d) inner *= static_cast<size_t>(x.shape[d]);
  }
  OnnxArray y = made(DType::f32, x.shape);
  for (size_t i = 0; i < y.reals.size(); ++i) {
    const size_t at = one ? 0 : i / inner % steps;
    y.reals[i] = static_cast<float>(x.integers[i] - (zero != nullptr ? zero->integers[at] : 0)) * scale.reals[at];
  }
  return y;
}

OnnxArray onnx_cast(const OnnxArray& x, int64_t type) {
  constexpr int64_t to_f32 = 1, to_i64 = 7;
  check(type == to_f32 || type == to_i64, "expected a conversion to element type 1 (float) or 7 (int64), got {}", type);
  OnnxArray y = made(type == to_f32 ? DType::f32 : DType::i64, x.shape);
  const auto copy = [](const auto& from, auto& to) {
    using To = typename std::remove_reference_t<decltype(to)>::value_type;
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<To>(from[i]);
  };
  const auto fill = [&](const auto& from) { type == to_f32 ? copy(from, y.reals) : copy(from, y.integers); };
  x.dtype == DType::f32 ? fill(x.reals) : fill(x.integers);
  return y;
}

OnnxArray onnx_transpose(const OnnxArray& x, const std::vector<int64_t>& permutation) {
  const size_t rank = x.shape.size();
  check(rank > 0 && permutation.size() == rank && x.dtype == DType::f32,
        "expected an f32 array and all of its axes, got {} and {} axes", to_string(x.shape), permutation.size());
  if (numel(x.shape) == 0) return made(DType::f32, x.shape);
  Shape stride(rank, 1), shape(rank), step(rank), at(rank, 0);
  for (size_t i = rank; i-- > 1;) stride[i - 1] = stride[i] * x.shape[i];
  for (size_t i = 0; i < rank; ++i) {
    shape[i] = x.shape.at(static_cast<size_t>(permutation[i]));
    step[i] = stride[static_cast<size_t>(permutation[i])];
  }
  OnnxArray y = made(DType::f32, shape);
  // The loop copies one row of the last dimension after another.
  const int64_t row = shape.back(), along = step.back();
  const float* from = x.reals.data();
  int64_t place = 0;
  for (float* to = y.reals.data(); to != y.reals.data() + y.reals.size(); to += row) {
    for (int64_t i = 0; i < row; ++i) to[i] = from[place + i * along];
    for (size_t d = rank - 1; d-- > 0;) {
      place += step[d];
      if (++at[d] < shape[d]) break;
      place -= step[d] * shape[d];
      at[d] = 0;
    }
  }
  return y;
}

OnnxArray onnx_reshape(OnnxArray x, const std::vector<int64_t>& asked) {
  Shape shape = asked;
  int64_t known = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) shape[i] = x.shape.at(i);
    if (shape[i] > 0) known *= shape[i];
  }
  for (int64_t& d : shape) {
    if (d == -1) d = known > 0 ? numel(x.shape) / known : 0;
  }
  check(numel(shape) == numel(x.shape), "an array of shape {} cannot be reshaped to {}", to_string(x.shape),
        to_string(asked));
  x.shape = std::move(shape);
  return x;
}

OnnxArray onnx_concat(const std::vector<const OnnxArray*>& parts, int64_t axis) {
  check(!parts.empty() && axis >= 0 && axis < static_cast<int64_t>(parts[0]->shape.size()),
        "the inputs have no axis {}", axis);
  const auto along = static_cast<size_t>(axis);
  Shape shape = parts[0]->shape;
  shape[along] = 0;
  for (const OnnxArray* p : parts) {
    Shape other = p->shape;
    check(other.size() == shape.size() && p->dtype == DType::f32, "expected f32 inputs of one rank, got {} {}",
          to_string(p->shape), name_of(p->dtype));
    shape[along] += other[along];
    other[along] = parts[0]->shape[along];
    check(other == parts[0]->shape, "shapes {} and {} differ in another axis than {}", to_string(p->shape),
          to_string(parts[0]->shape), axis);
  }
  OnnxArray y = made(DType::f32, shape);
  const auto outer = numel({shape.begin(), shape.begin() + axis});
  float* to = y.reals.data();
  for (int64_t o = 0; o < outer; ++o) {
    for (const OnnxArray* p : parts) {
      const auto size = static_cast<int64_t>(p->reals.size()) / outer;
      to = std::copy_n(p->reals.data() + o * size, size, to);
    }
  }
  return y;
}

OnnxArray onnx_slice(const OnnxArray& x, const OnnxSlice& s) {
  check(x.dtype == DType::f32 && s.axis >= 0 && s.axis < static_cast<int64_t>(x.shape.size()) && s.start >= 0 &&
            s.step >= 1,
        "a slice of shape {} along axis {} from {} in steps of {} is not supported", to_string(x.shape), s.axis,
        s.start, s.step);
  const auto along = static_cast<size_t>(s.axis);
  const int64_t end = std::min(s.end, x.shape[along]);
  Shape shape = x.shape;
  shape[along] = std::max<int64_t>(0, (end - s.start + s.step - 1) / s.step);
  OnnxArray y = made(DType::f32, shape);
  const int64_t outer = numel({shape.begin(), shape.begin() + s.axis});
  const int64_t inner = numel({shape.begin() + s.axis + 1, shape.end()});
  float* to = y.reals.data();
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < shape[along]; ++i)
      to = std::copy_n(x.reals.data() + (o * x.shape[along] + s.start + i * s.step) * inner, inner, to);
  }
  return y;
}

OnnxArray onnx_gather_elements(const OnnxArray& x, const OnnxArray& indices, int64_t axis) {
  const size_t rank = x.shape.size();
  check(rank > 0 && axis == static_cast<int64_t>(rank) - 1 && indices.shape.size() == rank && x.dtype == DType::f32,
        "shape {}, indices {}, axis {}: only f32 arrays and the last axis are supported", to_string(x.shape),
        to_string(indices.shape), axis);
  check(std::equal(x.shape.begin(), x.shape.end() - 1, indices.shape.begin()),
        "shapes {} and {} differ in another axis than the last", to_string(x.shape), to_string(indices.shape));
  OnnxArray y = made(DType::f32, indices.shape);
  const int64_t size = x.shape.back(), each = indices.shape.back();
  for (size_t i = 0; i < y.reals.size(); ++i) {
    const int64_t index = indices.integers[i] < 0 ? indices.integers[i] + size : indices.integers[i];
    check(index >= 0 && index < size, "index {} is outside of {} elements", indices.integers[i], size);
    y.reals[i] = x.reals[static_cast<size_t>(static_cast<int64_t>(i) / each * size + index)];
  }
  return y;
}

namespace {
Shape reduced(const OnnxArray& x, bool keep) {
  check(x.dtype == DType::f32 && !x.shape.empty() && x.shape.back() > 0,
        "expected an f32 array that is not empty, got shape {}", to_string(x.shape));
  Shape shape = x.shape;
  shape.pop_back();
  if (keep) shape.push_back(1);
  return shape;
}
}  // namespace

OnnxArray onnx_argmax(const OnnxArray& x, bool keep) {
  OnnxArray y = made(DType::i64, reduced(x, keep));
  const int64_t size = x.shape.back();
  for (size_t i = 0; i < y.integers.size(); ++i) {
    const auto first = x.reals.begin() + static_cast<int64_t>(i) * size;
    y.integers[i] = std::max_element(first, first + size) - first;
  }
  return y;
}

OnnxArray onnx_max(const OnnxArray& x, bool keep) {
  OnnxArray y = made(DType::f32, reduced(x, keep));
  const int64_t size = x.shape.back();
  for (size_t i = 0; i < y.reals.size(); ++i) {
    const auto first = x.reals.begin() + static_cast<int64_t>(i) * size;
    y.reals[i] = *std::max_element(first, first + size);
  }
  return y;
}

OnnxArray onnx_repeat(const OnnxArray& x, int64_t times) {
  check(x.shape.size() == 4 && x.dtype == DType::f32, "expected f32 [N, C, H, W], got shape {}", to_string(x.shape));
  const int64_t h = x.shape[2] * times, w = x.shape[3] * times;
  OnnxArray y = made(DType::f32, {x.shape[0], x.shape[1], h, w});
  float* to = y.reals.data();
  for (int64_t map = 0; map < x.shape[0] * x.shape[1]; ++map) {
    for (int64_t row = 0; row < h; ++row) {
      const float* from = x.reals.data() + (map * x.shape[2] + row / times) * x.shape[3];
      for (int64_t column = 0; column < w; ++column) *to++ = from[column / times];
    }
  }
  return y;
}

}  // namespace hr

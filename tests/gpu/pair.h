// A context on a GPU, one on the CPU, and tensors with the same numbers on both.
//
// Without a GPU every test here is skipped, with the reason. HRNET_TEST_DEVICE=cpu compares the CPU with itself
// instead. This says nothing about a GPU and is meant for work on the tests; a line on stderr says so.
#pragma once
#include <gtest/gtest.h>

#include <cstdlib>

#include "hrnet/model/make_context.h"
#include "tests/support/gradients.h"

namespace hr::test {

inline std::string test_device() {
  const char* name = std::getenv("HRNET_TEST_DEVICE");
  return name != nullptr ? name : "cuda";
}

// Makes the context of the device under test.
inline Context device_context(DType precision = DType::f32) {
  return make_context({.device = test_device(), .amp = precision == DType::bf16});
}

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    if (test_device() == "cpu") {
      std::fputs("note: HRNET_TEST_DEVICE=cpu compares the CPU with itself; no GPU is tested\n", stderr);
      return;
    }
    if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU: " << cuda::why_no_device();
  }
};

inline Tensor place(const Context& cx, const Shape& shape, DType t, const Values& v) {
  Context cpu;
  const Tensor host = make(cpu, shape, t, v);
  Tensor x = cx.empty(shape, t);
  cx.upload(x, {host.data<std::byte>(), host.bytes()});
  return x;
}

inline Values fetch(const Context& cx, const Tensor& x) {
  Context cpu;
  const Tensor host = cpu.empty(x.shape(), x.dtype());
  cx.download(x, {host.data<std::byte>(), host.bytes()});
  return values(host);
}

inline std::vector<std::byte> bytes_of(const Context& cx, const Tensor& x) {
  std::vector<std::byte> bytes(x.bytes());
  cx.download(x, bytes);
  return bytes;
}

// The results of a function of named inputs on one device: its output, and the gradient of every input for a given dy.
struct Run {
  Values y;
  std::vector<Values> gradients;
};
struct Input {
  Shape shape;
  DType dtype = DType::f32;
  uint64_t seed = 1;
};
// body(cx, inputs) returns the output. dy is random.
template <class Body>
Run run_on(Context cx, const std::vector<Input>& inputs, const Body& body, bool training = false) {
  Tape tape;
  cx.tape = &tape;
  cx.training = training;
  std::vector<Tensor> tensors;
  std::vector<std::shared_ptr<Tensor>> gradients;
  for (const Input& in : inputs) {
    tensors.push_back(place(cx, in.shape, in.dtype, random_values(numel(in.shape), in.seed, in.dtype)));
    gradients.push_back(watch(cx, tensors.back()));
  }
  const Tensor y = body(cx, tensors);
  const Tensor dy = place(cx, y.shape(), y.dtype(), random_values(y.numel(), 99, y.dtype()));
  tape.backward(cx, weighted_sum(cx, {{y, dy}}));
  Run run{fetch(cx, y), {}};
  for (const auto& g : gradients) run.gradients.push_back(g->defined() ? fetch(cx, *g) : Values());
  return run;
}

// Expects the same on both devices, up to `tolerance` times the largest number of each result.
template <class Body>
void expect_same(DType t, double tolerance, const std::vector<Input>& inputs, const Body& body, bool training = false) {
  Context cpu;
  cpu.precision = t;
  const Run expected = run_on(cpu, inputs, body, training), actual = run_on(device_context(t), inputs, body, training);
  EXPECT_TRUE(close(actual.y, expected.y, tolerance * max_abs(expected.y) + 1e-30)) << "output";
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_TRUE(close(actual.gradients[i], expected.gradients[i], tolerance * max_abs(expected.gradients[i]) + 1e-30))
        << "gradient of input " << i;
  }
}

}  // namespace hr::test

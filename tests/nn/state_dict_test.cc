#include "nn/state_dict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "nn/layers.h"
#include "tests/support/oracle.h"
#include "tests/support/parameters.h"
#include "tests/support/smaps.h"

namespace hr {
namespace {

using test::Values;

// A filter, a deconvolution's filter, a vector, a buffer and a counter.
struct Small : Model {
  Context cx;
  ParameterStore& store = parameters();
  Parameter &filter, &deconv, &vector;
  Buffer& buffer;
  Counter& counter;
  explicit Small(uint64_t seed = 1)
      : filter(store.add_parameter("a.weight", {2, 3, 1, 2}, ParameterLayout::filter, 0, 1)),
        deconv(store.add_parameter("b.weight", {2, 3, 2, 1}, ParameterLayout::deconv_filter, 0, 1)),
        vector(store.add_parameter("c.bias", {5}, ParameterLayout::plain, 0, 1)),
        buffer(store.add_buffer("c.running_mean", 3, 0.5f)),
        counter(store.add_counter("c.num_batches_tracked")) {
    store.allocate(cx, seed);
  }
};

fs::path fresh() { return test::temporary_folder() / "w.safetensors"; }

// The kB of a tensor's file that are in memory; -1 if the system does not say.
long in_memory(const WeightFile& file, const char* name) {
  const std::string text = test::smaps_field(file.at(name).bytes.data(), "Rss:");
  return text.empty() ? -1 : std::stol(text);
}

struct Large : Model {
  Context cx;
  Parameter &filter, &vector;
  Large()
      : filter(parameters().add_parameter("a.weight", {512, 512, 3, 3}, ParameterLayout::filter, 0, 1)),
        vector(parameters().add_parameter("b.weight", {1 << 20}, ParameterLayout::plain, 2, 1)) {
    parameters().allocate(cx, 7);
  }
};

// 13 MB of weights and their 13 MB of the file are not in memory at the same time.
TEST(StateDict, WhatHasBeenCopiedFromAFileLeavesMemory) {
  Large first, second;
  const fs::path path = fresh();
  save_weights(path, first);
  second.vector.value.data<float>()[5] = 0;
  const WeightFile file(path);
  if (in_memory(file, "a.weight") < 0) GTEST_SKIP() << "/proc/self/smaps does not exist here";
  // The system reads some pages around those that are needed.
  constexpr long kFew = 1024;
  load_matching(file, second.parameters());
  EXPECT_LT(in_memory(file, "a.weight"), kFew);
  const std::span<const std::byte> bytes = file.at("b.weight").bytes;
  EXPECT_EQ(file.at("b.weight").to_f32(), std::vector<float>(1 << 20, 2.0F)) << "it is read again";
  EXPECT_GT(in_memory(file, "a.weight"), 4000);
  file.release(file.at("b.weight"));
  EXPECT_LT(in_memory(file, "a.weight"), kFew);
  EXPECT_EQ(second.vector.value.data<float>()[5], 2.0F);
  // Memory that is not the file's stays as it is.
  const std::vector<std::byte> own(bytes.begin(), bytes.end());
  file.release({DType::f32, {1 << 20}, own});
  EXPECT_TRUE(std::ranges::equal(own, bytes));
}

std::string why_refused(const fs::path& path, Model& model) {
  try {
    load_weights(path, model);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// The contents of a file, which tests change and write again.
struct Contents {
  struct Array {
    DType dtype;
    Shape shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Array> arrays;

  explicit Contents(const fs::path& path) {
    const SafetensorsFile file(path);
    for (const std::string& name : file.names()) {
      const ArrayView& a = file.at(name);
      arrays[name] = {a.dtype, a.shape, {a.bytes.begin(), a.bytes.end()}};
    }
  }
  void write(const fs::path& path, const std::map<std::string, std::string>& metadata = {}) const {
    std::vector<NamedArray> list;
    for (const auto& [name, a] : arrays) list.push_back({name, a.dtype, a.shape, a.bytes});
    write_safetensors(path, list, metadata);
  }
};

TEST(StateDict, FiltersAreStoredInTorchsOrder) {
  Small s;
  // Ours [O, kh, kw, I] = [2, 1, 2, 3], named by o, x, i; torch's [O, I, kh, kw] by o, i, x.
  const float filter[] = {/*o0 x0*/ 0,   10,  20,  /*x1*/ 1,   11,  21,
                          /*o1 x0*/ 100, 110, 120, /*x1*/ 101, 111, 121};
  const Values filter_torch = {/*o0 i0*/ 0, 1,   /*i1*/ 10, 11,  /*i2*/ 20, 21,
                               /*o1*/ 100,  101, 110,       111, 120,       121};
  // Ours [O, kh, kw, I] = [3, 2, 1, 2] by o, y, i; torch's [I, O, kh, kw] by i, o, y.
  const float deconv[] = {/*o0 y0*/ 0, 100, /*y1*/ 1, 101, /*o1*/ 10, 110, 11, 111, /*o2*/ 20, 120, 21, 121};
  const Values deconv_torch = {/*i0 o0*/ 0, 1,   /*o1*/ 10, 11,  /*o2*/ 20, 21,
                               /*i1*/ 100,  101, 110,       111, 120,       121};
  ASSERT_EQ(s.filter.value.shape(), (Shape{2, 1, 2, 3}));
  ASSERT_EQ(s.deconv.value.shape(), (Shape{3, 2, 1, 2}));
  std::memcpy(s.filter.value.raw(), filter, sizeof filter);
  std::memcpy(s.deconv.value.raw(), deconv, sizeof deconv);
  const auto path = fresh();
  save_state_dict(path, s.store, {{"model", "small"}});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.at("a.weight").shape, (Shape{2, 3, 1, 2}));
  EXPECT_EQ(file.at("a.weight").to_f64(), filter_torch);
  EXPECT_EQ(file.at("b.weight").shape, (Shape{2, 3, 2, 1}));
  EXPECT_EQ(file.at("b.weight").to_f64(), deconv_torch);
  EXPECT_EQ(file.metadata().at("model"), "small");

  Small other(2);
  load_weights(path, other);
  EXPECT_TRUE(test::same_bytes(other.filter.value, s.filter.value));
  EXPECT_TRUE(test::same_bytes(other.deconv.value, s.deconv.value));
  EXPECT_EQ(test::torch_order(other.deconv, other.deconv.value), deconv_torch) << "the helper of other tests";
}

// The value of every element is made of its digits o, i, y, x.
TEST(StateDict, SquareKernelsAreNotTransposed) {
  const float ours[] = {0,    100,  1,    101,  10,   110,  11,   111,
                        1000, 1100, 1001, 1101, 1010, 1110, 1011, 1111};  // o, y, x, i
  Context cx;
  ParameterStore store;
  Parameter& filter = store.add_parameter("filter", {2, 2, 2, 2}, ParameterLayout::filter, 0, 1);
  Parameter& deconv = store.add_parameter("deconv", {2, 2, 2, 2}, ParameterLayout::deconv_filter, 0, 1);
  store.allocate(cx, 1);
  std::memcpy(filter.value.raw(), ours, sizeof ours);
  std::memcpy(deconv.value.raw(), ours, sizeof ours);
  const auto path = fresh();
  save_state_dict(path, store, {});
  const SafetensorsFile file(path);
  EXPECT_EQ(file.at("filter").to_f64(),
            (Values{0, 1, 10, 11, 100, 101, 110, 111, 1000, 1001, 1010, 1011, 1100, 1101, 1110, 1111}));
  EXPECT_EQ(file.at("deconv").to_f64(),
            (Values{0, 1, 10, 11, 1000, 1001, 1010, 1011, 100, 101, 110, 111, 1100, 1101, 1110, 1111}));
}

TEST(StateDict, RoundTripKeepsEveryByte) {
  Small s(1), other(2);
  s.counter.value = (int64_t{1} << 40) + 3;
  s.buffer.value.data<float>()[1] = -7;
  const auto first = fresh(), second = fresh();
  save_state_dict(first, s.store, {});
  const uint64_t version = other.store.version;
  load_weights(first, other);
  EXPECT_GT(other.store.version, version) << "folded weights must notice";
  EXPECT_TRUE(test::same_bytes(s.store.values, other.store.values));
  EXPECT_TRUE(test::same_bytes(s.store.buffers, other.store.buffers));
  EXPECT_EQ(other.counter.value, s.counter.value);
  save_state_dict(second, other.store, {});
  EXPECT_EQ(read_file(first), read_file(second));
}

TEST(StateDict, NamesEverythingThatDoesNotFitAndChangesNothing) {
  Small s(1), target(2);
  const auto good = fresh(), bad = fresh();
  save_state_dict(good, s.store, {});
  Contents c(good);
  c.arrays.erase("c.bias");
  c.arrays["head.fc.weight"] = c.arrays["a.weight"];
  c.arrays["b.weight"].shape = {3, 2, 2, 1};
  c.write(bad);
  const Values before = test::values(target.store.values);
  const std::string why = why_refused(bad, target);
  for (const std::string& part :
       {bad.string(), std::string("missing: c.bias"), std::string("unexpected: head.fc.weight"),
        std::string("b.weight: file [3, 2, 2, 1], model [2, 3, 2, 1]"), std::string("`model`")}) {
    EXPECT_NE(why.find(part), std::string::npos) << part << "\nin: " << why;
  }
  EXPECT_EQ(test::values(target.store.values), before);

  c.write(bad, {{"model", "hrnet_w48"}});
  EXPECT_NE(why_refused(bad, target).find("`model` hrnet_w48"), std::string::npos);
}

// The last array is of the wrong kind. The arrays before it must not have been loaded by then.
TEST(StateDict, AWrongElementTypeChangesNothing) {
  Small s(1), target(2);
  const auto good = fresh(), bad = fresh();
  save_state_dict(good, s.store, {});
  for (const std::string name : {"c.bias", "c.running_mean", "c.num_batches_tracked"}) {
    SCOPED_TRACE(name);
    Contents c(good);
    auto& array = c.arrays[name];
    const bool counter = array.dtype == DType::i64;
    array.dtype = counter ? DType::f64 : DType::i32;
    c.write(bad);
    const Values before = test::values(target.store.values);
    const std::string why = why_refused(bad, target);
    EXPECT_NE(why.find(name), std::string::npos) << why;
    EXPECT_EQ(test::values(target.store.values), before);
  }
}

TEST(StateDict, CountersMayBeMissingOrOneElementLists) {
  Small s(1), target(2);
  const auto good = fresh(), path = fresh();
  s.counter.value = 9;
  save_state_dict(good, s.store, {});
  Contents c(good);
  c.arrays["c.num_batches_tracked"].shape = {1};
  c.write(path);
  EXPECT_EQ(why_refused(path, target), "");
  EXPECT_EQ(target.counter.value, 9);
  c.arrays.erase("c.num_batches_tracked");
  c.write(path);
  EXPECT_EQ(why_refused(path, target), "");
}

TEST(StateDict, HalfAndDoubleArraysAreConverted) {
  Small s(1), target(2);
  const auto good = fresh(), path = fresh();
  save_state_dict(good, s.store, {});
  Contents c(good);
  const double bias[] = {1, -2, 0.5, 3, 4};
  const auto bytes = std::as_bytes(std::span(bias));
  c.arrays["c.bias"] = {DType::f64, {5}, {bytes.begin(), bytes.end()}};
  c.write(path);
  EXPECT_EQ(why_refused(path, target), "");
  EXPECT_EQ(test::values(target.vector.value), (Values{1, -2, 0.5, 3, 4}));
}

TEST(StateDict, OptimizerStateSurvivesARestart) {
  const auto train = [](Small& s, Optimizer& o, int from, int to) {
    for (int step = from; step < to; ++step) {
      for (const Parameter& p : s.store.parameters()) {
        const Values g = test::random_values(p.grad.numel(), 100 + step);
        for (size_t i = 0; i < g.size(); ++i) p.grad.data<float>()[i] = static_cast<float>(g[i]);
      }
      o.step(s.cx, 1e-3 * (step + 1));
    }
  };
  const AdamStep options{.weight_decay = 1e-4, .decoupled = true};
  Small straight, before, after(99);
  Optimizer a(straight.cx, straight.store, options), b(before.cx, before.store, options),
      c(after.cx, after.store, options);
  train(straight, a, 0, 5);
  train(before, b, 0, 3);
  const auto path = fresh();
  save_state_dict(path, before.store, {}, &b);
  const SafetensorsFile file(path);
  load_weights(path, after);
  load_optimizer(file, c);
  EXPECT_EQ(c.steps(), 3);
  train(after, c, 3, 5);
  EXPECT_TRUE(test::same_bytes(straight.store.values, after.store.values));
  EXPECT_TRUE(test::same_bytes(a.exp_avg, c.exp_avg));
  EXPECT_TRUE(test::same_bytes(a.exp_avg_sq, c.exp_avg_sq));
}

TEST(StateDict, WeightsWithoutOptimizerStateCannotBeResumed) {
  Small s;
  Optimizer o(s.cx, s.store, {});
  const auto path = fresh();
  save_state_dict(path, s.store, {});
  EXPECT_THROW(load_optimizer(SafetensorsFile(path), o), Error);
  o.set_steps(7);
  save_state_dict(path, s.store, {}, &o);
  Contents c(path);
  c.arrays["optimizer.exp_avg_sq"].shape[0] -= 4;
  c.arrays["optimizer.exp_avg_sq"].bytes.resize(c.arrays["optimizer.exp_avg_sq"].bytes.size() - 16);
  c.write(path);
  EXPECT_THROW(load_optimizer(SafetensorsFile(path), o), Error) << "moments of another model";
}

TEST(StateDict, AStepCountThatIsNoneIsCalledThat) {
  Small s;
  Optimizer o(s.cx, s.store, {});
  o.set_steps(7);
  const auto path = fresh();
  save_state_dict(path, s.store, {}, &o);
  const auto expect = [&](const Contents& c) {
    c.write(path);
    std::string why;
    try {
      load_optimizer(SafetensorsFile(path), o);
    } catch (const Error& e) {
      why = e.what();
    }
    EXPECT_NE(why.find("w.safetensors: optimizer.step"), std::string::npos) << why;
    EXPECT_NE(why.find("expected one whole number"), std::string::npos) << why;
    EXPECT_EQ(o.steps(), 7);
  };
  Contents c(path);
  const auto number = [](int64_t v) {
    const auto bytes = std::as_bytes(std::span(&v, 1));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  };
  c.arrays["optimizer.step"] = {DType::i64, {0}, {}};
  expect(c);
  c.arrays["optimizer.step"] = {DType::f64, {}, number(0)};
  expect(c);
  c.arrays["optimizer.step"] = {DType::i64, {}, number(-1)};
  expect(c);
  c.arrays["optimizer.step"] = {DType::i64, {}, number(std::numeric_limits<int64_t>::max())};
  expect(c);
}

TEST(ParameterStore, InitialValuesDependOnTheSeedOnly) {
  const Small a(5), b(5), c(6);
  EXPECT_TRUE(test::same_bytes(a.store.values, b.store.values));
  EXPECT_FALSE(test::same_bytes(a.store.values, c.store.values));
  EXPECT_EQ(a.store.parameter_count(), 12 + 12 + 5);
  EXPECT_EQ(test::values(a.buffer.value), Values(3, 0.5));
  // Slabs are padded to cache lines, and the gaps hold zeros.
  double sum = 0, parts = 0;
  for (const double v : test::values(a.store.values)) sum += std::abs(v);
  for (const Parameter& p : a.store.parameters()) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(p.value.raw()) % 64, 0u);
    for (const double v : test::values(p.value)) parts += std::abs(v);
  }
  EXPECT_NEAR(sum, parts, 1e-12);
}

}  // namespace
}  // namespace hr

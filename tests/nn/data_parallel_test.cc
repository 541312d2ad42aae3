// The buckets of the gradient slab, and averaging them over ranks.
#include "nn/data_parallel.h"

#include <gtest/gtest.h>

#include "tests/support/ranks.h"

namespace hr {
namespace {

// Declares parameters of these sizes (in elements) on one slab.
void declare(ParameterStore& store, const std::vector<int64_t>& sizes) {
  for (size_t i = 0; i < sizes.size(); ++i) {
    const std::string name = fmt::format("p{}", i);
    store.add_parameter(name, {sizes[i]}, ParameterLayout::plain, static_cast<float>(i), 0);
    store.add_buffer(name + ".running_mean", 3, 0);
    store.add_counter(name + ".count");
  }
}

struct OwnSlab {
  ParameterStore store;
  Context cx;
  Tape tape;
  explicit OwnSlab(const std::vector<int64_t>& sizes) {
    declare(store, sizes);
    store.allocate(cx, 1);
    store.bind(tape);
    cx.tape = &tape;
  }
  OwnSlab(const OwnSlab&) = delete;
  OwnSlab& operator=(const OwnSlab&) = delete;

  // Runs a pass in which every element of parameter i gets the gradient `value` + i, last parameter first.
  void backward(float value) {
    const auto& parameters = store.parameters();
    for (size_t i = 0; i < parameters.size(); ++i) {
      tape.record([i, value, p = &parameters[i]](Context& bx) {
        const Tape::Sink sink = bx.tape->sink(p->value);
        std::fill_n(sink.grad.data<float>(), p->value.numel(), value + static_cast<float>(i));
      });
    }
    tape.backward(cx, cx.zeros({1}, DType::f32));
  }
};

TEST(GradientBuckets, CutTheSlabFromItsEndAtWholeParameters) {
  const std::vector<int64_t> sizes{16, 48, 1000, 200, 16, 3000, 64, 1, 2000, 160};
  OwnSlab m(sizes);
  for (const int64_t bytes : {int64_t{1}, int64_t{400}, int64_t{4000}, int64_t{9000}, int64_t{1} << 20}) {
    for (const int64_t last : {int64_t{1}, int64_t{300}, int64_t{1} << 20}) {
      const auto buckets = gradient_buckets(m.store, bytes, last);
      ASSERT_FALSE(buckets.empty());
      EXPECT_EQ(buckets.front().end, m.store.grads.numel());
      EXPECT_EQ(buckets.back().begin, 0);
      size_t parameters = 0;
      for (size_t b = 0; b < buckets.size(); ++b) {
        parameters += buckets[b].parameters;
        EXPECT_GT(buckets[b].parameters, 0u);
        if (b > 0) {
          EXPECT_EQ(buckets[b].end, buckets[b - 1].begin);
        }
        // All buckets are full except the last one and the one before it.
        if (b + 2 < buckets.size()) {
          EXPECT_GE((buckets[b].end - buckets[b].begin) * 4, bytes);
        }
      }
      EXPECT_EQ(parameters, sizes.size());
      if (bytes >= 16 * 4 && last == 300) {
        EXPECT_LE(buckets.back().end * 4, 300);
      }
    }
  }
}

TEST(DataParallel, AveragesEveryGradient) {
  const std::vector<int64_t> sizes{16, 48, 1000, 200, 16, 3000};
  for (const int n : {2, 3}) {
    const auto ends = test::run_ranks(n, [&](World& w) {
      OwnSlab m(sizes);
      DataParallel parallel(*w.comm, m.store, {.bucket_bytes = 1000, .last_bytes = 100});
      ASSERT_GT(parallel.buckets().size(), 2u);
      parallel.attach(m.tape);
      for (int step = 0; step < 3; ++step) {
        m.backward(static_cast<float>(10 * w.rank() + step));
        parallel.finish(m.cx);
        for (size_t i = 0; i < sizes.size(); ++i) {
          const float expected = 5.0f * static_cast<float>(n - 1) + static_cast<float>(step) + static_cast<float>(i);
          for (int64_t k = 0; k < sizes[i]; ++k)
            ASSERT_FLOAT_EQ(m.store.parameters()[i].grad.data<float>()[k], expected) << i << " " << k;
        }
      }
    });
    expect_no_errors(ends);
  }
}

// A communicator that records when each bucket is sent.
struct Notes final : Comm {
  Notes() : Comm(0, 2) {}
  std::string_view engine() const override { return "notes"; }
  void all_reduce(const Tensor&, Reduce, void*) override {}
  void broadcast(const Tensor&, int, void*) override {}
  void all_gather(const Tensor&, const Tensor&, void*) override {}
  void start_all_reduce(const Tensor& t, Reduce, void*) override {
    events.push_back(fmt::format("send {}", t.numel()));
  }
  void finish(void*) override { events.emplace_back("finish"); }
  void all_reduce(std::span<double>, Reduce) override {}
  std::vector<std::string> all_gather(std::string_view mine) override { return {2, std::string(mine)}; }
  void barrier() override {}
  void check() override {}
  void abort() noexcept override {}
  std::vector<std::string> events;
};

TEST(DataParallel, BucketsSetOffWhileBackwardRuns) {
  OwnSlab m({16, 16, 32, 32});
  Notes notes;
  DataParallel parallel(notes, m.store, {.bucket_bytes = 64 * 4, .last_bytes = 16 * 4});
  ASSERT_EQ(parallel.buckets().size(), 3u);  // parameters 3 and 2, parameter 1, parameter 0
  parallel.attach(m.tape);
  const auto pass = [&] {
    notes.events.clear();
    for (int i = 0; i < 4; ++i) {
      m.tape.record([&, i](Context& bx) {
        notes.events.push_back(fmt::format("op {}", i));
        bx.tape->sink(m.store.parameters()[i].value);
      });
    }
    m.tape.backward(m.cx, m.cx.zeros({1}, DType::f32));
    parallel.finish(m.cx);
    return notes.events;
  };
  using Events = std::vector<std::string>;
  const Events late{"op 3", "op 2", "op 1", "op 0", "send 64", "send 16", "send 16", "finish"};
  const Events early{"op 3", "op 2", "send 64", "op 1", "send 16", "op 0", "send 16", "finish"};
  EXPECT_EQ(pass(), late);  // the tape does not know the graph yet
  EXPECT_EQ(pass(), early);
  EXPECT_EQ(pass(), early);
  EXPECT_THROW(parallel.finish(m.cx), Error);
}

TEST(DataParallel, StartsFromRankZeroAndKeepsItsStatistics) {
  const auto ends = test::run_ranks(3, [](World& w) {
    OwnSlab m({16, 48, 100});
    for (int64_t i = 0; i < m.store.values.numel(); ++i)
      m.store.values.data<float>()[i] += static_cast<float>(w.rank());
    for (int64_t i = 0; i < m.store.buffers.numel(); ++i)
      m.store.buffers.data<float>()[i] = static_cast<float>(w.rank() + 5);
    for (const auto& e : m.store.entries()) {
      if (e.counter != nullptr) e.counter->value = 100 + w.rank();
    }
    Optimizer adam(m.cx, m.store, {});
    adam.set_steps(70 + w.rank());
    std::fill_n(adam.exp_avg.data<float>(), adam.exp_avg.numel(), static_cast<float>(w.rank()));
    DataParallel parallel(*w.comm, m.store);
    const uint64_t version = m.store.version;
    parallel.broadcast(m.cx, &adam);
    EXPECT_GT(m.store.version, version);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(m.store.parameters()[i].value.data<float>()[0], static_cast<float>(i));
    EXPECT_EQ(m.store.buffers.data<float>()[0], 5);
    EXPECT_EQ(adam.steps(), 70);
    EXPECT_EQ(adam.exp_avg.data<float>()[0], 0);
    for (const auto& e : m.store.entries()) {
      if (e.counter != nullptr) {
        EXPECT_EQ(e.counter->value, 100);
      }
    }
  });
  expect_no_errors(ends);
}

}  // namespace
}  // namespace hr

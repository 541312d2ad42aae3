#include "core/tape.h"

#include <gtest/gtest.h>

#include "core/context.h"
#include "core/error.h"

namespace hr {
namespace {

Tensor scalar(const Context& cx, float v) {
  Tensor t = cx.empty({1}, DType::f32);
  *t.data<float>() = v;
  return t;
}

float total(Tape& tape, uint64_t id) {
  float sum = 0;
  for (const Tensor& addend : tape.take(id)) sum += *addend.data<float>();
  return sum;
}

// Computes y = factor * x, written by hand.
Tensor scaled(Context& cx, const Tensor& x, float factor) {
  Tensor y = scalar(cx, factor * *x.data<float>());
  cx.tape->record([x, factor, id = y.id()](Context& bx) { bx.tape->add(x, scalar(bx, factor * total(*bx.tape, id))); });
  return y;
}

// Computes y = w * x, where w is a leaf.
Tensor times(Context& cx, const Tensor& x, const Tensor& w) {
  Tensor y = scalar(cx, *w.data<float>() * *x.data<float>());
  cx.tape->record([x, w, id = y.id()](Context& bx) {
    const float dy = total(*bx.tape, id);
    const Tape::Sink sink = bx.tape->sink(w);
    float& out = *sink.grad.data<float>();
    out = dy * *x.data<float>() + (sink.accumulate ? out : 0.0f);
    bx.tape->add(x, scalar(bx, dy * *w.data<float>()));
  });
  return y;
}

TEST(Tape, RunsBackwardsAndFreesAsItGoes) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  std::vector<int> order;
  const Tensor saved = cx.empty({100}, DType::f32);
  for (int i = 0; i < 5; ++i) {
    tape.record([&order, i, saved](Context&) {
      order.push_back(i);
      EXPECT_FALSE(saved.unique());
    });
  }
  tape.record([&, keep = saved](Context&) { EXPECT_EQ(tape.size(), 5u); });
  tape.backward(cx, scalar(cx, 0));
  EXPECT_EQ(order, (std::vector<int>{4, 3, 2, 1, 0}));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_TRUE(saved.unique()) << "a backward function outlived its turn";
}

TEST(Tape, FanOutArrivesAsAllItsAddends) {
  for (int uses = 1; uses <= 6; ++uses) {
    Tape tape;
    Context cx;
    cx.tape = &tape;
    const Tensor x = scalar(cx, 3);
    float dx = -1;
    size_t addends = 0;
    tape.record([&, id = x.id()](Context& bx) {
      for (const Tensor& a : bx.tape->take(id)) {
        dx = (addends == 0 ? 0 : dx) + *a.data<float>();
        ++addends;
      }
      EXPECT_TRUE(bx.tape->take(id).empty()) << "taken twice";
    });
    // loss = sum over k of (k + 1) x, summed pair by pair.
    std::vector<Tensor> terms;
    float expected = 0;
    for (int k = 0; k < uses; ++k) {
      terms.push_back(scaled(cx, x, static_cast<float>(k + 1)));
      expected += static_cast<float>(k + 1);
    }
    const Tensor loss = scalar(cx, 0);
    tape.record([terms, id = loss.id()](Context& bx) {
      const float d = total(*bx.tape, id);
      for (const Tensor& t : terms) bx.tape->add(t, scalar(bx, d));
    });
    terms.clear();
    tape.backward(cx, loss);
    EXPECT_EQ(dx, expected);
    EXPECT_EQ(addends, static_cast<size_t>(uses));
  }
}

TEST(Tape, ADeferredAddendIsKeptForWhoTakesTheGradient) {
  struct Two final : DeferredAddend {
    Tensor compute(Context& cx) override { return cx.zeros({2}, DType::f32); }
  };
  Context cx;
  Tape tape;
  const Tensor x = cx.empty({2}, DType::f32), leaf = cx.empty({2}, DType::f32);
  tape.bind(leaf, cx.empty({2}, DType::f32));
  const auto addend = std::make_shared<Two>();
  EXPECT_TRUE(tape.defer(x, addend));
  EXPECT_FALSE(tape.defer(x, std::make_shared<Two>())) << "a second one would be forgotten";
  EXPECT_FALSE(tape.defer(leaf, std::make_shared<Two>())) << "nobody takes the gradient of a leaf";
  EXPECT_TRUE(tape.take(x.id()).empty());
  EXPECT_EQ(tape.take_deferred(x.id()), addend);
  EXPECT_EQ(tape.take_deferred(x.id()), nullptr);
  EXPECT_TRUE(tape.defer(x, addend));
  tape.clear();
  EXPECT_EQ(tape.take_deferred(x.id()), nullptr);
}

TEST(Tape, ALeafIsOverwrittenFirstAndAddedToAfterwards) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  const Tensor w = scalar(cx, 2), grad = scalar(cx, 777);
  tape.bind(w, grad);
  for (int step = 0; step < 3; ++step) {
    *grad.data<float>() = 777;  // any value that an earlier step left
    const Tensor x = scalar(cx, 5);
    tape.backward(cx, times(cx, times(cx, times(cx, x, w), w), w));  // w^3 x
    EXPECT_EQ(*grad.data<float>(), 3 * 4 * 5) << "step " << step;
  }
}

TEST(Tape, AnUnusedLeafIsZeroed) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  const Tensor used = scalar(cx, 2), unused = cx.zeros({3}, DType::f32);
  const Tensor used_grad = scalar(cx, 777), unused_grad = cx.empty({3}, DType::f32);
  for (int i = 0; i < 3; ++i) unused_grad.data<float>()[i] = 777;
  tape.bind(used, used_grad);
  tape.bind(unused, unused_grad);
  tape.backward(cx, times(cx, scalar(cx, 5), used));
  EXPECT_EQ(*used_grad.data<float>(), 5);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(unused_grad.data<float>()[i], 0);
}

TEST(Tape, BindAndBackwardRefuseWhatDoesNotFit) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  EXPECT_THROW(tape.bind(cx.zeros({3}, DType::f32), cx.zeros({4}, DType::f32)), Error);
  EXPECT_THROW(tape.bind(cx.zeros({3}, DType::f32), cx.zeros({3}, DType::bf16)), Error);
  EXPECT_THROW(tape.backward(cx, cx.zeros({2}, DType::f32)), Error);
  EXPECT_THROW(tape.add(cx.zeros({3}, DType::f32), cx.zeros({2}, DType::f32)), Error);
  EXPECT_FALSE(tape.sink(cx.zeros({1}, DType::f32)).grad.defined()) << "not bound";
}

TEST(Tape, ClearDropsTheRecordingAndKeepsTheBindings) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  const Tensor w = scalar(cx, 2), grad = scalar(cx, 0);
  tape.bind(w, grad);
  times(cx, scalar(cx, 1), w);
  tape.clear();
  EXPECT_EQ(tape.size(), 0u);
  tape.backward(cx, times(cx, scalar(cx, 4), w));
  EXPECT_EQ(*grad.data<float>(), 4);
}

// A tape of a hundred thousand nodes must not recurse.
TEST(Tape, DepthIsNotLimitedByTheStack) {
  Tape tape;
  Context cx;
  cx.tape = &tape;
  Tensor y = scalar(cx, 1);
  const Tensor w = scalar(cx, 1), grad = scalar(cx, 0);
  tape.bind(w, grad);
  for (int i = 0; i < 100000; ++i) y = times(cx, y, w);
  tape.backward(cx, y);
  EXPECT_EQ(*grad.data<float>(), 100000);
}

// y = w (v (w x)). w is used twice, so its gradient is complete only when the first op has run backwards.
struct TwiceUsed {
  Tape tape;
  Context cx;
  Tensor w, v, dw, dv;
  std::vector<std::string> events;
  TwiceUsed() {
    cx.tape = &tape;
    w = scalar(cx, 2), v = scalar(cx, 3), dw = scalar(cx, 0), dv = scalar(cx, 0);
    tape.bind(w, dw);
    tape.bind(v, dv);
    tape.on_ready([this](Context&, uint64_t id) { events.emplace_back(id == w.id() ? "w" : "v"); });
  }
  TwiceUsed(const TwiceUsed&) = delete;
  TwiceUsed& operator=(const TwiceUsed&) = delete;
  void mark(const char* name) {
    tape.record([this, name](Context&) { events.emplace_back(name); });
  }
  std::vector<std::string> pass() {
    events.clear();
    mark("start");
    Tensor y = times(cx, scalar(cx, 5), w);
    mark("between");
    y = times(cx, times(cx, y, v), w);
    tape.backward(cx, y);
    return events;
  }
};

TEST(Tape, ReportsALeafAfterItsLastAddendOnceItKnowsWhichThatIs) {
  TwiceUsed t;
  const std::vector<std::string> first = t.pass();
  ASSERT_EQ(first.size(), 4u);
  EXPECT_EQ(first[0], "between");  // nothing is known yet, so both are reported at the end
  EXPECT_EQ(first[1], "start");
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_EQ(t.pass(), (std::vector<std::string>{"v", "between", "w", "start"}));
    EXPECT_EQ(*t.dw.data<float>(), 60);  // d/dw of w^2 v x
    EXPECT_EQ(*t.dv.data<float>(), 20);
  }
}

TEST(Tape, LearnsAgainWhenTheGraphChanges) {
  TwiceUsed t;
  t.pass();
  t.pass();
  t.events.clear();
  // Uses only v, with one op more.
  t.mark("a"), t.mark("b"), t.mark("c"), t.mark("d"), t.mark("e");
  t.tape.backward(t.cx, times(t.cx, scalar(t.cx, 5), t.v));
  EXPECT_EQ(t.events.size(), 7u);
  EXPECT_EQ(t.events[4], "a");
  EXPECT_EQ(*t.dw.data<float>(), 0);  // unused, but still zeroed and reported
  t.pass();
  EXPECT_EQ(t.pass(), (std::vector<std::string>{"v", "between", "w", "start"}));
}

TEST(Tape, AGradientThatGrowsAfterItWasReportedIsAnError) {
  TwiceUsed t;
  t.pass();
  // The number of ops is the same, but the op that runs last in the backward pass uses v as well.
  const auto other = [&] {
    Tensor y = times(t.cx, scalar(t.cx, 5), t.v);
    t.mark("between"), t.mark("between");
    y = times(t.cx, times(t.cx, y, t.v), t.w);
    t.tape.backward(t.cx, y);
  };
  EXPECT_THROW(other(), Error);
  t.tape.clear();
  t.pass();
}

}  // namespace
}  // namespace hr

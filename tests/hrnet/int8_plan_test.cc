#include "hrnet/int8/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/network.h"
#include "hrnet/model/load.h"
#include "tests/support/tensors.h"

namespace hr {
namespace {

using Node = Int8Graph::Node;

std::vector<int> operands(const Node& node) {
  std::vector<int> all{node.x, node.add};
  for (const Int8Graph::Term& t : node.terms) all.push_back(t.value);
  std::erase_if(all, [](int v) { return v < 0; });
  return all;
}

// Two values that share memory are apart in the order of the nodes, so that the results are right, and in levels, so
// that no branch of the network waits for another one only because of the memory.
TEST(Int8Plan, ValuesShareMemoryOnlyIfTheyAreNeededAtDifferentTimes) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w8", 5, 7, Init::torch);
  const Int8Graph graph = int8_graph(*model);
  const std::vector<std::unique_ptr<Int8Conv>> none(graph.nodes.size());
  const Int8Plan plan = plan_int8(graph, none, 2, 64, 96);
  const auto bytes = [&](int v) {
    const Int8Layout& l = plan.layout(v);
    return static_cast<size_t>(graph.values[static_cast<size_t>(v)].bytes ? l.bytes() : l.n * l.h * l.w * l.c * 4);
  };
  const auto count = static_cast<int>(graph.values.size());
  std::vector<int> made(graph.values.size(), 0), read(graph.values.size(), 0), made_at(made), read_at(made);
  for (int i = 0; i < static_cast<int>(graph.nodes.size()); ++i) {
    const Node& node = graph.nodes[static_cast<size_t>(i)];
    const auto y = static_cast<size_t>(node.y);
    made[y] = read[y] = i;
    made_at[y] = read_at[y] = node.level;
    for (const int v : operands(node)) {
      read[static_cast<size_t>(v)] = i;
      read_at[static_cast<size_t>(v)] = std::max(read_at[static_cast<size_t>(v)], node.level);
    }
  }
  size_t together = 0, all = 0;
  for (int a = 0; a < count; ++a) {
    const size_t at = plan.offsets[static_cast<size_t>(a)];
    if (at == Int8Plan::kOutside) continue;
    all += bytes(a);
    EXPECT_LE(at + bytes(a), plan.bytes);
    for (int b = 0; b < a; ++b) {
      const size_t other = plan.offsets[static_cast<size_t>(b)];
      if (other == Int8Plan::kOutside || at >= other + bytes(b) || other >= at + bytes(a)) continue;
      ++together;
      const auto x = static_cast<size_t>(a), y = static_cast<size_t>(b);
      EXPECT_TRUE(made[x] > read[y] || made[y] > read[x]) << a << " and " << b << " in the order of nodes";
      EXPECT_TRUE(made_at[x] > read_at[y] || made_at[y] > read_at[x]) << a << " and " << b << " in levels";
    }
  }
  EXPECT_GT(together, 0U);
  EXPECT_LT(plan.bytes, all / 2) << "memory is used again";
}

TEST(Int8Network, AnObserverIsToldEveryTensorOfBytesInTheOrderOfTheNodesAndTheResultsAreTheSame) {
  Context cx;
  const auto model = make_model(cx, "hrnet_w8", 5, 7, Init::torch);
  Int8Calibrator calibrator(*model);
  Tensor images = cx.empty({2, 64, 64, 3}, DType::f32);
  for (int64_t i = 0; i < images.numel(); ++i) images.data<float>()[i] = static_cast<float>(i * 7919 % 256) / 128 - 1;
  calibrator.add(images);
  Int8Network network(calibrator.graph(), calibrator.parameters(RangeMethod::max));
  const auto bytes_of = [](const Tensor& t) {
    return std::vector<float>(t.data<float>(), t.data<float>() + t.numel());
  };
  const std::vector<float> plain = bytes_of(network.run(cx, images));
  std::vector<int> expected, told;
  for (const Node& node : network.graph().nodes) {
    if (network.graph().values[static_cast<size_t>(node.y)].bytes) expected.push_back(node.y);
  }
  int64_t last = 0;
  network.observe([&](int value, const Int8Layout& layout, const uint8_t* bytes) {
    told.push_back(value);
    last = std::count_if(bytes, bytes + layout.bytes(), [](uint8_t b) { return b != 0; });
    EXPECT_EQ(layout.n, 2);
  });
  EXPECT_EQ(bytes_of(network.run(cx, images)), plain);
  EXPECT_EQ(told, expected);
  EXPECT_GT(last, 0);
  network.observe({});
  EXPECT_EQ(bytes_of(network.run(cx, images)), plain);
  EXPECT_EQ(told.size(), expected.size());
}

}  // namespace
}  // namespace hr

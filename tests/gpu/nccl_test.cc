// NCCL with one rank: every collective inside a captured graph, and a data-parallel step that equals one without ranks.
// NCCL refuses two ranks on one GPU; tools/gpu_check.sh runs several where there are more.
#include "core/comm/nccl.h"

#include "hrnet/train/pose_step.h"
#include "tests/gpu/pair.h"

namespace hr {
namespace {

using test::Values;

class GpuNccl : public test::Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (test::test_device() == "cpu") GTEST_SKIP() << "NCCL needs a GPU";
    if (!nccl_description().starts_with("NCCL ")) GTEST_SKIP() << nccl_description();
  }
};

TEST_F(GpuNccl, EveryCollectiveInACapturedGraphEqualsLocal) {
  Context cx = test::device_context();
  const auto comm = make_nccl_comm(nullptr, cx.device);
  EXPECT_EQ(comm->engine(), "nccl");
  EXPECT_EQ(comm->size(), 1);
  for (const DType t : {DType::f32, DType::f64}) {
    const int64_t n = 100003;
    const Tensor x = cx.zeros({n}, t), all = cx.zeros({n}, t);
    std::vector<std::byte> bytes(x.bytes());
    for (int64_t i = 0; i < n; ++i) {
      const double v = std::sin(static_cast<double>(i));
      if (t == DType::f64) {
        std::memcpy(&bytes[static_cast<size_t>(i) * 8], &v, 8);
      } else {
        const auto f = static_cast<float>(v);
        std::memcpy(&bytes[static_cast<size_t>(i) * 4], &f, 4);
      }
    }
    cx.upload(x, bytes);
    const auto everything = [&] {
      comm->all_reduce(x, Reduce::sum, cx.stream);
      comm->all_reduce(x, Reduce::mean, cx.stream);
      comm->broadcast(x, 0, cx.stream);
      comm->start_all_reduce(x.view({n / 2}), Reduce::mean, cx.stream);
      comm->start_all_reduce(x.view({n - n / 2}, n / 2), Reduce::sum, cx.stream);
      comm->finish(cx.stream);
      comm->all_gather(x, all, cx.stream);
    };
    everything();  // the first calls set up the connections
    cuda::synchronize(cx.stream);
    cuda::begin_capture(cx.stream);
    everything();
    const cuda::Graph graph = cuda::end_capture(cx.stream);
    cx.zero(all);
    for (int launch = 0; launch < 3; ++launch) cuda::launch(graph, cx.stream);
    cuda::synchronize(cx.stream);
    std::vector<std::byte> back(x.bytes());
    cx.download(x, back);
    EXPECT_EQ(back, bytes);
    cx.download(all, back);
    EXPECT_EQ(back, bytes);
    cuda::destroy_graph(graph);
  }
  std::vector<double> host{1.5, -2};
  comm->all_reduce(std::span(host), Reduce::mean);
  EXPECT_EQ(host, (std::vector{1.5, -2.0}));
  EXPECT_EQ(comm->all_gather("bytes"), std::vector<std::string>{"bytes"});
  comm->barrier();
  comm->check();
}

// Gradients are averaged over one rank, inside the captured graph and beside the streams of branches, and give the same
// bits as without ranks. (The sums of the head are the same whether they are averaged or not.)
TEST_F(GpuNccl, ADataParallelStepOfOneRankEqualsAPlainOne) {
  const int n = 2, side = 64, joints = 3;
  const auto numbers = [](size_t size, uint64_t seed, double low) {
    std::vector<float> v;
    v.reserve(size);
    for (const double x : test::random_values(static_cast<int64_t>(size), seed, DType::f32, low, 1))
      v.push_back(static_cast<float>(x));
    return v;
  };
  const auto images = numbers(n * side * side * 3, 1, -1), targets = numbers(n * side * side / 16 * joints, 2, 0),
             weights = numbers(n * joints, 3, 0);
  const auto train = [&](bool ranks) {
    Context cx = test::device_context();
    const auto model = make_model(cx, "hrnet_w8", joints, 3, Init::torch);
    Optimizer adam(cx, model->parameters(), {});
    std::unique_ptr<Comm> comm;
    std::optional<DataParallel> parallel;
    if (ranks) {
      comm = make_nccl_comm(nullptr, cx.device);
      parallel.emplace(*comm, model->parameters(), DataParallel::Options{.bucket_bytes = 100 << 10});
      parallel->broadcast(cx, &adam);
    }
    PoseTrainStep step(cx, *model, adam, JointsLoss::official, ranks ? &*parallel : nullptr);
    std::vector<double> losses(6);
    for (double& loss : losses) loss = step({images, targets, weights, n, side, side}, 1e-3);
    return std::pair(to_host(cx, model->parameters().values), losses);
  };
  const auto plain = train(false), parallel = train(true);
  EXPECT_EQ(parallel.second, plain.second);
  EXPECT_EQ(parallel.first, plain.first);
}

}  // namespace
}  // namespace hr

// How the backend of a GPU chooses kernels: what it measures, stores and finds again, alone and among ranks. The ranks
// are threads here, on one device.
#include <array>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <thread>

#include "core/comm/comm.h"
#include "core/file.h"
#include "hrnet/model/hrnet.h"
#include "hrnet/train/pose_step.h"
#include "ops/conv/conv2d.h"
#include "tests/gpu/pair.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

// Sets an environment variable for the duration of a test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~Environment() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// Two ranks that exchange text. Its other collectives do nothing, so each rank learns from its own batch.
struct Mailbox {
  std::mutex mutex;
  std::condition_variable changed;
  std::array<std::vector<std::string>, 2> sent;
};
class TwoRanks final : public Comm {
 public:
  TwoRanks(Mailbox& box, int rank) : Comm(rank, 2), box_(box) {}
  std::string_view engine() const override { return "threads"; }
  void all_reduce(const Tensor&, Reduce, void*) override {}
  void broadcast(const Tensor&, int, void*) override {}
  void all_gather(const Tensor&, const Tensor&, void*) override {}
  void start_all_reduce(const Tensor&, Reduce, void*) override {}
  void finish(void*) override {}
  void all_reduce(std::span<double>, Reduce) override {}
  std::vector<std::string> all_gather(std::string_view mine) override {
    std::unique_lock lock(box_.mutex);
    box_.sent[static_cast<size_t>(rank())].emplace_back(mine);
    box_.changed.notify_all();
    const size_t turn = turn_++;
    const bool both = box_.changed.wait_for(lock, std::chrono::seconds(60),
                                            [&] { return box_.sent[0].size() > turn && box_.sent[1].size() > turn; });
    hr::check(both, "the other rank did not come");
    return {box_.sent[0][turn], box_.sent[1][turn]};
  }
  void barrier() override {}
  void check() override {}
  void abort() noexcept override {}

 private:
  Mailbox& box_;
  size_t turn_ = 0;
};

class GpuConvChoice : public test::Gpu {
 protected:
  void SetUp() override {
    Gpu::SetUp();
    if (test::test_device() == "cpu") GTEST_SKIP() << "the CPU's convolutions are not chosen by measuring";
  }
  // Makes a context whose backend stores its plans and logs in this folder.
  static Context context(const fs::path& folder, DType precision = DType::f32) {
    const Environment cache("HRNET_CACHE", folder.string()), log("HRNET_CONV_LOG", (folder / "log.txt").string());
    fs::create_directories(folder);
    Context cx = test::device_context(precision);
    conv_backend(cx);
    return cx;
  }
  struct Line {
    std::string kind, candidate, problem;
  };
  static std::vector<Line> log_of(const fs::path& folder) {
    std::vector<Line> lines;
    if (!fs::exists(folder / "log.txt")) return lines;
    const std::string text = read_file(folder / "log.txt");
    for (size_t at = 0, end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      std::vector<std::string> columns{""};
      for (const char c : text.substr(at, end - at)) {
        if (c == '\t') {
          columns.emplace_back();
        } else {
          columns.back() += c;
        }
      }
      EXPECT_EQ(columns.size(), 6u) << text.substr(at, end - at);
      columns.resize(6);
      lines.push_back({columns[0], columns[3], columns[4]});
    }
    return lines;
  }
  // Returns the problems that were measured, in order.
  static std::vector<std::string> measured(const fs::path& folder) {
    std::vector<std::string> problems;
    for (const Line& line : log_of(folder)) {
      if (line.kind == "chosen") problems.push_back(line.problem);
    }
    return problems;
  }
  static std::vector<std::byte> convolve(Context& cx, int64_t n = 2) {
    const Tensor x = test::place(cx, {n, 8, 6, 16}, DType::f32, test::random_values(n * 8 * 6 * 16, 1, DType::f32)),
                 f = test::place(cx, {8, 3, 3, 16}, DType::f32, test::random_values(8 * 9 * 16, 2, DType::f32));
    return test::bytes_of(cx, conv2d(cx, x, f, {.pad = 1}));
  }
};

TEST_F(GpuConvChoice, AChoiceIsMeasuredOnceWrittenAtOnceAndFoundByTheNextProgram) {
  const fs::path folder = test::temporary_folder();
  Context first = context(folder);
  const auto bytes = convolve(first);
  EXPECT_EQ(measured(folder).size(), 1u);
  EXPECT_EQ(convolve(first), bytes);
  Context next = context(folder);  // while the first one exists
  EXPECT_EQ(convolve(next), bytes);
  EXPECT_EQ(measured(folder).size(), 1u);
  const Line chosen = [&] {
    for (const Line& line : log_of(folder)) {
      if (line.kind == "chosen") return line;
    }
    return Line{};
  }();
  EXPECT_NE(read_file(folder / "conv_plans.txt").find(chosen.candidate + "\t" + chosen.problem + "\n"),
            std::string::npos);
}

TEST_F(GpuConvChoice, ARememberedNameThatNobodyKnowsIsMeasuredAnew) {
  const fs::path folder = test::temporary_folder();
  Context first = context(folder);
  const auto bytes = convolve(first);
  const std::string problem = measured(folder).at(0), file = read_file(folder / "conv_plans.txt"),
                    heading = file.substr(0, file.find('\n') + 1);
  for (const char* name : {"cuDNN eng999999", "cuDNN nonsense", "cuBLASLt ffffffffffffffff", "another library 1",
                           "cuDNN eng0, some other way"}) {
    SCOPED_TRACE(name);
    write_file(folder / "conv_plans.txt", heading + name + "\t" + problem + "\n");
    const size_t before = measured(folder).size();
    Context next = context(folder);
    EXPECT_EQ(convolve(next).size(), bytes.size());
    EXPECT_EQ(measured(folder).size(), before + 1);
  }
}

TEST_F(GpuConvChoice, TheEnvironmentLimitsTheCandidates) {
  size_t all = 0;
  for (const char* wish : {"", "1", "all"}) {
    SCOPED_TRACE(wish);
    const Environment environment("HRNET_CONV_CANDIDATES", wish);
    const fs::path folder = test::temporary_folder();
    Context cx = context(folder);
    convolve(cx);
    const size_t lines = log_of(folder).size();
    if (std::string(wish) == "1") {
      EXPECT_EQ(lines, 1u) << "of one library, since the other one has no 3x3 convolution";
    } else {
      EXPECT_GE(lines, all);
      all = lines;
    }
  }
  for (const char* wish : {"0", "-1", "ten", "3x", "99999999999"}) {
    const Environment environment("HRNET_CONV_CANDIDATES", wish);
    EXPECT_THROW(context(test::temporary_folder()), Error) << wish;
  }
}

TEST_F(GpuConvChoice, ADeconvolutionWithAnEpilogueIsNotCompiled) {
  const fs::path folder = test::temporary_folder();
  Context cx = context(folder, DType::bf16);
  const Tensor x = test::place(cx, {1, 4, 3, 16}, DType::bf16, test::random_values(4 * 3 * 16, 1, DType::bf16)),
               f = test::place(cx, {8, 4, 4, 16}, DType::f32, test::random_values(8 * 16 * 16, 2, DType::f32)),
               bias = test::place(cx, {8}, DType::f32, test::random_values(8, 3, DType::f32));
  conv_transpose2d(cx, x, f, {.stride = 2, .pad = 1, .bias = &bias, .relu = true});
  const auto log = log_of(folder);
  EXPECT_FALSE(log.empty());
  for (const Line& line : log) EXPECT_TRUE(line.candidate.ends_with(", epilogue apart")) << line.candidate;
}

// Runs both ranks. Returns what each of them threw, or nothing.
template <class Body>
std::array<std::string, 2> on_two_ranks(const Body& body) {
  std::array<std::string, 2> errors;
  Mailbox box;
  std::array<std::thread, 2> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads[static_cast<size_t>(rank)] = std::thread([&, rank] {
      try {
        if (cuda::device_count() > 0) cuda::use_device(0);
        TwoRanks comm(box, rank);
        body(comm);
      } catch (const Error& e) {
        errors[static_cast<size_t>(rank)] = e.what();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  return errors;
}

TEST_F(GpuConvChoice, RanksRunWhatRankZeroMeasuredWhateverTheyRememberThemselves) {
  const std::array folders{test::temporary_folder() / "0", test::temporary_folder() / "1"};
  Context alone = context(folders[1]);
  convolve(alone);  // rank 1 has chosen by itself before
  ASSERT_EQ(measured(folders[1]).size(), 1u);
  const std::array contexts{context(folders[0]), context(folders[1])};
  std::array<std::vector<std::byte>, 2> results;
  const auto errors = on_two_ranks([&](TwoRanks& comm) {
    Context cx = contexts[static_cast<size_t>(comm.rank())];
    conv_backend(cx).ranks = &comm;
    for (int i = 0; i < 3; ++i) results[static_cast<size_t>(comm.rank())] = convolve(cx);
    conv_backend(cx).ranks = nullptr;
  });
  EXPECT_EQ(errors, (std::array<std::string, 2>{}));
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(measured(folders[0]).size(), 1u);
  EXPECT_EQ(measured(folders[1]).size(), 1u) << "only what it measured alone";
}

TEST_F(GpuConvChoice, RanksThatComputeDifferentThingsAreTold) {
  const std::array contexts{context(test::temporary_folder() / "0"), context(test::temporary_folder() / "1")};
  const auto errors = on_two_ranks([&](TwoRanks& comm) {
    Context cx = contexts[static_cast<size_t>(comm.rank())];
    conv_backend(cx).ranks = &comm;
    convolve(cx, comm.rank() == 0 ? 2 : 3);
  });
  EXPECT_EQ(errors[0], "");
  EXPECT_NE(errors[1].find("rank 0 computes conv forward [2, 8, 6, 16] -> 8"), std::string::npos) << errors[1];
  EXPECT_NE(errors[1].find("where rank 1 computes conv forward [3, 8, 6, 16] -> 8"), std::string::npos) << errors[1];
}

TEST_F(GpuConvChoice, InATrainingStepOnlyRankZeroMeasures) {
  const std::array folders{test::temporary_folder() / "0", test::temporary_folder() / "1"};
  const std::array contexts{context(folders[0]), context(folders[1])};
  const auto values = [](size_t size, uint64_t seed) {
    const test::Values v = test::random_values(static_cast<int64_t>(size), seed, DType::f32);
    return std::vector<float>(v.begin(), v.end());
  };
  const int side = 64, joints = 3;
  const auto images = values(side * side * 3, 1), targets = values(side * side / 16 * joints, 2),
             weights = values(joints, 3);
  std::array<std::vector<double>, 2> losses;
  const auto errors = on_two_ranks([&](TwoRanks& comm) {
    Context cx = contexts[static_cast<size_t>(comm.rank())];
    const auto model = make_model(cx, "hrnet_w8", joints, 3, Init::torch);
    Optimizer adam(cx, model->parameters(), {});
    DataParallel parallel(comm, model->parameters());
    PoseTrainStep step(cx, *model, adam, JointsLoss::official, &parallel);
    for (int i = 0; i < 3; ++i)
      losses[static_cast<size_t>(comm.rank())].push_back(step({images, targets, weights, 1, side, side}, 1e-3));
  });
  EXPECT_EQ(errors, (std::array<std::string, 2>{}));
  EXPECT_EQ(losses[0], losses[1]) << "the same batch and the same kernels";
  const auto problems = measured(folders[0]);
  EXPECT_GT(problems.size(), 20u);
  EXPECT_EQ(std::set(problems.begin(), problems.end()).size(), problems.size());
  EXPECT_TRUE(measured(folders[1]).empty());
}

}  // namespace
}  // namespace hr

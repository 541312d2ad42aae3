// The programs on the simulated GPU (tests/simulated_gpu/simulator.h), started with --device cuda as a user starts
// them: train, interrupt, resume, validate, predict, forward and every mode of bench. Networks and pictures are tiny,
// because the tests are about the host's side: shapes that change, batches that are not full, graphs, streams and
// memory over a whole run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/support/program.h"
#include "tests/support/tensors.h"
#include "tools/cli/model_options.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

using test::Ended;
using test::program;
using test::run;

// Pictures for training and validation, made once per process.
const fs::path& data() {
  static const fs::path folder = [] {
    fs::path path = test::temporary_folder() / "data";
    synth(
        {.output = path.string(), .train_images = 5, .val_images = 8, .seed = 5, .sizes = {{160, 120}}, .threads = 1});
    return path;
  }();
  return folder;
}

// Runs a program and expects that it succeeds.
std::string done(const std::string& command) {
  const Ended e = run(command);
  EXPECT_EQ(e.status, 0) << command << "\n" << e.output;
  return e.output;
}

// Returns the JSON object in a program's output. On a slow machine a note on stderr comes before it.
rapidjson::Document json_of(const std::string& output) {
  const size_t begin = output.find('{');
  check(begin != std::string::npos, "no JSON in: {}", output);
  return parse_json(output.substr(begin), "bench");
}

// The plans of convolutions are stored in a folder of the test's own, so that a second program finds those of the
// first.
std::string on_gpu(const std::string& name, const std::string& order = "lazy") {
  static const fs::path cache = test::temporary_folder();
  return fmt::format("HRNET_SIMULATED_ORDER={} HRNET_CACHE={} {} --device cuda", order, cache.string(), program(name));
}

std::string train_flags(const fs::path& output, const std::string& model, int batch, int epochs) {
  return fmt::format(
      " --data-path {} --output-dir {} --model {} --fixed-size 64 64 --init torch --workers 1 --no-flip --batch-size {}"
      " --epochs {} --eval-every 1000",
      data().string(), output.string(), model, batch, epochs);
}

void expect_same_arrays(const fs::path& a, const fs::path& b) {
  const SafetensorsFile left(a), right(b);
  ASSERT_EQ(left.names(), right.names());
  for (const std::string& name : left.names()) {
    const auto x = left.at(name).bytes, y = right.at(name).bytes;
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << name << " differs between " << a << " and " << b;
  }
}

// Writes random weights, which need no training, to a file for this test.
fs::path made_weights(const std::string& model) {
  static std::map<std::string, fs::path> files;
  fs::path& file = files[model];
  if (file.empty()) {
    file = test::temporary_folder() / (model + ".safetensors");
    Context cx;
    const auto network = make_model(cx, model, 17, 7, Init::torch);
    save_state_dict(file, network->parameters(), {{"model", model}, {"input_h", "64"}, {"input_w", "64"}});
  }
  return file;
}

class SimulatedPrograms : public testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  std::string model() const { return std::get<0>(GetParam()); }
  std::string amp() const { return std::get<1>(GetParam()) ? " --amp" : ""; }
  // One person at a time, batches of which the last is not full, and all people at once. PoseResNet with its 34 million
  // parameters takes seconds to start, so it runs only the middle one, which has two shapes in one run.
  std::vector<int> batch_sizes() const { return model() == "hrnet_w2" ? std::vector{1, 3, 64} : std::vector{3}; }
};

// Batches have 2 people and the last one has fewer, so two shapes alternate. PoseResNet's checkpoints have 400 MB, so
// it trains for one epoch only.
TEST_P(SimulatedPrograms, TrainAndResumeGiveTheBytesOfAnUninterruptedRun) {
  const fs::path root = test::temporary_folder();
  const std::string train = on_gpu("train"), shuffled = on_gpu("train", "3");
  if (model() != "hrnet_w2") {
    done(train + train_flags(root / "one", model(), 2, 1) + amp());
    EXPECT_TRUE(fs::exists(root / "one" / "last.safetensors"));
    fs::remove_all(root / "one");
    return;
  }
  done(train + train_flags(root / "whole", model(), 2, 2) + amp());
  done(shuffled + train_flags(root / "half", model(), 2, 1) + amp());
  done(train + train_flags(root / "half", model(), 2, 2) + amp() + " --resume " +
       (root / "half" / "last.safetensors").string());
  expect_same_arrays(root / "whole" / "last.safetensors", root / "half" / "last.safetensors");
}

// Any batch size gives the same poses, up to a rounding in their file.
TEST_P(SimulatedPrograms, ValidateAtSeveralBatchSizes) {
  const fs::path root = test::temporary_folder();
  const std::string flags =
      " --data-path " + data().string() + " --weights " + made_weights(model()).string() + amp() + " --output-dir ";
  std::vector<std::vector<double>> results;
  for (const int batch : batch_sizes()) {
    const fs::path out = root / std::to_string(batch);
    const std::string text = done(on_gpu("validate") + flags + out.string() + fmt::format(" --batch-size {}", batch));
    EXPECT_NE(text.find(" Average Precision"), std::string::npos) << text;
    const auto json = parse_json_file(out / "key_results.json");
    ASSERT_GT(json.Size(), 3u);
    std::vector<double>& numbers = results.emplace_back();
    for (const auto& pose : json.GetArray()) {
      for (const auto& k : pose["keypoints"].GetArray()) numbers.push_back(k.GetDouble());
    }
    ASSERT_EQ(numbers.size(), results[0].size());
    EXPECT_TRUE(test::close(numbers, results[0], 1e-2)) << "batch size " << batch;
  }
}

TEST_P(SimulatedPrograms, PredictAtSeveralBatchSizes) {
  const fs::path root = test::temporary_folder();
  const std::string flags = " " + (data() / "val2017").string() + " --boxes " +
                            (data() / "annotations/person_keypoints_val2017.json").string() + " --weights " +
                            made_weights(model()).string() + amp() + " --output-dir ";
  for (const int batch : batch_sizes()) {
    const fs::path out = root / std::to_string(batch);
    done(on_gpu("predict") + flags + out.string() + fmt::format(" --batch-size {}", batch));
    EXPECT_GT(parse_json_file(out / "poses.json").Size(), 3u);
  }
}

// The next batches are queued before the heatmaps of the oldest one are used.
TEST(SimulatedPredict, BatchesOverlap) {
  const fs::path root = test::temporary_folder();
  const std::string text =
      done("HRNET_SIMULATED_REPORT=1 " + on_gpu("predict") + " " + (data() / "val2017").string() + " --weights " +
           made_weights("hrnet_w2").string() + " --batch-size 2 --output-dir " + root.string());
  EXPECT_NE(text.find("simulated GPU: at most 3 downloads at a time"), std::string::npos) << text;
}

// The heatmaps are those of the CPU, which the same program computes. In bf16 the two round at the same places except
// inside a convolution, so one is not much further from float32 than the other.
TEST_P(SimulatedPrograms, ForwardGivesTheCpusHeatmaps) {
  const fs::path root = test::temporary_folder();
  const std::vector<double> random = test::random_values(3 * 3 * 64 * 96, 1, DType::f32, -1, 1);
  const std::vector<float> numbers(random.begin(), random.end());
  const NamedArray input{"input", DType::f32, {3, 3, 64, 96}, std::as_bytes(std::span(numbers))};
  write_safetensors(root / "in.safetensors", std::span(&input, 1));
  const auto heatmaps = [&](const std::string& forward) {
    done(forward + " --weights " + made_weights(model()).string() + " --input " + (root / "in.safetensors").string() +
         " --output " + (root / "out.safetensors").string());
    return SafetensorsFile(root / "out.safetensors").at("heatmaps").to_f64();
  };
  const std::vector<double> expected = heatmaps(program("forward") + " --device cpu");
  const double error = test::relative_l2(heatmaps(on_gpu("forward", "2") + amp()), expected);
  if (amp().empty()) {
    EXPECT_LE(error, 1e-5);
  } else {
    EXPECT_LE(error, 2 * test::relative_l2(heatmaps(program("forward") + " --device cpu --amp"), expected));
  }
}

TEST_P(SimulatedPrograms, BenchStepsAndKernels) {
  const std::string flags =
      fmt::format(" --model {} --dtype {} --fixed-size 64 64 --batch-size 2 --repeats 1 --warmup 1 --json", model(),
                  amp().empty() ? "f32" : "bf16");
  for (const char* mode : {"train", "inference"}) {
    const std::string text = done(on_gpu("bench") + " --mode " + mode + flags);
    EXPECT_GT(json_of(text)["img_per_s"].GetDouble(), 0) << mode;
  }
  const std::string text = done(on_gpu("bench") + " --mode kernels" + flags + " --bandwidth 3");
  const auto json = json_of(text);
  const auto& forward = json["kinds"]["convolution: forward"];
  EXPECT_GT(forward["launches"].GetDouble(), 0);
  EXPECT_GT(forward["seconds"].GetDouble(), 0);
}

INSTANTIATE_TEST_SUITE_P(, SimulatedPrograms,
                         testing::Combine(testing::Values("hrnet_w2", "pose_resnet50"), testing::Bool()),
                         [](const auto& param) {
                           return fmt::format("{}_{}", std::get<0>(param.param),
                                              std::get<1>(param.param) ? "bf16" : "f32");
                         });

// The modes that do not depend on the type of the network. eval and scaling do not use a GPU.
TEST(SimulatedBench, EveryOtherModeEndsWell) {
  const std::string small = " --model hrnet_w2 --fixed-size 64 64 --batch-size 2 --repeats 1 --warmup 1";
  for (const char* dtype : {"f32", "bf16"}) {
    const std::string text = done(on_gpu("bench") + " --mode comm --json --dtype " + dtype + small);
    EXPECT_EQ(json_of(text)["ranks"].GetInt(), 1);
  }
  done(on_gpu("bench") + " --mode load" + small);
  done(on_gpu("bench") + " --mode loader" + small + " --data-path " + data().string());
  done(on_gpu("bench") + " --mode eval" + small);
  done(program("bench") + " --mode scaling" + small);
  const Ended refused = run(on_gpu("bench") + " --mode scaling" + small);
  EXPECT_EQ(refused.status, 2) << refused.output;
  EXPECT_NE(refused.output.find("leave out --device"), std::string::npos) << refused.output;
}

// Training validates between epochs, while the memory of another network exists beside the step's, and writes the best
// weights.
TEST(SimulatedTrain, ValidatesBetweenEpochsWithTheFlipTest) {
  const fs::path out = test::temporary_folder();
  const std::string text =
      done(on_gpu("train", "1") + " --data-path " + data().string() + " --output-dir " + out.string() +
           " --model hrnet_w2 --fixed-size 64 64 --init torch --workers 2 --batch-size 3 --epochs 2 --eval-every 1");
  EXPECT_NE(text.find(" Average Precision"), std::string::npos) << text;
  EXPECT_TRUE(fs::exists(out / "best.safetensors"));
}

TEST(SimulatedTrain, ADeviceThatDoesNotExistIsNamed) {
  const fs::path out = test::temporary_folder();
  const Ended e = run(program("train") + " --device cuda:1" + train_flags(out, "hrnet_w2", 2, 1));
  EXPECT_EQ(e.status, 2) << e.output;
  EXPECT_NE(e.output.find("cuda:0"), std::string::npos) << e.output;
}

}  // namespace
}  // namespace hr

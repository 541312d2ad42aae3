// The whole loop on a tiny synthetic dataset: training, exact resume, bad input.
#include "tools/programs/train.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <map>
#include <thread>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "hrnet/model/load.h"
#include "hrnet/model/make_context.h"
#include "hrnet/train/history.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/tools/tiny_run.h"
#include "tools/cli/flag_names.h"
#include "tools/programs/validate.h"

namespace hr {
namespace {

// 10 pictures to train on, made once per test program.
const fs::path& data() {
  static const fs::path folder = test::tiny_data(test::temporary_folder() / "data", 10, 3);
  return folder;
}

TrainOptions tiny(const fs::path& output) {
  TrainOptions o = test::tiny_run(data(), output, 4);
  o.lr_steps = {3};
  return o;
}

// Compares every array of two checkpoints as bytes. Metadata may differ, because it contains the history of validation
// numbers.
void expect_same_arrays(const fs::path& a, const fs::path& b) {
  const SafetensorsFile left(a), right(b);
  ASSERT_EQ(left.names(), right.names());
  for (const std::string& name : left.names()) {
    const auto x = left.at(name).bytes, y = right.at(name).bytes;
    EXPECT_TRUE(std::equal(x.begin(), x.end(), y.begin(), y.end())) << name << " differs between " << a << " and " << b;
  }
}

std::string error_of(const TrainOptions& o) {
  try {
    train(o);
  } catch (const Error& e) {
    return with_flags(e.what());
  }
  return "";
}

TEST(Train, WritesWhatItPromises) {
  const fs::path out = test::temporary_folder() / "run";
  TrainOptions o = tiny(out);
  o.epochs = 2;
  o.keep_all = true;
  ASSERT_EQ(train(o), 0);
  for (const char* name : {"last.safetensors", "best.safetensors", "epoch_0.safetensors", "epoch_1.safetensors",
                           "config.json", "curves.png", "key_results.json", "metrics.jsonl", "report.html"}) {
    EXPECT_TRUE(fs::exists(out / name)) << name;
  }
  parse_json_file(out / "config.json");
  // There is one results line per epoch in the seed's format: ten numbers, loss and learning rate, separated by two
  // spaces.
  std::string results;
  for (const auto& entry : fs::directory_iterator(out)) {
    if (entry.path().filename().string().starts_with("results")) results = read_file(entry.path());
  }
  EXPECT_EQ(std::count(results.begin(), results.end(), '\n'), 2);
  EXPECT_TRUE(results.starts_with("epoch:0 "));
  EXPECT_NE(results.find("\nepoch:1 "), std::string::npos);
  EXPECT_EQ(results.substr(results.size() - 11), "  0.001000\n");
  // No temporary file is left behind.
  for (const auto& entry : fs::directory_iterator(out)) {
    EXPECT_EQ(entry.path().string().find(".tmp"), std::string::npos) << entry.path();
  }
}

TEST(Train, ResumeIsExactAtAnyNumberOfWorkers) {
  const fs::path root = test::temporary_folder();
  TrainOptions whole = tiny(root / "whole");
  whole.workers = 0;
  ASSERT_EQ(train(whole), 0);
  TrainOptions half = tiny(root / "half");
  half.epochs = 2;
  half.workers = 3;
  ASSERT_EQ(train(half), 0);
  half.epochs = 4;
  half.workers = 2;
  half.resume = (root / "half" / "last.safetensors").string();
  ASSERT_EQ(train(half), 0);
  expect_same_arrays(root / "whole" / "last.safetensors", root / "half" / "last.safetensors");
}

TEST(Train, InterruptedWithinAnEpochItResumesExactly) {
  const fs::path root = test::temporary_folder();
  TrainOptions o = tiny(root / "whole");
  o.batch_size = 2;  // several steps per epoch, so that the signal falls between two
  o.checkpoint_every = 1;
  ASSERT_EQ(train(o), 0);
  o.output_dir = (root / "cut").string();
  int interruptions = 0;
  for (;; o.resume = (root / "cut" / "last.safetensors").string()) {
    ASSERT_LT(interruptions, 20);
    if (interruptions == 3) break;
    const auto written = [&] {
      std::error_code none;
      return fs::last_write_time(root / "cut" / "last.safetensors", none);
    };
    std::atomic<bool> ended{false};
    std::thread killer([&, before = written()] {
      while (!ended && written() == before) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (!ended) std::raise(SIGINT);
    });
    std::signal(SIGINT, SIG_IGN);  // until train() installs its own handler
    const int status = train(o);
    ended = true;
    killer.join();
    std::signal(SIGINT, SIG_DFL);
    if (status == 0) break;
    EXPECT_EQ(status, 130);
    ++interruptions;
  }
  std::signal(SIGINT, SIG_DFL);
  EXPECT_GT(interruptions, 0);
  if (interruptions == 3) {
    ASSERT_EQ(train(o), 0);
  }
  expect_same_arrays(root / "whole" / "last.safetensors", root / "cut" / "last.safetensors");
}

TEST(Train, TheSeedRecipeAndBf16Train) {
  TrainOptions o = tiny(test::temporary_folder() / "run");
  o.recipe = "seed";
  o.amp = true;
  o.epochs = 1;
  EXPECT_EQ(train(o), 0);
}

TEST(Train, ANonFiniteLossStopsAndKeepsTheLastCheckpoint) {
  const fs::path out = test::temporary_folder() / "run";
  TrainOptions o = tiny(out);
  o.epochs = 1;
  ASSERT_EQ(train(o), 0);
  const std::string before = read_file(out / "last.safetensors");
  // These weights overflow float32 in the first convolutions.
  const SafetensorsFile good(out / "last.safetensors");
  std::vector<NamedArray> arrays;
  std::vector<float> huge(good.at("final_layer.bias").to_f32().size(), INFINITY);
  for (const std::string& name : good.names()) {
    if (name.starts_with("optimizer.")) continue;
    const ArrayView& a = good.at(name);
    arrays.push_back({name, a.dtype, a.shape, a.bytes});
    if (name == "final_layer.bias") arrays.back().bytes = std::as_bytes(std::span(huge));
  }
  write_safetensors(out / "broken.safetensors", arrays);
  o.weights = (out / "broken.safetensors").string();
  const std::string message = error_of(o);
  EXPECT_NE(message.find("batch 0 of"), std::string::npos) << message;
  EXPECT_NE(message.find("last.safetensors"), std::string::npos) << message;
  EXPECT_EQ(read_file(out / "last.safetensors"), before);
}

// Copies a run's last.safetensors with some of its metadata replaced.
fs::path with_metadata(const fs::path& from, const fs::path& to, const std::map<std::string, std::string>& changes) {
  const SafetensorsFile file(from);
  std::map<std::string, std::string> metadata = file.metadata();
  for (const auto& [key, value] : changes) metadata[key] = value;
  std::vector<NamedArray> arrays;
  for (const std::string& name : file.names()) {
    const ArrayView& a = file.at(name);
    arrays.push_back({name, a.dtype, a.shape, a.bytes});
  }
  write_safetensors(to, arrays, metadata);
  return to;
}

// A folder is in the place of validation's result file, so that validation fails after the last batch of the epoch.
TEST(Train, AnEpochWhoseValidationFailsIsKeptAndOnlyValidatedAgain) {
  const fs::path root = test::temporary_folder();
  TrainOptions whole = tiny(root / "whole");
  whole.epochs = 2;
  ASSERT_EQ(train(whole), 0);
  for (const int failing_epoch : {0, 1}) {
    SCOPED_TRACE(failing_epoch);
    TrainOptions o = tiny(root / fmt::format("run{}", failing_epoch));
    o.epochs = 2;
    const fs::path last = last_checkpoint(o), obstacle = fs::path(o.output_dir) / "key_results.json";
    if (failing_epoch == 1) {  // the first epoch ends well
      o.epochs = 1;
      ASSERT_EQ(train(o), 0);
      fs::remove(obstacle);
      o.epochs = 2;
      o.resume = last.string();
    }
    fs::create_directories(obstacle);
    EXPECT_NE(error_of(o).find("key_results.json"), std::string::npos);
    ASSERT_TRUE(fs::exists(last));
    if (failing_epoch == 1) expect_same_arrays(last, root / "whole" / "last.safetensors");
    fs::remove(obstacle);
    o.resume = last.string();
    testing::internal::CaptureStdout();
    ASSERT_EQ(train(o), 0);
    const std::string said = testing::internal::GetCapturedStdout();
    EXPECT_NE(said.find(fmt::format("epoch {} is trained and still to be validated", failing_epoch + 1)),
              std::string::npos)
        << said;
    expect_same_arrays(root / "whole" / "last.safetensors", last);
    // The history, with its losses, learning rates and scores, is that of the run without a failure.
    EXPECT_EQ(SafetensorsFile(last).metadata().at("history"),
              SafetensorsFile(root / "whole" / "last.safetensors").metadata().at("history"));
  }
}

TEST(Train, NumbersOfACheckpointThatCannotBeAreRefusedByName) {
  const fs::path root = test::temporary_folder();
  TrainOptions o = tiny(root / "run");
  o.epochs = 1;
  ASSERT_EQ(train(o), 0);
  const auto position = [](const char* epoch, const char* step, const char* samples, const char* sum, const char* ap) {
    return fmt::format(R"({{"epoch":{},"step":{},"samples":{},"loss_sum":{},"best_ap":{}}})", epoch, step, samples, sum,
                       ap);
  };
  struct Case {
    const char* key;
    std::string value;
    const char *field, *shown;
  };
  const Case cases[] = {
      {"position", position("1e300", "0", "0", "0", "0"), "epoch", "1e+300"},
      {"position", position("-1", "0", "0", "0", "0"), "epoch", "-1"},
      {"position", position("0.5", "0", "0", "0", "0"), "epoch", "0.5"},
      {"position", position("0", "1e30", "6", "1", "0"), "step", "1e+30"},
      {"position", position("0", "1", "0", "1", "0"), "samples", "0"},
      {"position", position("0", "1", "-6", "1", "0"), "samples", "-6"},
      {"position", position("0", "1", "6", "1", "7"), "best_ap", "7"},
      {"batch_size", "x", "batch_size", "x"},
      {"batch_size", "6x", "batch_size", "6x"},
      {"batch_size", "0", "batch_size", "0"},
      {"batch_size", "99999999999999", "batch_size", "99999999999999"},
      {"ranks", "", "ranks", "''"},
      {"ranks", "-1", "ranks", "-1"},
      {"history", R"([{"epoch":0,"loss":1,"lr":1,"stats":["a",1,1,1,1,1,1,1,1,1]}])", "stats", "numbers"},
  };
  o.epochs = 3;
  o.new_global_batch = true;  // tests the arithmetic that divides by these numbers
  o.batch_size = 3;
  for (const Case& c : cases) {
    const fs::path file =
        with_metadata(root / "run" / "last.safetensors", root / "changed.safetensors", {{c.key, c.value}});
    o.resume = file.string();
    const std::string message = error_of(o);
    for (const char* word : {"changed.safetensors", c.field, c.shown})
      EXPECT_NE(message.find(word), std::string::npos) << c.key << " " << c.value << ": \"" << message << '"';
  }
}

TEST(Train, ResumeSaysWhichFlagsDifferFromTheCheckpoints) {
  const fs::path root = test::temporary_folder();
  TrainOptions o = tiny(root / "run");
  o.epochs = 1;
  ASSERT_EQ(train(o), 0);
  o.resume = last_checkpoint(o).string();
  const auto output_of = [](const TrainOptions& options) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(train(options), 0);
    return testing::internal::GetCapturedStdout();
  };
  o.epochs = 2;
  EXPECT_EQ(output_of(o).find("note "), std::string::npos);
  o.epochs = 3;
  o.lr = 5e-4;
  o.fixed_size = {96, 64};
  const std::string said = output_of(o);
  EXPECT_NE(said.find("note       the checkpoint's --lr is 0.001, this run's is 0.0005\n"), std::string::npos) << said;
  EXPECT_NE(said.find("note       the checkpoint's --fixed-size is 64 64, this run's is 96 64\n"), std::string::npos)
      << said;
  EXPECT_EQ(said.find("--lr-steps"), std::string::npos) << said;
}

TEST(Train, AFinishedCheckpointSaysHowManyEpochsItHas) {
  const fs::path root = test::temporary_folder();
  TrainOptions o = tiny(root / "run");
  o.epochs = 1;
  ASSERT_EQ(train(o), 0);
  o.resume = last_checkpoint(o).string();
  EXPECT_NE(error_of(o).find("has finished 1 epoch, and --epochs asks for 1 in all; raise --epochs to continue"),
            std::string::npos)
      << error_of(o);
  const fs::path later =
      with_metadata(o.resume, root / "later.safetensors",
                    {{"position", R"({"epoch":210,"step":0,"samples":0,"loss_sum":0,"best_ap":-1})"}});
  o.resume = later.string();
  o.epochs = 2;
  EXPECT_NE(error_of(o).find("has finished 210 epochs, and --epochs asks for 2 in all"), std::string::npos)
      << error_of(o);
  if (fs::exists(test::oracle("weights/w2_official_checkpoint.pth"))) {  // also of 210 epochs
    o.resume = test::oracle("weights/w2_official_checkpoint.pth").string();
    EXPECT_NE(error_of(o).find("has finished 210 epochs, and --epochs asks for 2 in all"), std::string::npos)
        << error_of(o);
  }
}

TEST(Train, BadInputNamesTheFlagAndTheNextStep) {
  const fs::path root = test::temporary_folder();
  const auto expect = [&](const char* what, const TrainOptions& o, std::initializer_list<const char*> words) {
    const std::string message = error_of(o);
    EXPECT_FALSE(message.empty()) << what;
    for (const char* word : words) EXPECT_NE(message.find(word), std::string::npos) << what << ": " << message;
  };
  TrainOptions o = tiny(root / "run");
  o.data_path = (root / "nowhere").string();
  expect("missing folder", o, {"--data-path", "nowhere"});
  o = tiny(root / "run");
  o.model = "resnet";
  expect("unknown model", o, {"--model", "hrnet_w32"});
  o = tiny(root / "run");
  o.joints = 16;
  expect("joint count", o, {"--num-joints", "16", "17"});
  o = tiny(root / "run");
  o.device = "cuda:99";
  expect("no such GPU", o, {"--device cuda:99"});
  o = tiny(root / "run");
  o.weights = (data() / "person_keypoints.json").string();
  expect("not weights", o, {"person_keypoints.json"});
  o = tiny(root / "run");
  o.resume = (root / "missing.safetensors").string();
  expect("missing checkpoint", o, {"missing.safetensors"});
  write_file(root / "bad.json", "{\n\"images\": [,]\n}");
  o = tiny(root / "run");
  o.train_annotations = (root / "bad.json").string();
  expect("malformed JSON with its line", o, {"bad.json:2:"});
  write_file(root / "empty.json", R"({"images":[],"annotations":[],"categories":[]})");
  o.train_annotations = (root / "empty.json").string();
  expect("an empty split", o, {"empty.json"});
  write_file(root / "file", "");
  o = tiny(root / "file" / "run");
  expect("an output folder that cannot be", o, {"--output-dir"});
  o = tiny(root / "run");
  o.train_images = root.string();
  expect("missing pictures", o, {".jpg"});
}

// A PyTorch checkpoint, and one of ours with the same weights and moments at the same position, continue with the same
// run.
TEST(Train, ATorchCheckpointContinuesLikeOurOwn) {
  HR_NEEDS_ORACLE("weights/w2_checkpoint.pth");
  const std::tuple<const char*, const char*, int> files[] = {{"w2_checkpoint.pth", "seed", 4},
                                                             {"w2_official_checkpoint.pth", "official", 210}};
  for (const auto& [name, recipe, epoch] : files) {
    SCOPED_TRACE(name);
    const fs::path root = test::temporary_folder(), torch = test::oracle(std::string("weights/") + name);
    Context cx;
    const auto model = make_model(cx, "hrnet_w2", 17, 1);
    Optimizer optimizer(cx, model->parameters(), {});
    load_weights(WeightFile(torch), *model);
    load_optimizer(WeightFile(torch), optimizer);
    save_state_dict(
        root / "ours.safetensors", model->parameters(),
        {{"position", fmt::format(R"({{"epoch":{},"step":0,"samples":0,"loss_sum":0,"best_ap":-1}})", epoch)},
         {"history", "[]"},
         {"seed", "0"},
         {"batch_size", "6"}},
        &optimizer);
    TrainOptions o = tiny(root / "torch");
    o.model.clear();  // the checkpoint names it
    o.recipe = recipe;
    o.epochs = epoch + 1;
    o.resume = torch.string();
    ASSERT_EQ(train(o), 0);
    o.output_dir = (root / "ours").string();
    o.resume = (root / "ours.safetensors").string();
    ASSERT_EQ(train(o), 0);
    expect_same_arrays(root / "torch" / "last.safetensors", root / "ours" / "last.safetensors");
    const SafetensorsFile last(root / "torch" / "last.safetensors");
    EXPECT_EQ(last.at("optimizer.step").to_i64().at(0), 3) << "one of PyTorch, two of ours";
    o.epochs = epoch;
    o.resume = torch.string();
    EXPECT_NE(error_of(o).find("raise --epochs"), std::string::npos) << error_of(o);
  }
  TrainOptions o = tiny(test::temporary_folder() / "run");
  o.resume = test::oracle("weights/w2_zip.pth").string();
  EXPECT_NE(error_of(o).find("use --weights"), std::string::npos) << error_of(o);
}

TEST(Train, StartsFromAnImageNetBackboneAndFromAnotherJointCount) {
  HR_NEEDS_ORACLE("weights/w2_imagenet_like.pth");
  TrainOptions o = tiny(test::temporary_folder() / "run");
  o.epochs = 1;
  o.weights = test::oracle("weights/w2_imagenet_like.pth").string();
  EXPECT_EQ(train(o), 0);
  o.model = "hrnet_w3";
  EXPECT_NE(error_of(o).find("--model hrnet_w2"), std::string::npos) << error_of(o);
  o.model = "";
  o.weights.clear();
  o.drop_final_layer = true;
  EXPECT_NE(error_of(o).find("--drop-final-layer"), std::string::npos) << error_of(o);
}

TEST(Train, WeightsOfAnotherModelAreRefusedWithBothShapes) {
  const fs::path root = test::temporary_folder();
  TrainOptions o = tiny(root / "run");
  o.epochs = 1;
  ASSERT_EQ(train(o), 0);
  o.weights = (root / "run" / "last.safetensors").string();
  o.model = "hrnet_w3";
  const std::string message = error_of(o);
  EXPECT_NE(message.find("hrnet_w2"), std::string::npos) << message;
  EXPECT_NE(message.find("file ["), std::string::npos) << message;
}

// Targets are used in place of the network's heatmaps, and come back as the annotated joints: crop, target, decoding,
// the way back to the picture and the evaluator agree on every convention. The score is not exactly 1 because of the
// quarter-pixel decoding of a 32 x 24 map.
TEST(Validate, PerfectHeatmapsScoreNearlyPerfect) {
  const Skeleton& skeleton = coco_skeleton();
  for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
    const auto set = PoseDataset::from_annotations(
        read_coco(data() / "annotations/person_keypoints_train2017.json", 17), data() / "train2017", skeleton,
        {.recipe = recipe, .input_h = 128, .input_w = 96});
    std::vector<PersonResult> people;
    for (size_t i = 0; i < set.size(); ++i) {
      const Sample sample = set.sample(i, 0);
      std::vector<float> pose = decode({sample.target.data(), 1, 32, 24, 17});
      to_image(pose, 17, std::vector{sample.meta.heatmap_to_image});
      PersonResult& person = people.emplace_back();
      person.image_id = sample.meta.image_id;
      person.keypoints = pose;
    }
    const auto result =
        evaluate_coco(set.annotations(), to_detections(people, Rounding::none), {.sigmas = skeleton.sigmas});
    EXPECT_EQ(result.stats[1], 1.0);
    EXPECT_EQ(result.stats[2], 1.0);
    EXPECT_GT(result.stats[0], 0.8);
  }
}

TEST(History, RoundTripsThroughJson) {
  std::vector<EpochRecord> history{{.epoch = 0, .loss = 1.0 / 3, .lr = 1e-3},
                                   {.epoch = 1, .loss = 0.1, .lr = 1e-4},
                                   {.epoch = 2, .loss = 0.1, .lr = 1e-4, .pckh = true}};
  history[1].stats = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, -1};
  history[2].stats = {90, 80, 70, 60, 50, 40, 30, 61, 9};
  const auto back = history_from_json(history_to_json(history), "test");
  ASSERT_EQ(back.size(), 3u);
  EXPECT_EQ(back[0].loss, 1.0 / 3);
  EXPECT_TRUE(back[0].stats.empty());
  EXPECT_EQ(back[1].stats, history[1].stats);
  EXPECT_FALSE(back[1].pckh);
  EXPECT_EQ(back[1].score(), 0.1);
  EXPECT_EQ(back[2].stats, history[2].stats);
  EXPECT_TRUE(back[2].pckh);
  EXPECT_EQ(back[2].score(), 0.61);
  EXPECT_EQ(results_line(history[0]), "epoch:0 nan  nan  nan  nan  nan  nan  nan  nan  nan  nan  0.3333  0.001000");
  EXPECT_EQ(
      results_line(history[1]),
      "epoch:1 0.1000  0.2000  0.3000  0.4000  0.5000  0.6000  0.7000  0.8000  0.9000  -1.0000  0.1000  0.000100");
}

}  // namespace
}  // namespace hr

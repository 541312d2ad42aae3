// The training loop as a library: when it saves which file, resuming, bad samples, losses that are not finite,
// settings.
#include "hrnet/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "hrnet/train/checkpoint.h"
#include "nn/state_dict.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

// Pictures of both splits with one person each, in COCO's layout.
fs::path made_data(int train_pictures) {
  fs::path root = test::temporary_folder() / "data";
  fs::create_directories(root / "annotations");
  Philox random(3, 0, 0);
  for (const auto& [split, pictures] : {std::pair{"train", train_pictures}, {"val", 2}}) {
    const fs::path folder = root / fmt::format("{}2017", split);
    fs::create_directories(folder);
    std::string images, people;
    for (int i = 0; i < pictures; ++i) {
      write_image(folder / fmt::format("p{}.jpg", i), test::made_picture(90, 70, static_cast<uint64_t>(i)));
      std::string joints;
      for (int k = 0; k < 17; ++k)
        joints += fmt::format("{}{},{},2", k > 0 ? "," : "", 10 + random.below(60), 10 + random.below(50));
      const char* comma = i > 0 ? "," : "";
      images += fmt::format(R"({}{{"id":{},"file_name":"p{}.jpg","width":90,"height":70}})", comma, i + 1, i);
      people += fmt::format(
          R"({}{{"id":{},"image_id":{},"category_id":1,"iscrowd":0,"area":2000,"bbox":[5,5,70,60],"num_keypoints":17,"keypoints":[{}]}})",
          comma, i + 1, i + 1, joints);
    }
    write_file(root / "annotations" / fmt::format("person_keypoints_{}2017.json", split),
               fmt::format(R"({{"images":[{}],"annotations":[{}],"categories":[{{"id":1,"name":"person"}}]}})", images,
                           people));
  }
  return root;
}

const fs::path& data() {
  static const fs::path folder = made_data(6);
  return folder;
}

TrainRecipe tiny(const fs::path& output) {
  TrainRecipe r;
  r.data_path = data().string();
  r.output_dir = output.string();
  r.model = "hrnet_w2";
  r.fixed_size = {64, 64};
  r.batch_size = 2;  // three steps per epoch
  r.epochs = 2;
  r.lr_steps = {1};
  r.workers = 1;
  r.flip = false;
  return r;
}

std::string last_of(const TrainRecipe& r) { return (fs::path(r.output_dir) / "last.safetensors").string(); }

// Returns the bytes of weights, running statistics and counters.
std::string bytes_of(const PoseModel& model) {
  const fs::path file = test::temporary_folder() / "model.safetensors";
  save_state_dict(file, model.parameters(), {});
  return read_file(file);
}

struct FailingValidation : TrainObserver {
  void validated(const Validated&) override { fail("the disk is full"); }
};

TEST(Trainer, AnEpochIsOnTheDiskBeforeItIsValidated) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe whole = tiny(root / "whole");
  whole.epochs = 1;
  EXPECT_FALSE(train(whole, silent).stopped());

  TrainRecipe r = tiny(root / "failed");
  r.epochs = 1;
  FailingValidation failing;
  EXPECT_EQ(test::error_of([&] { train(r, failing); }), "the disk is full");
  const RunState saved = read_run_state(WeightFile(fs::path(last_of(r))));
  EXPECT_TRUE(saved.trained);
  EXPECT_EQ(saved.epoch, 0);
  EXPECT_EQ(saved.step, 3);

  // The resumed run trains nothing and only validates. It ends where the run without an accident does.
  struct Counting : TrainObserver {
    int steps = 0, validations = 0;
    void stepped(const EpochStatus&) override { ++steps; }
    void validated(const Validated&) override { ++validations; }
  } counting;
  r.resume = last_of(r);
  EXPECT_FALSE(train(r, counting).stopped());
  EXPECT_EQ(counting.steps, 0);
  EXPECT_EQ(counting.validations, 1);
  EXPECT_EQ(read_file(last_of(r)), read_file(last_of(whole)));
}

TEST(Trainer, AResumedRunWritesTheBytesOfAnUninterruptedOne) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe whole = tiny(root / "whole");
  const TrainEnd end = train(whole, silent);
  EXPECT_FALSE(end.stopped());
  EXPECT_EQ(end.epoch, 2);

  // Asks to stop after the second step of each epoch, so twice.
  struct Stopping : TrainObserver {
    StopRequest stop;
    void stepped(const EpochStatus& s) override {
      if (s.step == 1) stop.request(7);
    }
  };
  TrainRecipe r = tiny(root / "cut");
  int stops = 0;
  for (; stops < 10; ++stops) {
    Stopping stopping;
    const TrainEnd part = train(r, stopping, stopping.stop);
    if (!part.stopped()) break;
    EXPECT_EQ(part.stop_reason, 7);
    EXPECT_EQ(part.step, 2);
    r.resume = last_of(r);
    r.workers = 2 - r.workers;  // the batches do not depend on the number of workers
  }
  EXPECT_EQ(stops, 2);
  EXPECT_EQ(read_file(last_of(r)), read_file(last_of(whole)));
}

// Everything that may be added to the recipe, on a batch of 1: six steps, so four updates, the last of a single step.
TrainRecipe with_everything(const fs::path& output) {
  TrainRecipe r = tiny(output);
  use_modern_recipe(r);
  r.batch_size = 1;
  r.accumulate = 2;
  r.epochs = 3;
  r.warmup_steps = 4;
  r.clip_norm = 0.01;  // acts in every update
  r.freeze = {"conv1.*", "layer1.0.*"};
  r.patience = 5;
  return r;
}

std::vector<std::byte> copy_of(const ArrayView& a) { return {a.bytes.begin(), a.bytes.end()}; }

// Records the accuracies and sample pictures that a run reports.
struct SampleWatcher : TrainObserver {
  std::map<std::pair<int, int64_t>, double> accuracies;  // By epoch and step; NaN: not measured.
  std::vector<Image> pictures;
  void stepped(const EpochStatus& s) override { accuracies[{s.epoch, s.step}] = s.accuracy; }
  void samples(const EpochStatus& s, const Image& picture) override {
    EXPECT_EQ(s.step, s.steps);
    pictures.push_back(picture);
  }
};

TEST(Trainer, TellsAccuracyAndSamplesWhereItIsAskedTo) {
  const fs::path root = test::temporary_folder();
  SampleWatcher watching;
  TrainRecipe r = tiny(root / "watched");
  r.print_freq = 2;
  r.init = "torch";
  train(r, watching);
  std::vector<std::pair<int, int64_t>> measured;
  for (const auto& [step, accuracy] : watching.accuracies) {
    if (std::isnan(accuracy)) continue;
    measured.push_back(step);
    EXPECT_GE(accuracy, 0);
    EXPECT_LE(accuracy, 1);
  }
  EXPECT_EQ(measured, (std::vector<std::pair<int, int64_t>>{{0, 2}, {0, 3}, {1, 2}, {1, 3}}));
  ASSERT_EQ(watching.pictures.size(), 2u);
  EXPECT_EQ(watching.pictures[0].width, 4 * 64 + 3 * 4);  // Four panels and the gaps between them.
  EXPECT_NE(watching.pictures[0].rgb, watching.pictures[1].rgb);

  // Looking changes nothing, and a run that continues sees the same.
  SampleWatcher first, second;
  TrainRecipe half = tiny(root / "half");
  half.init = "torch";
  half.epochs = 1;
  train(half, first);
  half.epochs = 2;
  half.resume = last_of(half);
  train(half, second);
  ASSERT_EQ(second.pictures.size(), 1u);
  EXPECT_EQ(second.pictures[0].rgb, watching.pictures[1].rgb);
  EXPECT_EQ((second.accuracies[{1, 3}]), (watching.accuracies[{1, 3}]));
}

TEST(Trainer, AResumedRunWithEverythingAddedWritesTheSameBytes) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe whole = with_everything(root / "whole");
  EXPECT_FALSE(train(whole, silent).stopped());
  // Asked to stop in the first step of a group, whose gradient is in no checkpoint; and a crash after a checkpoint
  // that was due within a group.
  struct Stopping : TrainObserver {
    StopRequest stop;
    void stepped(const EpochStatus& s) override {
      if (s.epoch == 0 && s.step == 2) stop.request(7);
      check(s.epoch != 1 || s.step != 5, "power failure");
    }
  };
  TrainRecipe r = with_everything(root / "cut");
  r.checkpoint_every = 3;
  Stopping first, second;
  const TrainEnd part = train(r, first, first.stop);
  EXPECT_EQ(part.step, 4) << "the group is finished first";
  r.resume = last_of(r);
  EXPECT_EQ(test::error_of([&] { train(r, second); }), "power failure");
  const RunState saved = read_run_state(WeightFile(fs::path(last_of(r))));
  EXPECT_EQ(saved.epoch, 1);
  EXPECT_EQ(saved.step, 4) << "the checkpoint waits for the end of its group";
  EXPECT_FALSE(train(r, silent).stopped());
  EXPECT_EQ(read_file(last_of(r)), read_file(last_of(whole)));
  EXPECT_EQ(read_file(root / "cut" / "best.safetensors"), read_file(root / "whole" / "best.safetensors"));
}

// Each setting must change the weights, because the test above would not notice a setting that does nothing.
TEST(Trainer, EverySettingThatIsAddedChangesTheWeights) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  const auto weights = [&](const std::function<void(TrainRecipe&)>& change) {
    TrainRecipe r = with_everything(root / "run");
    r.epochs = 2;
    r.eval_every = 100;
    change(r);
    train(r, silent);
    const SafetensorsFile file{fs::path(last_of(r))};
    std::vector<std::vector<std::byte>> all;
    for (const char* name : {"final_layer.weight", "final_layer.bias", "conv1.weight", "optimizer.average.values"}) {
      if (file.contains(name)) all.push_back(copy_of(file.at(name)));
    }
    return all;
  };
  const auto base = weights([](TrainRecipe&) {});
  const std::vector<std::pair<const char*, std::function<void(TrainRecipe&)>>> changes = {
      {"schedule", [](auto& r) { r.schedule = "cosine"; }},
      {"lr_final", [](auto& r) { r.lr_final = 0.5; }},
      {"warmup_steps", [](auto& r) { r.warmup_steps = 0; }},
      {"clip_norm", [](auto& r) { r.clip_norm = 0; }},
      {"ema", [](auto& r) { r.ema = 0.1; }},
      {"freeze", [](auto& r) { r.freeze.clear(); }},
      {"decay_on", [](auto& r) { r.decay_on = "all"; }},
      {"accumulate", [](auto& r) { r.accumulate = 3; }},
      {"shuffle", [](auto& r) { r.shuffle = false; }},
      {"mirror", [](auto& r) { r.mirror = false; }},
  };
  EXPECT_EQ(weights([](TrainRecipe&) {}), base);
  for (const auto& [name, change] : changes) EXPECT_NE(weights(change), base) << name;
}

TEST(Trainer, TheAverageIsWhatIsValidatedAndPublished) {
  const fs::path root = test::temporary_folder();
  struct Watching : TrainObserver {
    std::string during;
    void validated(const Validated&) override { during = "told"; }
  } watching;
  TrainRecipe r = tiny(root / "run");
  r.epochs = 1;
  r.ema = 0.9;
  TrainObserver silent;
  train(r, watching);
  EXPECT_EQ(watching.during, "told");
  // best.safetensors is a plain file of weights: the average. last.safetensors has both.
  const SafetensorsFile best{root / "run" / "best.safetensors"}, last{fs::path(last_of(r))};
  EXPECT_FALSE(best.contains("optimizer.exp_avg"));
  EXPECT_NE(copy_of(best.at("final_layer.weight")), copy_of(last.at("final_layer.weight")));
  EXPECT_NE(copy_of(best.at("bn1.running_mean")), copy_of(last.at("bn1.running_mean")));
  Context cx;
  const auto model = make_model(cx, "hrnet_w2", 17, 0, Init::none);
  load_weights(root / "run" / "best.safetensors", *model);
  const ArrayView& average = last.at("optimizer.average.values");
  const Tensor& values = model->parameters().values;
  ASSERT_EQ(average.numel(), values.numel());
  EXPECT_EQ(std::memcmp(average.bytes.data(), values.raw(), values.bytes()), 0);
  const ArrayView& statistics = last.at("optimizer.average.buffers");
  EXPECT_EQ(std::memcmp(statistics.bytes.data(), model->parameters().buffers.raw(), statistics.bytes.size()), 0);
  // Testing the checkpoint is testing the average; testing the weights of the file is not.
  const auto results = [&](const fs::path& folder, const std::function<void(TrainRecipe&)>& what) {
    TrainRecipe t = tiny(folder);
    t.test_only = true;
    what(t);
    World alone = lone_world();
    Trainer(t, alone, silent).test();
    return read_file(folder / "key_results.json");
  };
  const std::string of_best = results(root / "a", [&](auto& t) { t.weights = root / "run" / "best.safetensors"; });
  EXPECT_EQ(of_best, read_file(root / "run" / "key_results.json"));
  EXPECT_EQ(results(root / "b", [&](auto& t) { t.resume = last_of(r), t.ema = 0.9; }), of_best);
  EXPECT_NE(results(root / "c", [&](auto& t) { t.weights = last_of(r); }), of_best);
}

TEST(Trainer, FrozenParametersAreThoseOfTheStart) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe r = tiny(root / "run");
  r.epochs = 1;
  r.freeze = {"layer1.*", "stage?.*"};
  r.weight_decay = 0.1;
  World alone = lone_world();
  Trainer trainer(r, alone, silent);
  std::map<std::string, std::vector<float>> before;
  const auto copy = [](const Parameter& p) {
    return std::vector<float>(p.value.data<float>(), p.value.data<float>() + p.value.numel());
  };
  for (const Parameter& p : trainer.model().parameters().parameters()) before[p.name] = copy(p);
  trainer.run({});
  for (const Parameter& p : trainer.model().parameters().parameters()) {
    const bool frozen = p.name.starts_with("layer1.") || p.name.starts_with("stage");
    EXPECT_EQ(copy(p) == before[p.name], frozen) << p.name;
  }
}

TEST(Trainer, EndsWhenTheScoreHasNotRisenForAsLongAsItsPatience) {
  const fs::path root = test::temporary_folder();
  struct Counting : TrainObserver {
    int validations = 0, last = 0;
    void validated(const Validated& v) override { ++validations, last += v.last ? 1 : 0; }
  } counting, again;
  TrainRecipe r = tiny(root / "run");
  r.lr = 1e-30;  // the score stays where it is
  r.epochs = 50;
  r.patience = 2;
  const TrainEnd end = train(r, counting);
  EXPECT_TRUE(end.early);
  EXPECT_FALSE(end.stopped());
  EXPECT_EQ(end.epoch, 3) << "the first one sets the score, two do not raise it";
  EXPECT_EQ(counting.validations, 3);
  EXPECT_EQ(counting.last, 1) << "the observer knows that it is the last one";
  // A resumed run knows that it is at its end; with more patience it goes on.
  const std::string bytes = read_file(last_of(r));
  r.resume = last_of(r);
  EXPECT_TRUE(train(r, again).early);
  EXPECT_EQ(again.validations, 0);
  EXPECT_EQ(read_file(last_of(r)), bytes);
  r.patience = 3;
  EXPECT_EQ(train(r, again).epoch, 4);
  EXPECT_EQ(again.validations, 1);
}

TEST(Trainer, ResumingWithOtherExtrasIsSaid) {
  const fs::path root = test::temporary_folder();
  struct Listening : TrainObserver {
    std::string notes;
    void fact(std::string_view label, const std::string& text) override {
      if (label == "note") notes += text + "\n";
    }
  } listening;
  TrainRecipe r = tiny(root / "run");
  r.epochs = 1;
  r.ema = 0.9;
  train(r, listening);
  EXPECT_EQ(listening.notes, "");
  r.resume = last_of(r);
  r.epochs = 2;
  r.ema = 0;
  r.accumulate = 2;
  train(r, listening);
  EXPECT_TRUE(test::contains(listening.notes, "the checkpoint's `ema` is 0.9, this run's is 0")) << listening.notes;
  EXPECT_TRUE(test::contains(listening.notes, "`accumulate` is 1, this run's is 2")) << listening.notes;
  EXPECT_FALSE(test::contains(listening.notes, "clip_norm")) << listening.notes;
  // Without averages in the file they begin with the weights.
  r.ema = 0.5;
  r.epochs = 3;
  train(r, listening);
  EXPECT_TRUE(SafetensorsFile{fs::path(last_of(r))}.contains("optimizer.average.values"));
}

TEST(Trainer, AnAutomaticResumeForgetsWhatTheRunBeganWith) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe first = tiny(root / "first");
  first.epochs = 1;
  train(first, silent);
  TrainRecipe r = tiny(root / "run");
  r.weights = last_of(first);
  r.resume = "auto";
  r.epochs = 1;
  EXPECT_EQ(train(r, silent).epoch, 1);
  r.epochs = 2;  // the same settings, in a folder that has a checkpoint now
  EXPECT_EQ(train(r, silent).epoch, 2);
}

TEST(Trainer, CheckpointsWithinAnEpochContinueIt) {
  const fs::path root = test::temporary_folder();
  TrainRecipe whole = tiny(root / "whole");
  TrainObserver silent;
  train(whole, silent);
  // Throws after the step that follows the checkpoint, which is an end that nothing could prepare for.
  struct Crashing : TrainObserver {
    void stepped(const EpochStatus& s) override { check(s.epoch != 1 || s.step != 3, "power failure"); }
  } crashing;
  TrainRecipe r = tiny(root / "crashed");
  r.checkpoint_every = 2;
  EXPECT_EQ(test::error_of([&] { train(r, crashing); }), "power failure");
  const RunState saved = read_run_state(WeightFile(fs::path(last_of(r))));
  EXPECT_EQ(saved.epoch, 1);
  EXPECT_EQ(saved.step, 2);
  EXPECT_EQ(saved.history.size(), 1u);
  r.resume = last_of(r);
  train(r, silent);
  EXPECT_EQ(read_file(last_of(r)), read_file(last_of(whole)));
}

TEST(Trainer, ALossThatIsNotFiniteUpdatesNothing) {
  const fs::path root = test::temporary_folder();
  TrainObserver silent;
  TrainRecipe r = tiny(root / "run");
  r.epochs = 1;
  train(r, silent);
  // This bias makes all heatmaps infinite.
  const SafetensorsFile good{fs::path(last_of(r))};
  std::vector<NamedArray> arrays;
  const std::vector<float> huge(17, std::numeric_limits<float>::infinity());
  for (const std::string& name : good.names()) {
    if (name.starts_with("optimizer.")) continue;
    const ArrayView& a = good.at(name);
    arrays.push_back({name, a.dtype, a.shape, a.bytes});
    if (name == "final_layer.bias") arrays.back().bytes = std::as_bytes(std::span(huge));
  }
  write_safetensors(root / "broken.safetensors", arrays);
  r.weights = (root / "broken.safetensors").string();
  World alone = lone_world();
  Trainer trainer(r, alone, silent);
  const std::string before = bytes_of(trainer.model()), checkpoint = read_file(last_of(r));
  const std::string message = test::error_of([&] { trainer.run({}); });
  for (const char* part : {"batch 0 of 3", "nothing was updated", "last.safetensors", "`lr`", "`resume`"})
    EXPECT_TRUE(test::contains(message, part)) << message;
  EXPECT_EQ(bytes_of(trainer.model()), before);
  EXPECT_EQ(read_file(last_of(r)), checkpoint);
}

TEST(Trainer, PicturesThatTurnBadAreReplacedListedAndToldOnce) {
  struct Damaging : TrainObserver {
    fs::path picture;
    std::vector<size_t> told;
    std::string list;
    void epoch_finished(const fs::path&, const std::vector<EpochRecord>& history) override {
      if (history.size() == 1) write_file(picture, "no picture any more");
    }
    void more_bad_samples(size_t count, const std::string& files) override {
      told.push_back(count);
      list = files;
    }
  } damaging;
  const fs::path root = made_data(4);
  damaging.picture = root / "train2017" / "p2.jpg";
  TrainRecipe r = tiny(root / "run");
  r.data_path = root.string();
  r.cache_mib = 0;  // otherwise the picture would not be read again
  r.epochs = 3;
  EXPECT_FALSE(train(r, damaging).stopped());
  EXPECT_EQ(damaging.told, std::vector<size_t>{1});
  EXPECT_TRUE(test::contains(damaging.list, "bad_samples_*.tsv")) << damaging.list;
  EXPECT_TRUE(test::contains(read_file(bad_samples_file(root / "run", "train")), "p2.jpg"));
}

TEST(Trainer, BadPicturesAreAnErrorBeforeTheStartUnlessTheyAreSkipped) {
  const fs::path root = made_data(4);
  write_file(root / "train2017" / "p1.jpg", "no picture");
  TrainRecipe r = tiny(root / "run");
  r.data_path = root.string();
  r.epochs = 1;
  struct Listening : TrainObserver {
    std::string left_out;
    void fact(std::string_view label, const std::string& text) override {
      if (label == "left out") left_out = text;
    }
  } listening;
  const std::string message = test::error_of([&] { train(r, listening); });
  EXPECT_TRUE(test::contains(message, "p1.jpg") && test::contains(message, "`on_bad_sample` skip")) << message;
  r.on_bad_sample = "skip";
  train(r, listening);
  EXPECT_TRUE(test::contains(listening.left_out, "1 picture (with 1 person) of train")) << listening.left_out;
}

TEST(Trainer, PrintsNothingByItself) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  TrainObserver silent;
  TrainRecipe r = tiny(test::temporary_folder() / "run");
  r.epochs = 1;
  train(r, silent);
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace hr

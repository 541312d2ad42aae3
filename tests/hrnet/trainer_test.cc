// The training loop as a library: when it saves which file, resuming, bad samples, losses that are not finite,
// settings.
#include "hrnet/train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "hrnet/train/checkpoint.h"
#include "nn/state_dict.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

// Pictures of both splits with one person each, in COCO's layout.
fs::path made_data(int train_pictures) {
  const fs::path root = test::temporary_folder() / "data";
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
    r.workers = 2 - r.workers;  // the batches do not depend on it
  }
  EXPECT_EQ(stops, 2);
  EXPECT_EQ(read_file(last_of(r)), read_file(last_of(whole)));
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

TEST(TrainRecipe, ASettingThatCannotBeIsNamedByItsField) {
  const std::vector<std::pair<const char*, std::function<void(TrainRecipe&)>>> cases = {
      {"epochs", [](auto& r) { r.epochs = 0; }},
      {"start_epoch", [](auto& r) { r.start_epoch = 2; }},
      {"start_epoch", [](auto& r) { r.start_epoch = -1; }},
      {"batch_size", [](auto& r) { r.batch_size = 0; }},
      {"workers", [](auto& r) { r.workers = -1; }},
      {"eval_every", [](auto& r) { r.eval_every = 0; }},
      {"checkpoint_every", [](auto& r) { r.checkpoint_every = -1; }},
      {"lr", [](auto& r) { r.lr = 0; }},
      {"lr", [](auto& r) { r.lr = NAN; }},
      {"lr_gamma", [](auto& r) { r.lr_gamma = INFINITY; }},
      {"weight_decay", [](auto& r) { r.weight_decay = NAN; }},
      {"joints", [](auto& r) { r.joints = 0; }},
      {"fixed_size",
       [](auto& r) {
         r.fixed_size = {100, 64};
       }},
      {"fixed_size",
       [](auto& r) {
         r.fixed_size = {64, 8192};
       }},
      {"recipe", [](auto& r) { r.recipe = "mine"; }},
      {"init", [](auto& r) { r.init = "zeros"; }},
      {"codec", [](auto& r) { r.codec = "simcc"; }},
      {"color", [](auto& r) { r.color = "grey"; }},
      {"on_bad_sample", [](auto& r) { r.on_bad_sample = "ignore"; }},
      {"rot_factor", [](auto& r) { r.rot_factor = 91; }},
      {"scale_factor", [](auto& r) { r.scale_factor = NAN; }},
      {"weights", [](auto& r) { r.weights = "a.pth", r.resume = "b.safetensors"; }},
      {"weights", [](auto& r) { r.weights = "a.pth", r.no_pretrained = true; }},
      {"drop_final_layer", [](auto& r) { r.drop_final_layer = true; }},
      {"test_only", [](auto& r) { r.test_only = true; }},
  };
  TrainRecipe good = tiny("run");
  good.validate();
  for (const auto& [field, spoil] : cases) {
    TrainRecipe r = tiny("run");
    spoil(r);
    try {
      r.validate();
      ADD_FAILURE() << field << " was accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), field) << e.what();
      EXPECT_TRUE(test::contains(e.what(), fmt::format("`{}` ", field))) << e.what();
    }
  }
}

TEST(Checkpoint, NumbersThatCannotBeAreRefusedByName) {
  const fs::path file = test::temporary_folder() / "c.safetensors";
  const float zero = 0;
  const auto refused = [&](const std::string& position) {
    const std::vector<NamedArray> arrays = {{"x", DType::f32, {1}, std::as_bytes(std::span(&zero, 1))}};
    write_safetensors(file, arrays, {{"position", position}, {"history", "[]"}});
    try {
      read_run_state(WeightFile(file));
    } catch (const Error& e) {
      EXPECT_EQ(e.field(), "resume");
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused(R"({"epoch":3,"step":1,"samples":6,"loss_sum":1,"best_ap":0.5})"), "");
  EXPECT_TRUE(test::contains(refused(R"({"epoch":1e300,"step":0,"samples":0,"loss_sum":0,"best_ap":0})"), "1e+300"));
  EXPECT_TRUE(test::contains(refused(R"({"epoch":0,"step":1,"samples":0,"loss_sum":0,"best_ap":0})"), "samples"));
  EXPECT_TRUE(test::contains(refused(R"({"epoch":0.5,"step":0,"samples":0,"loss_sum":0,"best_ap":0})"), "whole"));
  EXPECT_TRUE(test::contains(refused("[]"), "position"));
}

TEST(Checkpoint, AHistoryWithoutANumberForSomeJointCanBeReadAgain) {
  EpochRecord record{.epoch = 1, .loss = 0.5, .lr = 1e-3, .pckh = true, .stats = std::vector<double>(9, 50.0)};
  record.stats[2] = std::numeric_limits<double>::quiet_NaN();
  const std::vector<EpochRecord> back = history_from_json(history_to_json({record}), "test");
  ASSERT_EQ(back.size(), 1u);
  EXPECT_TRUE(std::isnan(back[0].stats[2]));
  EXPECT_EQ(back[0].stats[3], 50.0);
}

}  // namespace
}  // namespace hr

// Datasets as programs open, pack and show them, and training from them.
#include "tools/cli/data_options.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/error.h"
#include "core/io/safetensors.h"
#include "core/io/zip.h"
#include "data/pack/pack.h"
#include "tests/data/jpeg.h"
#include "tests/support/oracle.h"
#include "tests/tools/tiny_run.h"
#include "tools/cli/flag_names.h"
#include "tools/programs/browse.h"
#include "tools/programs/coco_eval.h"
#include "tools/programs/pack.h"
#include "tools/programs/train.h"
#include "tools/programs/validate.h"
#include "tools/synth/annotations.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

const fs::path& made() {
  static const fs::path folder = [] {
    fs::path path = test::temporary_folder() / "data";
    synth(
        {.output = path.string(), .train_images = 8, .val_images = 3, .seed = 6, .sizes = {{160, 120}}, .threads = 1});
    return path;
  }();
  return folder;
}

fs::path copy_of_made() {
  fs::path copy = test::temporary_folder() / "copy";
  fs::copy(made(), copy, fs::copy_options::recursive);
  return copy;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

template <class Call>
std::string error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return with_flags(error.what());
  }
  return "";
}

DataOptions flags(const fs::path& path) {
  DataOptions o;
  o.data_path = path.string();
  return o;
}

PoseDataset open(const DataOptions& o, const std::string& split = "train") {
  return open_split(o, split, data_skeleton(o, ""), dataset_options(o, 64, 48, 2, false));
}

TEST(Datasets, LayoutsAreFound) {
  const size_t people = open(flags(made())).size();
  // The official project's folder, and a zip file in place of a folder.
  const fs::path copy = copy_of_made();
  fs::create_directory(copy / "images");
  fs::rename(copy / "train2017", copy / "images" / "train2017");
  EXPECT_EQ(open(flags(copy)).sample(0, 0).image, open(flags(made())).sample(0, 0).image);
  {
    AtomicFile file(copy / "train2017.zip");
    ZipWriter zip(file);
    for (const auto& picture : fs::directory_iterator(copy / "images" / "train2017")) {
      const std::string bytes = read_file(picture.path());
      zip.add("train2017/" + picture.path().filename().string(), std::as_bytes(std::span(bytes)));
    }
    zip.finish();
    file.commit();
  }
  fs::remove_all(copy / "images");
  const PoseDataset zipped = open(flags(copy));
  EXPECT_EQ(zipped.size(), people);
  EXPECT_TRUE(contains(zipped.pictures().place(zipped.annotations().images[0].file_name), "train2017.zip/"));
  EXPECT_EQ(zipped.sample(0, 0).image, open(flags(made())).sample(0, 0).image);
  fs::remove(copy / "train2017.zip");
  EXPECT_TRUE(contains(error_of([&] { open(flags(copy)); }), "no pictures there (looked for train2017, train2017.zip"));
  fs::remove_all(copy / "annotations");
  EXPECT_TRUE(contains(error_of([&] { open(flags(copy)); }), "--train-annotations"));
  EXPECT_TRUE(contains(error_of([&] { open(flags("/no/such")); }), "--data-path /no/such"));
}

TEST(Datasets, SkeletonsComeFromWhereTheyAreSaid) {
  DataOptions o = flags(made());
  EXPECT_EQ(data_skeleton(o, "").name, "coco");
  EXPECT_EQ(data_skeleton(o, "crowdpose").joints(), 14);
  EXPECT_EQ(data_skeleton(o, "categories").sigmas, data_skeleton(o, "coco").sigmas);
  EXPECT_TRUE(contains(error_of([&] { data_skeleton(o, "unicorn"); }), "unicorn"));
  // MPII's list selects MPII's skeleton.
  const fs::path folder = test::temporary_folder();
  fs::create_directory(folder / "annot");
  write_file(folder / "annot" / "train.json", "[]");
  EXPECT_EQ(data_skeleton(flags(folder), "").name, "mpii");
  o.categories = {"1", "x"};
  EXPECT_TRUE(contains(error_of([&] { dataset_options(o, 64, 48, 2, true); }), "--categories x"));
  o.categories = {"all"};
  EXPECT_TRUE(dataset_options(o, 64, 48, 2, true).categories.empty());
}

TrainOptions tiny(const fs::path& data, const fs::path& output) {
  TrainOptions o = test::tiny_run(data, output, 2);
  o.lr_steps = {1};
  return o;
}

PackOptions pack_of(const fs::path& data, const fs::path& output) {
  PackOptions o;
  o.data_path = data.string();
  o.output = output.string();
  o.fixed_size = {64, 64};
  return o;
}

TEST(Datasets, TrainingFromAPackGivesTheSameBytesOfWeights) {
  const fs::path folder = test::temporary_folder();
  pack(pack_of(made(), folder / "made.pack"));
  EXPECT_EQ(train(tiny(made(), folder / "a")), 0);
  EXPECT_EQ(train(tiny(folder / "made.pack", folder / "b")), 0);
  EXPECT_EQ(read_file(folder / "a" / "last.safetensors"), read_file(folder / "b" / "last.safetensors"));
  TrainOptions more = tiny(folder / "made.pack", folder / "c");
  more.rot_factor = 60;
  EXPECT_TRUE(contains(error_of([&] { train(more); }), "--rot-factor 60"));
  more = tiny(folder / "made.pack", folder / "c");
  more.keypoints_path = "mpii";
  EXPECT_TRUE(contains(error_of([&] { train(more); }), "16 joints, but"));
  more = tiny(folder / "made.pack", folder / "c");
  more.person_det = "boxes.json";
  EXPECT_TRUE(contains(error_of([&] { train(more); }), "--person-det"));
  PackOptions again = pack_of(folder / "made.pack", folder / "d.pack");
  EXPECT_TRUE(contains(error_of([&] { pack(again); }), "is a pack already"));
  again = {};
  EXPECT_TRUE(contains(error_of([&] { pack(again); }), "--output"));
  again.verify = (folder / "made.pack").string();
  EXPECT_EQ(error_of([&] { pack(again); }), "");
}

TEST(Datasets, ACodecIsKeptAndOneResumesOnlyWithIt) {
  const fs::path folder = test::temporary_folder();
  TrainOptions o = tiny(made(), folder);
  o.codec = "udp";
  o.epochs = 1;
  o.photometric = 0.5;
  o.coarse_dropout = 0.5;
  EXPECT_EQ(train(o), 0);
  EXPECT_EQ(SafetensorsFile(folder / "last.safetensors").metadata().at("codec"), "udp");
  o.resume = (folder / "last.safetensors").string();
  o.epochs = 2;
  o.codec = "quarter";
  EXPECT_TRUE(contains(error_of([&] { train(o); }), "--codec udp"));
}

TEST(Datasets, BadSamplesFailOrAreListedAndLeftOut) {
  const fs::path data = copy_of_made(), folder = test::temporary_folder();
  std::ofstream(data / "train2017" / "000000000002.jpg") << "no picture";
  TrainOptions o = tiny(data, folder / "run");
  o.epochs = 1;
  for (const char* mode : {"", "fail"}) {
    o.on_bad_sample = mode;
    const std::string why = error_of([&] { train(o); });
    EXPECT_TRUE(contains(why, "000000000002.jpg: not a picture") && contains(why, "--on-bad-sample skip")) << why;
    EXPECT_FALSE(fs::exists(folder / "run" / "last.safetensors"));
    EXPECT_TRUE(contains(read_file(folder / "run" / "bad_samples_train.tsv"), "picture\t2\t"));
  }
  o.on_bad_sample = "skip";
  EXPECT_EQ(train(o), 0);
  EXPECT_TRUE(fs::exists(folder / "run" / "last.safetensors"));
  // Annotations that cannot be used.
  const fs::path other = copy_of_made();
  const fs::path annotations = other / "annotations" / "person_keypoints_train2017.json";
  std::string text = read_file(annotations);
  text.replace(text.find("\"bbox\":[") + 8, 1, "NaN,");
  write_file(annotations, text);
  DataOptions f = flags(other);
  EXPECT_TRUE(contains(open(f).bad().entries().at(0).message, "bbox: expected 4 numbers"));  // it is not a list of four
  text.replace(text.find("NaN,"), 4, "");
  const size_t at = text.find("\"bbox\":[") + 8;
  text.replace(at, text.find(',', at) - at, "NaN");
  write_file(annotations, text);
  PoseDataset dataset = open(f);
  EXPECT_EQ(dataset.bad().size(), 1u);
  const std::string why = error_of([&] { check_samples_visibly(dataset, f, "train", folder, 1); });
  EXPECT_TRUE(contains(why, "bbox: expected a number, got nan (train: 1 annotation cannot be used")) << why;
  f.on_bad_sample = "skip";
  check_samples_visibly(dataset, f, "train", folder, 1);
}

// Weights for 17 joints, trained for a moment only.
const fs::path& made_weights() {
  static const fs::path weights = [] {
    const fs::path folder = test::temporary_folder() / "weights";
    TrainOptions o = tiny(made(), folder);
    o.epochs = 1;
    train(o);
    return folder / "last.safetensors";
  }();
  return weights;
}

ValidateOptions validation_of(const fs::path& data, const fs::path& output) {
  ValidateOptions o;
  o.data_path = data.string();
  o.output_dir = output.string();
  o.weights = made_weights().string();
  o.decoding.flip = false;
  return o;
}

std::string output_of(const std::function<void()>& call) {
  testing::internal::CaptureStdout();
  const std::string error = error_of(call);
  return testing::internal::GetCapturedStdout() + error;
}

// Replaces one field of the first annotation of a split.
void change_first(const fs::path& file, const std::string& field, const std::string& value) {
  std::string text = read_file(file);
  const size_t at = text.find("\"" + field + "\":") + field.size() + 3;
  size_t end = at;
  for (int depth = 0; depth > 0 || (text[end] != ',' && text[end] != '}'); ++end) {
    depth += text[end] == '[' ? 1 : text[end] == ']' ? -1 : 0;
  }
  write_file(file, text.replace(at, end - at, value));
}

// Bad annotations: train and validate stop at the same one, mention --on-bad-sample skip, and skip it with that flag.
TEST(Datasets, TrainAndValidateTakeTheSameSamples) {
  for (const auto& [field, value] : {std::pair{"bbox", "null"},
                                     {"bbox", "[1, Infinity, 3, 4]"},
                                     {"keypoints", "[[1, 2, 2], [3, 4, 2]]"},
                                     {"keypoints", "[]"},
                                     {"keypoints", "[NaN, 2, 2]"},
                                     {"image_id", "\"7\""}}) {
    const fs::path data = copy_of_made(), folder = test::temporary_folder();
    for (const char* split : {"train", "val"}) {
      change_first(data / "annotations" / fmt::format("person_keypoints_{}2017.json", split), field, value);
    }
    ValidateOptions o = validation_of(data, folder);
    TrainOptions t = tiny(data, folder / "run");
    t.epochs = 1;
    for (const auto& [why, list] : {std::pair{error_of([&] { validate(o); }), folder / "bad_samples_val.tsv"},
                                    {error_of([&] { train(t); }), folder / "run" / "bad_samples_train.tsv"}}) {
      EXPECT_TRUE(contains(why, "annotations[0]") && contains(why, "--on-bad-sample skip")) << value << ": " << why;
      EXPECT_TRUE(contains(read_file(list), "annotation\t")) << value;
    }
    o.on_bad_sample = t.on_bad_sample = "skip";
    const std::string said = output_of([&] { validate(o); });
    EXPECT_TRUE(contains(said, "left out   1 annotation of val") && contains(said, "validation.json")) << said;
    EXPECT_EQ(error_of([&] { train(t); }), "") << value;
  }
}

TEST(Datasets, CocoEvalSkipsABadTruthToo) {
  const fs::path folder = test::temporary_folder(), truth = folder / "truth.json";
  write_file(folder / "results.json", R"([{"image_id": 1, "category_id": 1, "keypoints": [3, 4, 1], "score": 1}])");
  CocoEvalArguments a;
  a.gt = truth.string();
  a.dt = (folder / "results.json").string();
  a.sigmas = {0.1};
  for (const char* wrong : {R"("image_id": "1", "keypoints": [5, 6, 2])", R"("image_id": 1, "keypoints": [5, 6])",
                            R"("image_id": 1, "keypoints": [[5, 6, 2]])", R"("image_id": 1, "keypoints": null)"}) {
    write_file(truth, fmt::format(R"({{"images": [{{"id": 1}}], "categories": [{{"id": 1}}], "annotations": [
        {{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 9], "area": 81, "iscrowd": 0, "num_keypoints": 1,
          "keypoints": [3, 4, 2]}},
        {{"id": 2, "category_id": 1, "bbox": [1, 2, 9, 9], "area": 81, "iscrowd": 0, "num_keypoints": 1, {}}}]}})",
                                  wrong));
    a.on_bad_sample = "fail";
    const std::string why = error_of([&] { run_coco_eval(a); });
    EXPECT_TRUE(contains(why, "annotations[1]") && contains(why, "--on-bad-sample skip leaves out")) << why;
    a.on_bad_sample = "skip";
    testing::internal::CaptureStderr();
    const std::string said = output_of([&] { run_coco_eval(a); });
    EXPECT_TRUE(contains(testing::internal::GetCapturedStderr(), "left out: ")) << wrong;
    EXPECT_TRUE(contains(said, "area=   all | maxDets= 20 ] = 1.000")) << said;
  }
}

TEST(Datasets, ValidateReadsPacksAndZips) {
  const fs::path folder = test::temporary_folder();
  pack(pack_of(made(), folder / "made.pack"));
  validate(validation_of(made(), folder / "a"));
  validate(validation_of(folder / "made.pack", folder / "b"));
  EXPECT_EQ(read_file(folder / "a" / "key_results.json"), read_file(folder / "b" / "key_results.json"));
  ValidateOptions o = validation_of(folder / "made.pack", folder / "b");
  o.person_det = "boxes.json";
  EXPECT_TRUE(contains(error_of([&] { validate(o); }), "--person-det boxes.json: a pack"));
  const fs::path copy = copy_of_made();
  fs::create_directory(copy / "images");
  fs::rename(copy / "val2017", copy / "images" / "val2017");
  validate(validation_of(copy, folder / "c"));
  EXPECT_EQ(read_file(folder / "a" / "key_results.json"), read_file(folder / "c" / "key_results.json"));
}

// Eight joints with names of their own: the messages lead to the flag that helps.
TEST(Datasets, ASkeletonInTheCategories) {
  const fs::path data = copy_of_made(), folder = test::temporary_folder();
  for (const char* split : {"train", "val"}) {
    const fs::path file = data / "annotations" / fmt::format("person_keypoints_{}2017.json", split);
    CocoAnnotations people = read_coco(file);
    for (CocoAnnotation& a : people.annotations) {
      if (!a.keypoints.empty()) a.keypoints.resize(24);
    }
    people.categories[0].keypoints.resize(8);
    people.categories[0].skeleton = {{1, 2}};
    write_coco(file, people);
  }
  TrainOptions t = tiny(data, folder / "run");
  t.epochs = 1;
  const std::string why = error_of([&] { train(t); });
  EXPECT_TRUE(contains(why, "8 joints") && contains(why, "--keypoints-path categories")) << why;
  t.keypoints_path = "categories";
  EXPECT_EQ(error_of([&] { train(t); }), "");
  ValidateOptions o = validation_of(data, folder / "out");
  o.weights = (folder / "run" / "last.safetensors").string();
  for (const char* path : {"", "categories"}) {
    o.keypoints_path = path;
    EXPECT_EQ(error_of([&] { validate(o); }), "") << path;
  }
  o.keypoints_path = "coco";
  EXPECT_TRUE(contains(error_of([&] { validate(o); }), "--keypoints-path coco: has 17 joints, but"));
}

// A picture in which the check finds no fault: its second scan is a frame header.
TEST(Datasets, APictureThatTurnsBadLaterIsSkippedAndListed) {
  const fs::path data = copy_of_made(), folder = test::temporary_folder();
  const PoseDataset dataset = open(flags(data));
  const CocoImage& image = dataset.annotations().images[dataset.people()[0].image_index];
  const fs::path picture = dataset.pictures().place(image.file_name);
  const std::string jpeg = test::made_jpeg(read_image(picture), {.progressive = true});
  const size_t frame = jpeg.find("\xff\xc2"), scan = jpeg.find("\xff\xda", jpeg.find("\xff\xda") + 2);
  const std::string header =
      jpeg.substr(frame, 2 + 256 * static_cast<uint8_t>(jpeg[frame + 2]) + static_cast<uint8_t>(jpeg[frame + 3]));
  write_file(picture, jpeg.substr(0, scan) + header + jpeg.substr(scan));
  TrainOptions o = tiny(data, folder);
  testing::internal::CaptureStdout();
  EXPECT_EQ(train(o), 0);
  const std::string output = testing::internal::GetCapturedStdout();
  EXPECT_TRUE(contains(output, "1 more bad sample replaced by other samples")) << output;
  const std::string list = read_file(folder / "bad_samples_train.tsv");
  EXPECT_TRUE(contains(list, "not a readable JPEG") && contains(list, picture.filename().string())) << list;
  EXPECT_EQ(std::count(list.begin(), list.end(), '\n'), 2) << "named once";
  o.on_bad_sample = "fail";
  EXPECT_TRUE(contains(error_of([&] { train(o); }), "not a readable JPEG"));
}

TEST(Browse, WritesItsSheetsAndSaysWhatWasDropped) {
  const fs::path data = copy_of_made();
  fs::remove(data / "train2017" / "000000000001.jpg");
  BrowseOptions o;
  o.data_path = data.string();
  o.output = (test::temporary_folder() / "out").string();
  o.fixed_size = {64, 64};
  o.people = 5;
  o.draws = 3;
  o.photometric = 1;
  o.coarse_dropout = 1;
  browse(o);
  const Image crops = read_image(fs::path(o.output) / "crops.png"),
              targets = read_image(fs::path(o.output) / "targets.png"),
              draws = read_image(fs::path(o.output) / "draws.png");
  EXPECT_EQ(crops.width, targets.width);
  EXPECT_NE(crops.rgb, targets.rgb);
  EXPECT_EQ(draws.width, 4 * (64 + 6) + 6);
  const std::string summary = read_file(fs::path(o.output) / "summary.txt");
  EXPECT_TRUE(contains(summary, "left_wrist") && contains(summary, "000000000001.jpg: no such picture") &&
              contains(summary, "whose picture is bad"))
      << summary;
  // The same flags give the same bytes.
  const std::string before = read_file(fs::path(o.output) / "draws.png");
  browse(o);
  EXPECT_EQ(read_file(fs::path(o.output) / "draws.png"), before);
}

TEST(SynthAnnotations, AreReadAsPeople) {
  const fs::path file = test::temporary_folder() / "big.json";
  const auto made_counts = synth_annotations({file, 500, 3});
  EXPECT_EQ(made_counts.bytes, fs::file_size(file));
  EXPECT_NEAR(static_cast<double>(made_counts.annotations) / 500, 2.22, 0.4);
  const CocoAnnotations read = read_coco(file, 17);
  EXPECT_EQ(read.images.size(), 500u);
  EXPECT_EQ(static_cast<int64_t>(read.annotations.size()), made_counts.annotations);
  const PoseDataset people = PoseDataset::from_annotations(read, file.parent_path(), coco_skeleton(), {});
  EXPECT_LE(static_cast<int64_t>(people.size()), made_counts.labelled);
  EXPECT_GT(static_cast<int64_t>(people.size()), made_counts.labelled * 9 / 10);
  EXPECT_EQ(static_cast<int64_t>(people.counts().crowd), made_counts.crowds);
  const std::string bytes = read_file(file);
  synth_annotations({file, 500, 3});
  EXPECT_EQ(read_file(file), bytes);
}

}  // namespace
}  // namespace hr

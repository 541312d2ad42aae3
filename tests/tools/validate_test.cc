// Tests validate, started as a user starts it: numbers, files, and one message for bad input.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/digest/sha256.h"
#include "core/error.h"
#include "core/io/json.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "data/formats/mat_file.h"
#include "data/formats/mpii.h"
#include "data/formats/skeleton.h"
#include "eval/pckh.h"
#include "eval/results.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/model/model.h"
#include "nn/state_dict.h"
#include "tests/support/oracle.h"
#include "tests/support/program_apart.h"
#include "tools/synth/synth.h"

namespace hr {
namespace {

using test::apart::contains;
using test::apart::Ended;
using test::apart::expect_refused;
using test::apart::program;
using test::apart::run;

TEST(Decoding, TheWeightsDecideUnlessTheyAgree) {
  const auto choose = [](const DecodingOptions& o, const std::optional<std::string>& trained = {}, int h = 256) {
    return choose_decoding(o, trained, "w.safetensors", h);
  };
  EXPECT_EQ(choose({}).decode.codec, Codec::quarter);
  EXPECT_EQ(choose({}, "udp").decode.codec, Codec::udp);
  EXPECT_FALSE(choose({}, "udp").shift);
  EXPECT_TRUE(choose({}, "dark").shift);
  EXPECT_FALSE(choose({.shift = false}).shift);
  EXPECT_EQ(choose({.codec = "argmax"}, "quarter").decode.codec, Codec::argmax) << "they read the same heatmaps";
  EXPECT_EQ(choose({.codec = "dark"}).decode.codec, Codec::dark) << "weights that say nothing";
  EXPECT_EQ(choose({.codec = "dark"}).decode.blur, 11);
  EXPECT_EQ(choose({.codec = "dark"}, {}, 384).decode.blur, 17);
  EXPECT_EQ(choose({.codec = "dark", .blur = 7}, {}, 384).decode.blur, 7);
  EXPECT_EQ(choose({}).summary(), "quarter, flip test with shift");
  EXPECT_EQ(choose({.codec = "udp"}).summary(), "udp (blur 11), flip test without shift");
  EXPECT_EQ(choose({.flip = false}).summary(), "quarter, no flip test");
  for (const auto& [asked, trained] :
       {std::pair("dark", "quarter"), std::pair("udp", "quarter"), std::pair("quarter", "dark"),
        std::pair("argmax", "udp"), std::pair("dark", "udp")}) {
    try {
      choose({.codec = asked}, trained);
      ADD_FAILURE() << asked << " for " << trained;
    } catch (const Error& e) {
      for (const char* word : {"w.safetensors", asked, trained, "Leave `codec` out"}) {
        EXPECT_TRUE(contains(e.what(), word)) << word << " in " << e.what();
      }
    }
  }
  EXPECT_THROW(choose({.blur = 10}), Error);
  EXPECT_THROW(choose({.codec = "udp", .shift = true}), Error);
}

// Keeps the first `joints` joints of every person, under the names of another skeleton.
void cut_joints(CocoAnnotations& file, const Skeleton& skeleton) {
  for (CocoAnnotation& a : file.annotations) {
    a.keypoints.resize(3 * static_cast<size_t>(skeleton.joints()));
    a.num_keypoints = 0;
    for (size_t i = 2; i < a.keypoints.size(); i += 3) a.num_keypoints += a.keypoints[i] > 0 ? 1 : 0;
  }
  file.categories[0].keypoints = skeleton.names;
  file.categories[0].skeleton.clear();
}

// A small dataset in COCO's, CrowdPose's and MPII's layout, and weights for each.
struct Setting {
  fs::path root = test::temporary_folder();
  fs::path coco = root / "coco", crowdpose = root / "crowdpose", mpii = root / "mpii";
  fs::path coco_weights = root / "r17/best.safetensors", crowdpose_weights = root / "r14/best.safetensors",
           mpii_weights = root / "r16/best.safetensors";
  CocoAnnotations val;
  int labelled() const {
    return static_cast<int>(std::ranges::count_if(val.annotations, [](const auto& a) { return a.num_keypoints > 0; }));
  }

  Setting() {
    synth(
        {.output = coco.string(), .train_images = 4, .val_images = 4, .seed = 3, .sizes = {{160, 120}}, .threads = 1});
    val = read_coco(coco / "annotations/person_keypoints_val2017.json");
    fs::create_directories(crowdpose / "json");
    fs::create_directories(mpii / "annot");
    for (const fs::path& to : {crowdpose, mpii}) fs::copy(coco / "val2017", to / "images");
    make_crowdpose();
    make_mpii();
    weights(17, coco_weights);
    weights(14, crowdpose_weights);
    weights(16, mpii_weights);
  }

  void make_crowdpose() const {
    CocoAnnotations file = val;
    cut_joints(file, built_in_skeleton("crowdpose"));
    for (size_t i = 0; i < file.images.size(); ++i) file.images[i].crowd_index = 0.3 * static_cast<double>(i);
    for (CocoAnnotation& a : file.annotations) a.has_area = false;
    write_coco(crowdpose / "json/crowdpose_test.json", file);
  }

  void make_mpii() const {
    std::string list;
    const auto N = static_cast<int64_t>(val.annotations.size());
    MatArray joints{{16, 2, N}, std::vector<double>(32 * N), {}}, missing{{16, N}, std::vector<double>(16 * N), {}};
    MatArray heads{{2, 2, N}, {}, {}}, names{{1, 16}, {}, {}};
    names.text = {"rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor",
                  "neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"};
    for (int64_t n = 0; n < N; ++n) {
      const CocoAnnotation& a = val.annotations[n];
      std::string places, visible;
      for (int64_t k = 0; k < 16; ++k) {
        const double x = a.keypoints[3 * k] + 1, y = a.keypoints[3 * k + 1] + 1;
        places += fmt::format("{}[{}, {}]", k == 0 ? "" : ", ", x, y);
        visible += fmt::format("{}{}", k == 0 ? "" : ", ", a.keypoints[3 * k + 2] > 0 ? 1 : 0);
        joints.values[k + 16 * (0 + 2 * n)] = x;
        joints.values[k + 16 * (1 + 2 * n)] = y;
        missing.values[k + 16 * n] = a.keypoints[3 * k + 2] > 0 ? 0 : 1;
      }
      heads.values.insert(heads.values.end(), {0, 30, 0, 40});
      const auto image = std::ranges::find(val.images, a.image_id, &CocoImage::id);
      list += fmt::format(
          "{}{{\"image\": \"{}\", \"center\": [{}, {}], \"scale\": {}, \"joints\": [{}], \"joints_vis\": [{}]}}",
          n == 0 ? "" : ", ", image->file_name, a.box.x + a.box.w / 2, a.box.y + a.box.h / 2, a.box.h / 200, places,
          visible);
    }
    write_file(mpii / "annot/valid.json", "[" + list + "]");
    write_mat(mpii / "annot/gt_valid.mat",
              {{"pos_gt_src", joints}, {"jnt_missing", missing}, {"headboxes_src", heads}, {"dataset_joints", names}});
  }

  // With random weights, the peaks of heatmaps are anywhere.
  static void weights(int joints, const fs::path& path) {
    Context cx;
    cx.allocator = std::make_shared<CachingAllocator>();
    const auto model = make_model(cx, "hrnet_w2", joints, 5, Init::torch);
    fs::create_directories(path.parent_path());
    save_state_dict(path, model->parameters(),
                    {{"model", "hrnet_w2"},
                     {"joints", std::to_string(joints)},
                     {"codec", "quarter"},
                     {"color", "rgb"},
                     {"input_h", "64"},
                     {"input_w", "64"}});
  }

  std::string validate(const fs::path& data, const fs::path& weights, const fs::path& out) const {
    return program("validate") + " --data-path " + data.string() + " --weights " + weights.string() + " --output-dir " +
           out.string();
  }
};
const Setting& setting() {
  static const Setting s;
  return s;
}

std::string sha256_of(const fs::path& path) {
  Sha256 sha;
  const MappedFile file(path);
  sha.update(file.bytes());
  return sha.hex();
}

TEST(Validate, HeaderAndFilesSayWhatWasMeasured) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const Ended e = run(s.validate(s.coco, s.coco_weights, out) + " --analysis");
  ASSERT_EQ(e.status, 0) << e.errors;
  const std::string sha = sha256_of(s.coco_weights);
  for (const std::string& word :
       {std::string("boxes      ground truth: "), "SHA-256 " + sha, std::string("sigmas     coco: 0.026 "),
        std::string("codec quarter, flip test with shift"), std::string(", rgb, float32"),
        std::string("OKS-NMS at 0.9"), std::string("| hrnet_w2 | "), std::string("by joint"),
        std::string(" area= large | maxDets= 20 ] = ")}) {
    EXPECT_TRUE(contains(e.output, word)) << word << " in:\n" << e.output;
  }
  const auto json = parse_json_file(out / "validation.json");
  EXPECT_STREQ(json["dataset"].GetString(), "coco");
  EXPECT_STREQ(json["box_source"].GetString(), "ground truth");
  EXPECT_EQ(json["boxes"].GetInt(), s.labelled());
  EXPECT_EQ(json["sigmas"].Size(), 17u);
  EXPECT_STREQ(json["codec"].GetString(), "quarter");
  EXPECT_TRUE(json["flip"].GetBool());
  EXPECT_TRUE(json["shift_heatmap"].GetBool());
  EXPECT_STREQ(json["color"].GetString(), "rgb");
  EXPECT_EQ(json["weights_sha256"].GetString(), sha);
  EXPECT_EQ(json["stats"].Size(), 10u);
  EXPECT_EQ(json["analysis"]["by_joint"].Size(), 17u);
  EXPECT_TRUE(parse_json_file(out / "key_results.json").IsArray());
  EXPECT_TRUE(read_file(out / "record_mAP.txt").starts_with("COCO results:\n Average Precision"));
  EXPECT_TRUE(read_file(out / "validation.md").starts_with("| Arch | AP | Ap .5 | AP .75 | AP (M) | AP (L) | AR |"));
  EXPECT_GT(read_image(out / "analysis.png").width, 600);
  const std::string page = read_file(out / "report.html");
  for (const std::string& word : {sha, std::string("hrnet_w2 on val2017"), std::string("data:image/jpeg;base64,"),
                                  fmt::format("{:.4f}", json["stats"][0].GetDouble())}) {
    EXPECT_TRUE(contains(page, word)) << word;
  }
  // The official file keeps every digit, so evaluating it alone gives the same ten numbers.
  const fs::path official = out / "results/keypoints_val2017_results_0.json", again = out / "again.json";
  EXPECT_TRUE(parse_json_file(official)[0].HasMember("center"));
  ASSERT_EQ(run(program("coco_eval") + " --gt " + (s.coco / "annotations/person_keypoints_val2017.json").string() +
                " --dt " + official.string() + " --json " + again.string())
                .status,
            0);
  EXPECT_EQ(parse_json_file(again)["stats"], json["stats"]);
}

TEST(Validate, DetectedBoxesAreNamedAndFiltered) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder(), det = out / "det.json";
  std::string list;
  for (const CocoAnnotation& a : s.val.annotations) {
    list +=
        fmt::format("{}{{\"image_id\": {}, \"category_id\": 1, \"bbox\": [{}, {}, {}, {}], \"score\": {}}}",
                    list.empty() ? "" : ", ", a.image_id, a.box.x, a.box.y, a.box.w, a.box.h, list.empty() ? 0.1 : 0.9);
  }
  write_file(det, "[" + list + "]");
  const Ended e = run(s.validate(s.coco, s.coco_weights, out) + " --person-det " + det.string() + " --image-thre 0.5");
  ASSERT_EQ(e.status, 0) << e.errors;
  const auto json = parse_json_file(out / "validation.json");
  EXPECT_EQ(json["box_source"].GetString(), det.string());
  EXPECT_EQ(json["boxes"].GetInt(), static_cast<int>(s.val.annotations.size()) - 1);
  EXPECT_TRUE(contains(e.output, "1 below the score limit")) << e.output;
}

// The person's category is in the results, and is the one that is evaluated. Without the flag a message names it.
TEST(Validate, ACategoryTravelsFromTheTruthToTheNumbers) {
  const Setting& s = setting();
  const fs::path folder = test::temporary_folder(), truth = folder / "cat0.json";
  CocoAnnotations annotations = s.val;
  for (CocoAnnotation& a : annotations.annotations) a.category_id = 0;
  annotations.categories.at(0).id = 0;
  write_coco(truth, annotations);
  const std::string command = s.validate(s.coco, s.coco_weights, folder) + " --val-annotations " + truth.string();
  expect_refused(command, {"the people have category 0 (person)", "--categories 0"});
  expect_refused(command + " --categories dog", {"no category of this name", "0 (person)"});
  for (const char* flag : {" --categories 0", " --categories person", " --categories all"}) {
    const Ended e = run(command + flag);
    ASSERT_EQ(e.status, 0) << e.errors;
    for (const CocoDetection& d : read_coco_detections(folder / "key_results.json")) EXPECT_EQ(d.category_id, 0);
    const auto json = parse_json_file(folder / "validation.json");
    EXPECT_GT(json["evaluated"]["people"].GetInt(), 0) << flag;
    EXPECT_GT(json["evaluated"]["poses"].GetInt(), 0) << flag;
    EXPECT_TRUE(json["remarks"].IsArray());
  }
}

// Training keeps the category that it was given, and measures that one.
TEST(Validate, TrainingMeasuresTheCategoryThatItKeeps) {
  const Setting& s = setting();
  const fs::path folder = test::temporary_folder(), truth = folder / "cats.json";
  CocoAnnotations annotations = s.val;
  annotations.categories.push_back({7, "other", annotations.categories.at(0).keypoints, {}});
  for (size_t i = 0; i < annotations.annotations.size(); i += 2) annotations.annotations[i].category_id = 7;
  write_coco(truth, annotations);
  const std::string command = fmt::format(
      "{}/train --train-annotations {} --val-annotations {} --train-images {} --val-images {} --model hrnet_w2 "
      "--fixed-size 64 64 --init torch --epochs 1 --batch-size 4 --output-dir {} --categories ",
      HR_PROGRAMS, truth.string(), truth.string(), (s.coco / "val2017").string(), (s.coco / "val2017").string(),
      (folder / "run").string());
  const auto categories = [&] {
    std::set<int64_t> found;
    for (const CocoDetection& d : read_coco_detections(folder / "run/key_results.json")) found.insert(d.category_id);
    return found;
  };
  Ended e = run(command + "other");
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_EQ(categories(), (std::set<int64_t>{7}));
  EXPECT_TRUE(contains(e.output, "remark: ") && contains(e.output, "dropped: of a category that is not evaluated"))
      << e.output;
  e = run(command + "all");
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_EQ(categories(), (std::set<int64_t>{1, 7}));
}

// A list of images without annotations gives files for the evaluation server and no numbers.
TEST(Validate, ATestListGivesServerFilesAndNoNumbers) {
  const Setting& s = setting();
  const fs::path folder = test::temporary_folder(), list = folder / "image_info_test-dev2017.json";
  std::string images;
  for (const CocoImage& image : s.val.images) {
    images += fmt::format("{}{{\"id\": {}, \"file_name\": {}, \"width\": {}, \"height\": {}}}",
                          images.empty() ? "" : ", ", image.id, json_quote(image.file_name), image.width, image.height);
  }
  write_file(list, "{\"images\": [" + images + "], \"categories\": []}");
  const fs::path det = folder / "det.json";
  write_file(det, fmt::format("[{{\"image_id\": {}, \"category_id\": 1, \"bbox\": [5, 5, 60, 90], \"score\": 0.9}}]",
                              s.val.images[0].id));
  const std::string command =
      s.validate(s.coco, s.coco_weights, folder / "out") + " --val-annotations " + list.string();
  expect_refused(command, {"image_info_test-dev2017.json", "--person-det"});
  const Ended e = run(command + " --person-det " + det.string());
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(e.output, "there are no numbers")) << e.output;
  EXPECT_FALSE(contains(e.output, "Average Precision"));
  EXPECT_FALSE(fs::exists(folder / "out/validation.md"));
  EXPECT_EQ(read_coco_detections(folder / "out/results/keypoints_test-dev2017_results_0.json").size(), 1u);
  EXPECT_FALSE(parse_json_file(folder / "out/validation.json").HasMember("stats"));
  const std::string page = read_file(folder / "out/report.html");
  EXPECT_TRUE(contains(page, "hrnet_w2 on test-dev2017")) << page.substr(0, page.find("<section"));
  EXPECT_TRUE(contains(page, "There are no annotations, so there are no numbers."));
  EXPECT_TRUE(contains(page, "There is nothing to compare."));
  write_file(det, "[]");
  expect_refused(command + " --person-det " + det.string(),
                 {"--person-det", "det.json", "the list of detections is empty"});
  write_file(det, R"([{"image_id": 1, "category_id": 1, "bbox": [5, 5, 60, 90, 0.8], "score": 0.9}])");
  expect_refused(command + " --person-det " + det.string(), {"det.json: entry [0]: bbox: expected 4 numbers", "got 5"});
}

TEST(Validate, DecodingAndNmsAreChosenByFlags) {
  const Setting& s = setting();
  const auto results = [&](const std::string& flags) {
    const fs::path out = test::temporary_folder();
    const Ended e = run(s.validate(s.coco, s.coco_weights, out) + " " + flags);
    EXPECT_EQ(e.status, 0) << flags << e.errors;
    return read_file(out / "results/keypoints_val2017_results_0.json");
  };
  const std::string usual = results("");
  EXPECT_TRUE(results("--codec quarter --shift-heatmap --flip --oks-thre 0.9 --in-vis-thre 0.2") == usual);
  for (const char* flags : {"--codec argmax", "--no-flip", "--no-shift", "--in-vis-thre -1e6", "--oks-thre -1"}) {
    EXPECT_TRUE(results(flags) != usual) << flags;
  }
  EXPECT_EQ(static_cast<int>(parse_json(results("--no-nms"), "none").Size()), s.labelled());
  EXPECT_LT(static_cast<int>(parse_json(results("--oks-thre -1"), "hard").Size()), s.labelled());
  EXPECT_EQ(static_cast<int>(parse_json(results("--oks-thre 0.5 --soft-nms"), "soft").Size()), s.labelled());
}

TEST(Validate, CrowdPoseAndMpiiAreFoundByTheirLayout) {
  const Setting& s = setting();
  fs::path out = test::temporary_folder();
  Ended e = run(s.validate(s.crowdpose, s.crowdpose_weights, out));
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(e.output, "type=medium | maxDets= 20 ]")) << e.output;
  EXPECT_TRUE(contains(e.output, "| Arch | AP | Ap .5 | AP .75 | AR | AR .5 | AR .75 | AP (E) | AP (M) | AP (H) |"));
  auto json = parse_json_file(out / "validation.json");
  EXPECT_STREQ(json["dataset"].GetString(), "crowdpose");
  EXPECT_STREQ(json["rules"].GetString(), "xtcocotools_crowd");
  EXPECT_STREQ(json["skeleton"].GetString(), "crowdpose");
  EXPECT_EQ(json["stats"].Size(), 9u);
  EXPECT_EQ(json["sigmas"].Size(), 14u);
  EXPECT_TRUE(fs::exists(out / "results/keypoints_crowdpose_test_results_0.json"));

  out = test::temporary_folder();
  e = run(s.validate(s.mpii, s.mpii_weights, out));
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(e.output, "| Arch | Head | Shoulder | Elbow | Wrist | Hip | Knee | Ankle | Mean | Mean@0.1 |"))
      << e.output;
  EXPECT_TRUE(contains(e.output, "annotated centre and scale"));
  json = parse_json_file(out / "validation.json");
  EXPECT_STREQ(json["dataset"].GetString(), "mpii");
  EXPECT_EQ(json["stats"].Size(), 9u);
  const auto pred = read_mat(out / "pred.mat");
  EXPECT_EQ(pred.at("preds").shape, (std::vector<int64_t>{static_cast<int64_t>(s.val.annotations.size()), 16, 2}));
  EXPECT_FALSE(fs::exists(out / "key_results.json"));

  // The same, decided by the contents of a named file.
  e = run(s.validate(s.mpii, s.mpii_weights, out) + " --val-annotations " + (s.mpii / "annot/valid.json").string());
  EXPECT_EQ(e.status, 0) << e.errors;
  e = run(s.validate(s.crowdpose, s.crowdpose_weights, out) + " --val-annotations " +
          (s.crowdpose / "json/crowdpose_test.json").string());
  EXPECT_EQ(e.status, 0) << e.errors;
}

// Perfect predictions go through the whole MPII path: places, files, the table.
TEST(Validate, MpiiTruthMatchesItsOwnJoints) {
  const Setting& s = setting();
  const MpiiTruth truth = read_mpii_truth(s.mpii / "annot/gt_valid.mat");
  const MpiiAnnotations people = read_mpii(s.mpii / "annot/valid.json");
  std::vector<float> poses;
  for (const MpiiPerson& p : people.people) {
    for (const double v : p.joints) poses.push_back(static_cast<float>(v - 1));
  }
  const PckhResult r = evaluate_pckh(truth, poses);
  EXPECT_NEAR(r.table[7], 100, 1e-9);
}

// The scores of training on MPII are those that validate gives for its weights.
TEST(Validate, TrainingOnMpiiMeasuresPckh) {
  const Setting& s = setting();
  const fs::path data = test::temporary_folder(), out = data / "run", again = data / "again";
  fs::copy(s.mpii, data / "mpii", fs::copy_options::recursive);
  fs::copy(s.mpii / "annot/valid.json", data / "mpii/annot/train.json");
  const std::string train =
      fmt::format("{}/train --data-path {} --model hrnet_w2 --fixed-size 64 64 --init torch --epochs 1 --batch-size 4",
                  HR_PROGRAMS, (data / "mpii").string());
  Ended e = run(train + " --output-dir " + out.string());
  ASSERT_EQ(e.status, 0) << e.errors;
  EXPECT_TRUE(contains(e.output, "| Arch | Head | Shoulder |")) << e.output;
  EXPECT_TRUE(contains(e.output, "best.safetensors (PCKh ")) << e.output;
  const auto row = [](const std::string& text) {
    const size_t at = text.find("| hrnet_w2 |");
    return at == std::string::npos ? "no row in: " + text : text.substr(at, text.find('\n', at) - at);
  };
  const Ended v = run(s.validate(data / "mpii", out / "last.safetensors", again));
  ASSERT_EQ(v.status, 0) << v.errors;
  EXPECT_EQ(row(v.output), row(e.output));
  fs::remove(data / "mpii/annot/gt_valid.mat");
  e = run(train + " --output-dir " + again.string());
  EXPECT_EQ(e.status, 2);
  EXPECT_TRUE(contains(e.errors, "gt_valid.mat: does not exist") && contains(e.errors, "--mpii-truth")) << e.errors;
}

TEST(Validate, BadInputEndsWithOneMessageAndStatus2) {
  const Setting& s = setting();
  const fs::path out = test::temporary_folder();
  const std::string coco = s.validate(s.coco, s.coco_weights, out);
  expect_refused(coco + " --codec udp", {"best.safetensors", "'quarter'", "--codec udp", "train with --codec udp"});
  expect_refused(coco + " --codec dark", {"best.safetensors", "'quarter'", "--codec dark"});
  expect_refused(coco + " --blur 4", {"--blur 4", "odd"});
  expect_refused(coco + " --soft-nms --no-nms", {"--soft-nms", "--no-nms"});
  expect_refused(coco + " --recipe seed --soft-nms", {"--recipe seed", "--soft-nms"});
  expect_refused(coco + " --dataset mpii", {"annot/valid.json"});
  expect_refused(s.validate(s.mpii, s.coco_weights, out), {"17 joints", "(mpii) has 16"});
  expect_refused(s.validate(s.coco, s.crowdpose_weights, out), {"14"});
  expect_refused(s.validate(s.crowdpose, s.mpii_weights, out), {"16 joints", "has 14"});
  expect_refused(s.validate("/nowhere", s.coco_weights, out), {"/nowhere", "person_keypoints_val2017.json"});
  expect_refused(s.validate(s.root, s.coco_weights, out), {"annot/valid.json", "crowdpose_test.json"});
  const fs::path broken = test::temporary_folder() / "broken.mat";
  write_file(broken, "no");
  const std::string mpii = s.validate(s.mpii, s.mpii_weights, out);
  expect_refused(mpii + " --mpii-truth " + broken.string(), {"broken.mat"});
  expect_refused(mpii + " --mpii-truth /nowhere.mat", {"/nowhere.mat", "--mpii-truth"});
  expect_refused(mpii + " --person-det x.json", {"--person-det"});
  expect_refused(mpii + " --analysis", {"--analysis"});
}

}  // namespace
}  // namespace hr

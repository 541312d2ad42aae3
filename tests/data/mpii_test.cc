#include "data/formats/mpii.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>

#include "core/philox.h"
#include "data/dataset.h"
#include "data/formats/mat_file.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

using test::contains;
using test::error_of;

// Written by scipy.io.savemat: 3 people, pos_gt_src[j, c, n] = 6 j + 3 c + n + 0.5, headboxes 10 (6 corner + 3 c + n)
// as single, jnt_missing as uint8 with a 1 at [3, 1]; beside them a complex array, a text and a struct.
fs::path file(const char* name) { return test::source_folder() / "tests/data/files" / name; }

TEST(Mpii, TruthOfAMatlabFilePlainAndCompressed) {
  for (const char* name : {"mpii_truth.mat", "mpii_truth_compressed.mat"}) {
    SCOPED_TRACE(name);
    const MpiiTruth t = read_mpii_truth(file(name));
    EXPECT_EQ(t.people, 3);
    ASSERT_EQ(t.joint_names.size(), 16u);
    EXPECT_EQ(t.joint_names[0], "rank");
    EXPECT_EQ(t.joint_names[15], "lwri");
    for (size_t i = 0; i < t.joints.size(); ++i) ASSERT_EQ(t.joints[i], static_cast<double>(i) + 0.5);
    for (size_t i = 0; i < t.heads.size(); ++i) ASSERT_EQ(t.heads[i], 10.0 * static_cast<double>(i));
    for (size_t i = 0; i < t.missing.size(); ++i) ASSERT_EQ(t.missing[i], i == 3 * 3 + 1 ? 1 : 0);
    const auto all = read_mat(file(name));
    EXPECT_EQ(all.at("note").text, std::vector<std::string>{"free text"});
    EXPECT_EQ(all.count("some_struct"), 0u);
    EXPECT_EQ(all.count("pos_pred_src"), 0u) << "complex";
  }
}

TEST(MatFile, WrittenArraysComeBack) {
  const fs::path path = test::temporary_folder() / "pred.mat";
  MatArray numbers{{2, 3, 5}, {}, {}};
  for (int i = 0; i < 2 * 3 * 5; ++i) numbers.values.push_back(static_cast<float>(i) * 0.37F - 3);
  const MatArray names{{1, 3}, {}, {"a", "", "long enough"}};
  for (const bool single : {false, true}) {
    write_mat(path, {{"preds", numbers}, {"names", names}}, single);
    const auto all = read_mat(path);
    const MatArray& a = all.at("preds");
    EXPECT_EQ(a.shape, numbers.shape);
    EXPECT_EQ(a.values, numbers.values);
    EXPECT_EQ(a.at({1, 2, 4}), numbers.values.back());
    EXPECT_EQ(a.at({1, 0, 0}), numbers.values[1]);
    EXPECT_EQ(a.at({1, 0, 0, 0}), numbers.values[1]) << "dimensions of 1 at the end need not be there";
    EXPECT_THROW(static_cast<void>(a.at({2, 0, 0})), Error);
    EXPECT_EQ(all.at("names").text, names.text);
  }
  EXPECT_LT(fs::file_size(path), 900u) << "single";
  numbers.shape = {2, 3};
  EXPECT_THROW(write_mat(path, {{"preds", numbers}}), Error);
}

TEST(MatFile, RefusesOtherFilesWithAHint) {
  const fs::path path = test::temporary_folder() / "x.mat";
  const auto refusal = [&](const std::string& text) {
    write_file(path, text);
    return error_of([&] { read_mat(path); });
  };
  EXPECT_TRUE(contains(refusal(""), "x.mat: 0 bytes"));
  EXPECT_TRUE(contains(refusal("MATLAB 7.3 MAT-file" + std::string(200, ' ')), "-v7"));
  EXPECT_TRUE(contains(refusal(std::string(200, 'a')), "not a MATLAB file"));
  const std::string good = read_file(file("mpii_truth.mat"));
  std::string big = good;
  std::swap(big[126], big[127]);
  EXPECT_TRUE(contains(refusal(big), "big-endian"));
  EXPECT_TRUE(contains(refusal(good.substr(0, good.size() - 300)), "are left"));
  write_file(path, "[]");
  EXPECT_TRUE(contains(error_of([&] { read_mpii_truth(path); }), "x.mat"));
}

// zlib packs zeros by a factor of a thousand, and every number becomes eight bytes in memory.
TEST(MatFile, AFewPackedBytesCannotFillTheMemory) {
  const auto word = [](uint32_t v) { return std::string(reinterpret_cast<const char*>(&v), 4); };
  const auto file_of = [&](uint32_t count) {
    const std::string flags = word(6) + word(8) + word(9) + word(0);  // uint8
    const std::string sides = word(5) + word(8) + word(1) + word(count);
    const std::string label = word(1 << 16 | 1) + std::string("x\0\0\0", 4);
    const std::string body = flags + sides + label + word(2) + word(count) + std::string(count, '\0');
    const std::string plain = word(14) + word(static_cast<uint32_t>(body.size())) + body;
    uLongf size = compressBound(plain.size());
    std::string packed(size, '\0');
    EXPECT_EQ(compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(plain.data()),
                       plain.size()),
              Z_OK);
    packed.resize(size);
    std::string head = "MATLAB 5.0 MAT-file";
    head.resize(124, ' ');
    return head + std::string("\x00\x01IM", 4) + word(15) + word(static_cast<uint32_t>(size)) + packed;
  };
  const std::string small = file_of(1 << 20);
  EXPECT_EQ(parse_mat(std::as_bytes(std::span(small)), "small.mat").at("x").values.size(), size_t{1} << 20);
  for (const uint32_t count : {8u << 20, 48u << 20}) {
    const std::string bomb = file_of(count);
    ASSERT_LT(bomb.size(), 64u << 10);
    const std::string why = error_of([&] { parse_mat(std::as_bytes(std::span(bomb)), "bomb.mat"); });
    EXPECT_TRUE(contains(why, "bomb.mat: byte ")) << count << why;
    EXPECT_TRUE(contains(why, "more than 32 MiB")) << count << why;
  }
}

// Whatever the bytes are, the result is an error or arrays.
TEST(MatFile, DamagedFilesEndInAnErrorOrInArrays) {
  int refused = 0;
  for (const char* name : {"mpii_truth.mat", "mpii_truth_compressed.mat"}) {
    const std::string good = read_file(file(name));
    for (int i = 0; i < 10000; ++i) {
      Philox rng(8, 0, i);
      std::string bytes = good;
      for (uint64_t k = rng.below(4) + 1; k-- > 0;)
        bytes[128 + rng.below(bytes.size() - 128)] = static_cast<char>(rng.below(256));
      if (rng.below(4) == 0) bytes.resize(128 + rng.below(bytes.size() - 128));
      refused += error_of([&] { parse_mat(std::as_bytes(std::span(bytes)), name); }).empty() ? 0 : 1;
    }
  }
  EXPECT_GT(refused, 5000);
}

constexpr const char* good = R"([
  {"joints_vis": [1, 0], "joints": [[804.0, 711.5], [816.0, 510.0]], "image": "005808361.jpg", "scale": 4.718488, "center": [966.0, 340.0]},
  {"joints_vis": [1, 1], "joints": [[1, 2], [3, 4]], "image": "b.jpg", "scale": -1, "center": [-1, -1], "other": {"x": []}}
])";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Mpii, ReadsTheOfficialListAndItsPlaces) {
  const fs::path path = test::temporary_folder() / "valid.json";
  write_file(path, good);
  const MpiiAnnotations file = read_mpii(path, 2);
  ASSERT_EQ(file.people.size(), 2u);
  EXPECT_EQ(file.people[0].image, "005808361.jpg");
  EXPECT_EQ(file.people[0].joints, (std::vector<double>{804, 711.5, 816, 510}));
  EXPECT_EQ(file.people[0].visible, (std::vector<double>{1, 0}));
  const MpiiPlace place = mpii_place(file.people[0]);
  EXPECT_EQ(place.center[0], 965);
  EXPECT_EQ(place.center[1], 340 + 15 * 4.718488 - 1);
  EXPECT_EQ(place.scale, 4.718488 * 1.25);
  EXPECT_EQ(mpii_place(file.people[1]).center[1], -2);
  EXPECT_EQ(mpii_place(file.people[1]).scale, -1);
  EXPECT_TRUE(is_mpii(path));
  write_file(path, " {\"images\": []}");
  EXPECT_FALSE(is_mpii(path));
}

TEST(Mpii, EveryWrongFieldIsNamedWithItsEntry) {
  const fs::path path = test::temporary_folder() / "valid.json";
  const auto why = [&](const std::string& from, const std::string& to) {
    write_file(path, replaced(good, from, to));
    std::string message = error_of([&] { read_mpii(path, 2); });
    EXPECT_TRUE(contains(message, "valid.json")) << message;
    return message;
  };
  EXPECT_TRUE(contains(why("[1, 0]", "[1]"), "entry [0]: joints_vis: expected 2 numbers, got 1"));
  EXPECT_TRUE(contains(why("[3, 4]", "[3]"), "entry [1]: joints: expected 2 numbers, got 1"));
  EXPECT_TRUE(contains(why(", [3, 4]", ""), "entry [1]: joints: expected 2 joints, got 1"));
  EXPECT_TRUE(contains(why("4.718488", "0"), "entry [0]: scale"));
  EXPECT_TRUE(contains(why("4.718488", "\"a\""), "entry [0]: scale: expected a number"));
  EXPECT_TRUE(contains(why("[966.0, 340.0]", "[966.0, NaN]"), "entry [0]: center: expected a finite number"));
  EXPECT_TRUE(contains(why("\"image\": \"b.jpg\",", ""), "entry [1]: image"));
  EXPECT_TRUE(contains(why("\"joints_vis\": [1, 1], \"joints\": [[1, 2], [3, 4]],", ""), "entry [1]: joints"));
  EXPECT_TRUE(contains(why("[\n", "{\"images\": "), "COCO"));
  EXPECT_TRUE(contains(why("}}\n]", "}}"), "not valid JSON"));
  write_file(path, "[]");
  EXPECT_TRUE(contains(error_of([&] { read_mpii(path); }), "empty"));
}

TEST(Mpii, DatasetKeepsEverybodyInOrder) {
  const fs::path path = test::temporary_folder() / "valid.json";
  write_file(path, replaced(replaced(good, "\"b.jpg\"", "\"005808361.jpg\""), "\"scale\": -1, \"center\": [-1, -1]",
                            "\"scale\": 2, \"center\": [50, 60]"));
  Skeleton two;
  two.name = "two";
  two.names = {"a", "b"};
  two.sigmas = {0.1, 0.1};
  two.joint_weights = {1, 1};
  const auto dataset =
      PoseDataset::from_mpii(read_mpii(path, 2), path.parent_path(), two, {.input_h = 64, .input_w = 64});
  ASSERT_EQ(dataset.size(), 2u);
  EXPECT_EQ(dataset.annotations().images.size(), 1u) << "two people of one picture";
  EXPECT_EQ(dataset.people()[1].annotation_id, 2);
  EXPECT_EQ(dataset.people()[0].joints, (std::vector<float>{803, 710.5, 1, 815, 509, 0}));
  EXPECT_THROW(PoseDataset::from_mpii(read_mpii(path, 2), path.parent_path(), coco_skeleton(), {}), Error);
  EXPECT_THROW(PoseDataset::from_mpii(read_mpii(path, 2), path.parent_path(), two, {.recipe = Recipe::seed}), Error);
}

// The whole way from the official entry to the crop, bit for bit, and the map back for the decoded joints.
TEST(Mpii, GoldenCropsThroughTheDataset) {
  HR_NEEDS_ORACLE("transforms/transforms.json");
  const auto golden = parse_json_file(test::oracle("transforms/transforms.json"));
  int crops = 0;
  for (const Json& entry : golden["mpii"].GetArray()) {
    MpiiAnnotations file;
    file.path = "valid.json";
    MpiiPerson& p = file.people.emplace_back();
    const Json& annotation = entry["annotation"];
    p.image = entry["image"].GetString();
    for (int i = 0; i < 2; ++i) p.center[i] = annotation["center"][i].GetDouble();
    p.scale = annotation["scale"].GetDouble();
    for (const Json& joint : annotation["joints"].GetArray()) {
      p.joints.insert(p.joints.end(), {joint[0].GetDouble(), joint[1].GetDouble()});
    }
    p.visible = test::numbers(annotation["joints_vis"]);
    const auto dataset = PoseDataset::from_mpii(file, test::oracle("coco_sample"), built_in_skeleton("mpii"),
                                                {.input_h = 256, .input_w = 256});
    const Json& eval = entry["official"][0];
    ASSERT_STREQ(eval["name"].GetString(), "eval");
    if (eval.HasMember("crop")) {
      const fs::path crop = test::oracle(std::string("transforms/") + eval["crop"].GetString());
      test::expect_same_picture(dataset.crop(0, 0), read_image(crop), p.image);
      ++crops;
    }
    const auto placed = dataset.placed(0, 0);
    test::expect_matrix(placed.placement.heatmap_to_image, eval["inverse_matrix_heatmap_rot0"], p.image);
    for (size_t k = 0; k < 16; ++k) {
      if (p.visible[k] == 0) continue;
      for (size_t c = 0; c < 2; ++c) {
        EXPECT_NEAR(placed.placement.joints[3 * k + c], eval["joints"][k][c].GetDouble(), 1e-4);
      }
    }
  }
  EXPECT_GT(crops, 0);
}

TEST(Mpii, GoldenPlaces) {
  HR_NEEDS_ORACLE("transforms/transforms.json");
  const auto golden = parse_json_file(test::oracle("transforms/transforms.json"));
  for (const Json& person : golden["mpii"].GetArray()) {
    MpiiPerson p;
    p.center[0] = person["annotation"]["center"][0].GetDouble();
    p.center[1] = person["annotation"]["center"][1].GetDouble();
    p.scale = person["annotation"]["scale"].GetDouble();
    const MpiiPlace place = mpii_place(p);
    EXPECT_NEAR(place.center[0], person["center"][0].GetDouble(), 1e-12);
    EXPECT_NEAR(place.center[1], person["center"][1].GetDouble(), 1e-12);
    EXPECT_NEAR(place.scale, person["scale"][0].GetDouble(), 1e-12);
  }
}

}  // namespace
}  // namespace hr

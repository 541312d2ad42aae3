#include "eval/pckh.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/safetensors.h"
#include "tests/support/oracle.h"

namespace hr {
namespace {

const std::vector<std::string> kNames = {"rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor",
                                         "neck", "head", "rwri", "relb", "rsho", "lsho", "lelb", "lwri"};

// Joint j of every person is at (10 j, 20 n), counted from 1. The head box has a diagonal of 50, so the size is 30.
MpiiTruth truth(int64_t people) {
  MpiiTruth t;
  t.path = "gt_valid.mat";
  t.joint_names = kNames;
  t.people = people;
  const auto N = static_cast<size_t>(people);
  t.joints.resize(16 * 2 * N);
  t.missing.resize(16 * N);
  for (size_t j = 0; j < 16; ++j) {
    for (size_t n = 0; n < N; ++n) {
      t.joints[(j * 2) * N + n] = 10.0 * static_cast<double>(j);
      t.joints[(j * 2 + 1) * N + n] = 20.0 * static_cast<double>(n);
    }
  }
  for (const double v : {100.0, 100.0, 130.0, 140.0}) t.heads.insert(t.heads.end(), N, v);
  return t;
}

// Returns [people, 16, 2]: every joint is `dx` pixels beside the ground truth, counted from 0.
std::vector<float> poses(int64_t people, float dx) {
  std::vector<float> p;
  for (int64_t n = 0; n < people; ++n) {
    for (int j = 0; j < 16; ++j) {
      p.push_back(10.0F * static_cast<float>(j) - 1 + dx);
      p.push_back(20.0F * static_cast<float>(n) - 1);
    }
  }
  return p;
}

TEST(Pckh, HalfAHeadIsAHitAndZeroPointElevenIsCalledZeroPointOne) {
  const auto at = [](float dx) { return evaluate_pckh(truth(2), poses(2, dx)).table; };
  for (const double v : at(0)) EXPECT_NEAR(v, 100, 1e-12);
  EXPECT_NEAR(at(15)[7], 100, 1e-12) << "15 px of a head of 30";
  EXPECT_EQ(at(15.01F)[7], 0);
  EXPECT_NEAR(at(3.25F)[8], 100, 1e-12) << "between 0.1 and 0.11 heads";
  EXPECT_EQ(at(3.35F)[8], 0);
  EXPECT_NEAR(at(-1)[7], 100, 1e-12);
}

TEST(Pckh, MeanIsWeightedAndWithoutPelvisAndThorax) {
  MpiiTruth t = truth(4);
  auto p = poses(4, 0);
  for (size_t n = 0; n < 4; ++n) {
    p[(n * 16 + 6) * 2] += 100;  // pelvis and thorax are always wrong
    p[(n * 16 + 7) * 2] += 100;
  }
  EXPECT_NEAR(evaluate_pckh(t, p).table[7], 100, 1e-12);
  // The head is wrong for two of four people and visible for two only (one right, one wrong): 1 of 2, among 13 * 4 + 2
  // joints.
  p[(0 * 16 + 9) * 2] += 100;
  p[(1 * 16 + 9) * 2] += 100;
  t.missing[9 * 4 + 0] = 1;
  t.missing[9 * 4 + 3] = 1;
  const PckhResult r = evaluate_pckh(t, p);
  EXPECT_NEAR(r.table[0], 50, 1e-12);
  EXPECT_NEAR(r.table[7], 100.0 * (13 * 4 + 1) / (13 * 4 + 2), 1e-9);
  EXPECT_EQ(r.counts[9], 2);
  // Left and right joints are averaged with equal weight, whatever their numbers.
  t.missing[12 * 4 + 1] = t.missing[12 * 4 + 2] = t.missing[12 * 4 + 3] = 1;
  p[(0 * 16 + 12) * 2] += 100;  // right shoulder: visible once, wrong
  EXPECT_NEAR(evaluate_pckh(t, p).table[1], 50, 1e-12);
}

TEST(Pckh, AJointSeenOnNobodyHasNoNumberAndNoWeight) {
  MpiiTruth t = truth(1);
  t.missing[9] = 1;
  const PckhResult r = evaluate_pckh(t, poses(1, 0));
  EXPECT_TRUE(std::isnan(r.table[0]));
  EXPECT_NEAR(r.table[7], 100, 1e-12);
}

TEST(Pckh, BadInputIsNamed) {
  const auto message = [](const MpiiTruth& t, const std::vector<float>& p) -> std::string {
    try {
      evaluate_pckh(t, p);
    } catch (const Error& e) {
      return e.what();
    }
    return "(no error)";
  };
  EXPECT_NE(message(truth(3), poses(2, 0)).find("3 people with 16 joints, but 64 predicted coordinates; expected 96"),
            std::string::npos);
  MpiiTruth t = truth(1);
  t.joint_names[9] = "hat";
  EXPECT_NE(message(t, poses(1, 0)).find("no 'head'"), std::string::npos);
  auto p = poses(1, 0);
  p[5] = NAN;
  EXPECT_NE(message(truth(1), p).find("joint 2 of person 0"), std::string::npos);
}

TEST(Pckh, MarkdownHasTheOfficialColumns) {
  PckhResult r;
  r.table = {97.101, 95.943, 90.3, 86.4, 89.1, 87.1, 83.3, 90.33, 37.7};
  EXPECT_EQ(pckh_markdown("pose_hrnet", r),
            "| Arch | Head | Shoulder | Elbow | Wrist | Hip | Knee | Ankle | Mean | Mean@0.1 |\n"
            "|---|---|---|---|---|---|---|---|---|---|\n"
            "| pose_hrnet | 97.101 | 95.943 | 90.300 | 86.400 | 89.100 | 87.100 | 83.300 | 90.330 | 37.700 |");
}

TEST(PckhGolden, TheOfficialTable) {
  HR_NEEDS_ORACLE("eval/mpii.json");
  const auto golden = parse_json_file(test::oracle("eval/mpii.json"));
  const SafetensorsFile input(test::oracle("eval/mpii_input.safetensors"));
  int sets = 0;
  for (const auto& set : golden["sets"].GetObject()) {
    const std::string name = set.name.GetString();
    SCOPED_TRACE(name);
    MpiiTruth t;
    t.people = set.value["people"].GetInt64();
    for (const auto& joint : golden["dataset_joints"].GetArray()) t.joint_names.emplace_back(joint.GetString());
    t.joints = input.at(name + ".pos_gt_src").to_f64();
    for (const double v : input.at(name + ".jnt_missing").to_f64()) t.missing.push_back(v != 0 ? 1 : 0);
    t.heads = input.at(name + ".headboxes_src").to_f64();
    const auto stored = input.at(name + ".preds").to_f32();
    const int64_t width = input.at(name + ".preds").shape.back();  // x, y and maybe a score
    std::vector<float> p;
    for (size_t i = 0; i < stored.size(); i += width) p.insert(p.end(), {stored[i], stored[i + 1]});
    const PckhResult r = evaluate_pckh(t, p);
    for (int i = 0; i < kPckhColumns; ++i) {
      EXPECT_NEAR(r.table.at(i), set.value["table"][pckh_columns().at(i)].GetDouble(), 1e-9) << pckh_columns().at(i);
    }
    ++sets;
  }
  EXPECT_EQ(sets, 2);
}

}  // namespace
}  // namespace hr

// Tests that report.html is well-formed and self-contained, and that it says what is missing.
#include "tools/report/report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/digest/sha256.h"
#include "core/error.h"
#include "core/io/json.h"
#include "data/formats/encode_jpeg.h"
#include "tests/support/oracle.h"
#include "tests/tools/tiny_run.h"
#include "tools/plot/history_plot.h"
#include "tools/programs/train.h"
#include "tools/report/page_frame.h"
#include "tools/report/run_report.h"
#include "tools/report/worst_pictures.h"

namespace hr {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

bool contains(std::string_view text, std::string_view word) { return text.find(word) != std::string_view::npos; }

// Returns the reason if the elements of a page do not nest properly, otherwise an empty text.
std::string nesting_error(std::string_view page) {
  static const std::set<std::string> empty_elements = {"meta", "img", "br"};
  std::vector<std::string> open;
  for (size_t at = 0; (at = page.find('<', at)) != std::string_view::npos;) {
    if (page.substr(at, 2) == "<!") {
      at = page.find('>', at);
      continue;
    }
    // A quoted attribute may contain the character '>'.
    size_t end = at + 1;
    for (bool quoted = false; end < page.size() && (quoted || page[end] != '>'); ++end)
      quoted = quoted != (page[end] == '"');
    if (end >= page.size()) return fmt::format("no end: {}", page.substr(at, 60));
    const std::string_view tag = page.substr(at + 1, end - at - 1);
    const bool closes = tag.starts_with('/');
    const std::string name(tag.substr(closes ? 1 : 0, tag.find_first_of(" /\n", 1) - (closes ? 1 : 0)));
    if (tag.find('<') != std::string_view::npos) return fmt::format("a < within {}", tag);
    at = end + 1;
    if (closes) {
      if (open.empty() || open.back() != name) {
        return fmt::format("</{}> closes {}", name, open.empty() ? "nothing" : open.back());
      }
      open.pop_back();
    } else if (name == "script" || name == "style") {
      at = page.find("</" + name + ">", at);
      if (at == std::string_view::npos) return "no end of " + name;
      at += name.size() + 3;
    } else if (!tag.ends_with('/') && !empty_elements.contains(name)) {
      open.push_back(name);
    }
  }
  return open.empty() ? "" : fmt::format("<{}> is never closed", open.back());
}

void expect_good_page(const std::string& page) {
  EXPECT_EQ(nesting_error(page), "");
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>"));
  for (const char* word : {"http://", "https://", "<link", "@import", "url(", "<iframe", "src=\"/", "//cdn"}) {
    EXPECT_FALSE(contains(page, word)) << word;
  }
  for (size_t at = 0; (at = page.find("src=\"", at)) != std::string::npos; ++at) {
    EXPECT_EQ(page.substr(at + 5, 5), "data:");
  }
}

std::vector<EpochRecord> history(int epochs) {
  std::vector<EpochRecord> records;
  for (int i = 0; i < epochs; ++i) {
    records.push_back({.epoch = i, .loss = 0.02 / (i + 1), .lr = 1e-3, .stats = std::vector<double>(10, 0.1 * i)});
  }
  return records;
}

// Makes a run folder with the files from which the report is made.
fs::path run_folder(const std::string& metrics = "") {
  const fs::path folder = test::temporary_folder();
  write_file(folder / "config.json",
             "{\"model\": \"hrnet_w32\", \"val_annotations\": \"/data/person_keypoints_val2017.json\", "
             "\"person_det\": \"\", \"fixed_size\": [256, 192], \"epochs\": 4, \"amp\": false, \"lr\": 0.001}");
  if (!metrics.empty()) write_file(folder / "metrics.jsonl", metrics);
  return folder;
}

std::string page_of(const fs::path& folder, const std::vector<EpochRecord>& records, const std::string& ending = "") {
  RunReport report;
  report.write(folder, records, ending);
  return read_file(folder / "report.html");
}

TEST(Report, Base64IsThatOfRfc4648) {
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"},
                                                                    {"\xff\xfe\xfd", "//79"}};
  for (const auto& [bytes, text] : vectors) EXPECT_EQ(base64(bytes), text);
}

TEST(Report, TheCheckOfNestingFindsMistakes) {
  EXPECT_EQ(nesting_error("<p>a<br><b title=\"x > y\">b</b></p>"), "");
  EXPECT_NE(nesting_error("<p><b></p></b>"), "");
  EXPECT_NE(nesting_error("<p>"), "");
  EXPECT_NE(nesting_error("<p>a <b c</p>"), "");
}

TEST(Report, AFullPageIsWellFormedAndLoadsNothing) {
  ReportData d;
  d.title = "hrnet_w32 on val2017";
  d.training = true;
  d.headline = {{"best AP", "0.7440"}};
  d.conditions = {{"boxes", "ground truth: 104"}};
  d.remarks = {"areas of 0"};
  d.curves = history_panels(history(3), {{0, 100, 0.25}, {1, 120, 0.5}, {2, 110, 0}});
  d.epochs = {{"epoch", "loss"}, {{"1", "0.02"}}};
  d.measures = {"AP", "AR"};
  d.numbers = {{"epoch 3", {0.744, 0.798}}};
  d.published = published_results("hrnet_w32", "AP", 256, 192);
  PoseAnalysis analysis;
  analysis.joints = {{"nose", {5, 1, 0, 0, 2}}, {"never_labelled", {}}};
  analysis.sizes = {{"32 to 64 px", {5, 1, 0, 0, 2}}};
  analysis.all = {"all", {5, 1, 0, 0, 2}};
  analysis.stats[0] = 0.744;
  analysis.corrected[3][0] = 0.8;
  d.analysis = analysis;
  d.worst = {{encode_jpeg(Image(8, 8), 80), "000001.jpg: mean OKS 0.10 of 1 person"}};
  d.configuration = {{"lr", "0.001"}};
  d.files = {{"best.safetensors", 114361796, std::string(64, 'a')}};
  d.command = "train --data-path data";
  const std::string page = report_html(d);
  expect_good_page(page);
  for (const char* word : {"0.7440", "0.7980", "ground truth: 104", "areas of 0", "76.5", "nose", "62", "000001.jpg",
                           "data:image/jpeg;base64,/9j/", "114.4 MB", "aaaaaaaa", "train --data-path data", "+0.0560",
                           "data wait, % of the time 25%", "prefers-color-scheme: dark", "@media print", "viewport"}) {
    EXPECT_TRUE(contains(page, word)) << word;
  }
  EXPECT_FALSE(contains(page, "never_labelled"));
  EXPECT_EQ(page, report_html(d));
}

// A line break within a quoted text makes a browser drop this rule and the next one.
TEST(Report, QuotedTextsOfTheStyleEndOnTheirLine) {
  std::string_view style = kPageStyle;
  while (!style.empty()) {
    const std::string_view line = style.substr(0, style.find('\n'));
    EXPECT_EQ(std::count(line.begin(), line.end(), '"') % 2, 0) << line;
    style.remove_prefix(std::min(style.size(), line.size() + 1));
  }
}

TEST(Report, AnAnalysisWithoutAnyPersonFoundSaysSo) {
  ReportData data;
  data.analysis.emplace();
  data.analysis->people = 3;
  const std::string page = report_html(data);
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "0 of 3 people were found"));
  EXPECT_TRUE(contains(page, "No person was found, so no joint can be judged."));
  EXPECT_FALSE(contains(page, "By joint"));
}

TEST(Report, NamesAreEscaped) {
  const std::string evil = "<script>alert('x')</script>&\"\x01";
  ReportData d;
  d.title = d.subtitle = d.command = d.worst_rule = d.published_remark = evil;
  d.training = true;
  d.headline = d.conditions = d.configuration = d.origin = {{evil, evil}};
  d.remarks = {evil};
  d.measures = {evil};
  d.numbers = {{evil, {0.5}}};
  d.epochs = {{evil}, {{evil}}};
  d.curves = {{.title = evil, .x_label = evil, .y_label = evil, .series = {{evil, {1}, {1}}, {evil, {1}, {2}}}}};
  d.worst = {{"jpeg", evil}};
  d.files = {{evil, 5, evil}};
  d.joints = {{evil, 50}};
  d.published = {{evil, 256, 192, evil, evil, evil, 50, evil}};
  const std::string page = report_html(d);
  expect_good_page(page);
  EXPECT_FALSE(contains(page, "<script>alert"));
  EXPECT_TRUE(contains(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;?"));
}

TEST(Report, AnEmptyHistorySaysSo) {
  const std::string page = page_of(run_folder(), {}, "stopped by Ctrl-C at epoch 1, step 3");
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "No epoch is finished yet."));
  EXPECT_TRUE(contains(page, "This run has not been validated yet."));
  EXPECT_TRUE(contains(page, "0 of 4 epochs, stopped by Ctrl-C at epoch 1, step 3"));
  expect_good_page(page_of(test::temporary_folder(), {}));  // A folder without any file.
}

TEST(Report, ARunWithoutValidationSaysSo) {
  std::vector<EpochRecord> records = history(2);
  for (EpochRecord& r : records) r.stats.clear();
  const std::string page = page_of(run_folder(), records);
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "2 of 4 epochs, going on when this page was written"));
  EXPECT_TRUE(contains(page, "This run has not been validated yet."));
  EXPECT_TRUE(contains(page, ">not validated yet</text>"));
  EXPECT_TRUE(contains(page, "0.020000"));
  EXPECT_TRUE(contains(page, "74.4"));  // The published results are listed nevertheless.
}

TEST(Report, WhatIsNotANumberIsCalledSo) {
  std::vector<EpochRecord> records = history(3);
  records[1].loss = kNan;
  records[2].stats[0] = kNan;
  records[2].stats[4] = -1;
  const std::string page = page_of(run_folder(), records);
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "The loss is not a number in epoch 2"));
  EXPECT_TRUE(contains(page, "<td class=\"n\">not a number</td>"));
  EXPECT_TRUE(contains(page, "<td class=\"n\">nothing to find</td>"));
  EXPECT_TRUE(contains(page, "epoch 2\nloss not a number</title>"));
  EXPECT_FALSE(contains(page, ">nan"));
  for (EpochRecord& r : records) r.loss = kNan, r.stats.assign(10, kNan);
  expect_good_page(page_of(run_folder(), records));
}

TEST(Report, PckhIsInPercent) {
  std::vector<EpochRecord> records;
  records.push_back(
      {.epoch = 0, .loss = 0.1, .lr = 1e-3, .pckh = true, .stats = {1, 2, 3, 4, 5, 6, kNan, 88.25, 33.5}});
  const std::string page = page_of(run_folder(), records);
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "best PCKh@0.5"));
  EXPECT_TRUE(contains(page, "88.25"));
  EXPECT_TRUE(contains(page, "90.3"));  // Published for hrnet_w32.
  EXPECT_TRUE(contains(page, "PCKh in percent"));
  EXPECT_FALSE(contains(page, "OKS AP"));
}

TEST(Report, OwnNumbersAreComparedWithPublishedOnes) {
  const std::string page = page_of(run_folder(), history(3));
  const size_t own = page.find("<tr class=\"own\"><td class=\"n\">20.00</td><td>256 x 192</td><td>val2017</td>");
  ASSERT_NE(own, std::string::npos);
  EXPECT_NE(page.find("76.5", own), std::string::npos);
  EXPECT_TRUE(published_results("hrnet_w2", "AP", 64, 64).empty());
  const auto large = published_results("hrnet_w48", "AP", 384, 288);
  ASSERT_EQ(large.size(), 3U);
  EXPECT_EQ(large[0].percent, 76.3);  // Results of the same input size come first.
  for (const PublishedResult& r : large) EXPECT_FALSE(r.source.empty());
}

// The report of a resumed run contains all epochs, and a line that a crash has cut off is ignored.
TEST(Report, SpeedsComeFromTheWholeCourse) {
  const std::string metrics =
      "{\"kind\":\"fact\",\"label\":\"model\",\"text\":\"x\"}\n"
      "{\"kind\":\"step\",\"epoch\":1,\"step\":5,\"samples_per_second\":10.0,\"data_wait\":0.5}\n"
      "{\"kind\":\"step\",\"epoch\":1,\"step\":10,\"samples_per_second\":20.0,\"data_wait\":0.25}\n"
      "{\"kind\":\"remark\",\"text\":\"two <odd> pictures\"}\n"
      "{\"kind\":\"validation\",\"epoch\":1,\"AP\":0.1,\"remarks\":[\"an early remark\"]}\n"
      "not json\n[1]\n{\"epoch\":\"2\",\"samples_per_second\":null}\n"
      "{\"kind\":\"step\",\"epoch\":2,\"step\":10,\"samples_per_second\":30.0,\"data_wait\":0.1}\n"
      "{\"kind\":\"step\",\"epoch\":3,\"step\":10,\"samples_per_sec";
  const std::vector<EpochSpeed> speeds = epoch_speeds(metrics);
  ASSERT_EQ(speeds.size(), 2U);
  EXPECT_EQ(speeds[0].epoch, 0);
  EXPECT_EQ(speeds[0].samples_per_second, 20);
  EXPECT_EQ(speeds[1].wait_share, 0.1);
  const std::string page = page_of(run_folder(metrics), history(2));
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "<td class=\"n\">20.0</td><td class=\"n\">25%</td>"));
  EXPECT_TRUE(contains(page, "two &lt;odd&gt; pictures"));
  EXPECT_TRUE(contains(page, "an early remark"));
}

TrainOptions tiny(const fs::path& root) {
  return test::tiny_run(test::tiny_data(root / "data", 8, 5), root / "run", 2);
}

std::string sha256_of(const fs::path& path) {
  Sha256 digest;
  const std::string bytes = read_file(path);
  digest.update(std::as_bytes(std::span(bytes)));
  return digest.hex();
}

TEST(Report, ARunLeavesAPageWithPicturesAndChecksums) {
  const TrainOptions o = tiny(test::temporary_folder());
  testing::internal::CaptureStdout();
  const int status = train(o);
  const std::string said = testing::internal::GetCapturedStdout();
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(contains(said, "metrics.jsonl, curves.png, report.html\n")) << said;
  const fs::path run = o.output_dir;
  const std::string page = read_file(run / "report.html");
  expect_good_page(page);
  EXPECT_TRUE(contains(page, sha256_of(run / "best.safetensors")));
  EXPECT_TRUE(contains(page, sha256_of(run / "last.safetensors")));
  EXPECT_TRUE(contains(page, "2 of 2 epochs, finished"));
  EXPECT_TRUE(contains(page, "Where the errors come from"));
  int pictures = 0;
  constexpr std::string_view kStart = "data:image/jpeg;base64,";
  for (size_t at = 0; (at = page.find(kStart, at)) != std::string::npos; ++pictures) {
    at += kStart.size();
    EXPECT_LE((page.find('"', at) - at) / 4 * 3, 40'002U);
  }
  EXPECT_GT(pictures, 0);
  EXPECT_LE(pictures, 5);
}

TEST(Report, SaysHonestlyWhyARunEnded) {
  TrainOptions o = tiny(test::temporary_folder());
  o.epochs = 9;
  o.lr = 1e-9;  // The score stays as it is.
  o.patience = 1;
  testing::internal::CaptureStdout();
  EXPECT_EQ(train(o), 0);
  testing::internal::GetCapturedStdout();
  const fs::path page = fs::path(o.output_dir) / "report.html";
  expect_good_page(read_file(page));
  EXPECT_TRUE(contains(read_file(page),
                       "2 of 9 epochs, ended early because the score had not risen for 1 validation "
                       "(--patience)"));

  // A folder in the place of the poses makes the validation of the next run fail after its first epoch.
  o.patience = 0;
  o.epochs = 1;
  const fs::path poses = fs::path(o.output_dir) / "key_results.json";
  fs::remove(poses);
  fs::create_directories(poses / "in_the_way");
  testing::internal::CaptureStdout();
  EXPECT_THROW(train(o), Error);
  testing::internal::GetCapturedStdout();
  expect_good_page(read_file(page));
  EXPECT_TRUE(contains(read_file(page), "0 of 1 epochs, ended by an error: "));
  EXPECT_TRUE(contains(read_file(page), "No epoch is finished yet."));
}

TEST(Report, AModelThatIsOnlyTestedHasAPageToo) {
  TrainOptions o = tiny(test::temporary_folder());
  o.epochs = 1;
  testing::internal::CaptureStdout();
  EXPECT_EQ(train(o), 0);
  o.weights = (fs::path(o.output_dir) / "best.safetensors").string();
  o.output_dir = (fs::path(o.output_dir) / "test").string();
  o.test_only = true;
  EXPECT_EQ(train(o), 0);
  EXPECT_TRUE(contains(testing::internal::GetCapturedStdout(), "key_results.json, report.html\n"));
  const std::string page = read_file(fs::path(o.output_dir) / "report.html");
  expect_good_page(page);
  EXPECT_TRUE(contains(page, "hrnet_w2 on val2017"));
  EXPECT_TRUE(contains(page, "Validation of " + o.weights));
  EXPECT_TRUE(contains(page, sha256_of(o.weights)));
  EXPECT_TRUE(contains(page, "Where the errors come from"));
  EXPECT_FALSE(contains(page, "Course of the training"));
}

// If the page cannot be written, the run prints one note, continues to train and writes its weights.
TEST(Report, AFailureIsToldOnceAndTheTrainingContinues) {
  const TrainOptions o = tiny(test::temporary_folder());
  fs::create_directories(fs::path(o.output_dir) / "report.html" / "in_the_way");
  testing::internal::CaptureStdout();
  const int status = train(o);
  const std::string said = testing::internal::GetCapturedStdout();
  EXPECT_EQ(status, 0);
  const size_t note = said.find("note: the report cannot be made, the training continues without it: ");
  ASSERT_NE(note, std::string::npos) << said;
  EXPECT_EQ(said.find("the report cannot be made", note + 10), std::string::npos) << said;
  EXPECT_FALSE(contains(said, "curves.png, report.html\n")) << said;
  EXPECT_TRUE(fs::exists(fs::path(o.output_dir) / "last.safetensors"));
  for (const auto& entry : fs::directory_iterator(o.output_dir)) {
    EXPECT_FALSE(contains(entry.path().string(), ".tmp")) << entry.path();
  }
}

TEST(Report, TheWorstPicturesComeFirst) {
  CocoAnnotations truth;
  truth.categories = {{.id = 1, .name = "person", .keypoints = {}, .skeleton = {}}};
  std::vector<CocoDetection> detections;
  for (int64_t id = 1; id <= 3; ++id) {
    truth.images.push_back({.id = id, .file_name = std::to_string(id), .width = 200, .height = 200});
    CocoAnnotation person{.id = id, .image_id = id, .box = {10, 10, 100, 100}, .area = 10000, .num_keypoints = 17};
    CocoDetection pose;
    pose.image_id = id;
    pose.score = 0.9;
    for (int k = 0; k < 17; ++k) {
      person.keypoints.insert(person.keypoints.end(), {20.0 + 5 * k, 30.0 + 4 * k, 2.0});
      const double off = id == 2 ? 60 : id == 3 ? 6 : 0;
      pose.keypoints.insert(pose.keypoints.end(), {20.0 + 5 * k + off, 30.0 + 4 * k, 1.0});
    }
    truth.annotations.push_back(person);
    detections.push_back(pose);
  }
  const std::vector<PictureScore> scores = oks_scores(truth, detections, {});
  ASSERT_EQ(scores.size(), 3U);
  EXPECT_NEAR(scores[0].badness, 0, 1e-6);
  EXPECT_GT(scores[1].badness, scores[2].badness);
  EXPECT_EQ(scores[0].said, "mean OKS 1.00 of 1 person");
}

TEST(Report, TheCommandLineIsQuotedForAShell) {
  EXPECT_TRUE(contains(command_line(), "hr_tools_tests")) << command_line();
}

}  // namespace
}  // namespace hr

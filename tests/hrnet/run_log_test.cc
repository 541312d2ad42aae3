// Tests the content of metrics.jsonl and of TensorBoard's event files, and that resuming a run neither loses nor
// repeats a line.
#include "hrnet/train/run_log.h"

#include <gtest/gtest.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "core/io/json.h"
#include "core/io/protobuf.h"
#include "tests/data/golden.h"

namespace hr {
namespace {

struct Scalar {
  std::string tag;
  int64_t step;
  float value;
  bool operator==(const Scalar&) const = default;
};

uint64_t little_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

uint64_t masked(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return static_cast<uint32_t>((crc >> 15 | crc << 17) + 0xa282ead8u);
}

struct Picture {
  std::string tag;
  int64_t step = 0, height = 0, width = 0, colours = 0;
  std::string file;
};

Picture picture_in(ProtoReader image) {
  Picture picture;
  while (image.next()) {
    if (image.field() == 1) picture.height = image.integer();
    if (image.field() == 2) picture.width = image.integer();
    if (image.field() == 3) picture.colours = image.integer();
    if (image.field() == 4) picture.file = image.text();
  }
  return picture;
}

// Reads the records of an event file and checks their lengths and checksums. The first record states the version.
std::vector<Scalar> scalars_of(const fs::path& path, std::vector<Picture>* pictures = nullptr) {
  const std::string file = read_file(path);
  std::string_view left = file;
  std::vector<Scalar> scalars;
  std::string version;
  while (!left.empty()) {
    if (left.size() < 16) {
      ADD_FAILURE() << left.size() << " bytes are no record";
      break;
    }
    const uint64_t size = little_endian(left.substr(0, 8));
    EXPECT_EQ(little_endian(left.substr(8, 4)), masked(left.substr(0, 8)));
    const std::string_view message = left.substr(12, size);
    EXPECT_EQ(little_endian(left.substr(12 + size, 4)), masked(message));
    left.remove_prefix(16 + size);
    const std::string name = path.string();
    ProtoReader event(std::as_bytes(std::span(message.data(), message.size())), name);
    Scalar scalar{};
    bool found = false;
    std::optional<Picture> picture;
    while (event.next()) {
      if (event.field() == 2) scalar.step = event.integer();
      if (event.field() == 3) version = event.text();
      if (event.field() != 5) continue;
      ProtoReader summary = event.message();
      EXPECT_TRUE(summary.next());
      ProtoReader value = summary.message();
      while (value.next()) {
        if (value.field() == 1) scalar.tag = value.text();
        if (value.field() == 2) scalar.value = value.real(), found = true;
        if (value.field() == 4) picture = picture_in(value.message());
      }
    }
    if (found) scalars.push_back(scalar);
    if (!picture || pictures == nullptr) continue;
    picture->tag = scalar.tag, picture->step = scalar.step;
    pictures->push_back(*picture);
  }
  EXPECT_EQ(version, "brain.Event:2");
  return scalars;
}

fs::path event_file_in(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) return entry.path();
  }
  return {};
}

std::vector<rapidjson::Document> lines_of(const fs::path& folder) {
  std::vector<rapidjson::Document> lines;
  const std::string text = read_file(folder / "metrics.jsonl");
  for (size_t at = 0, end; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
    lines.push_back(parse_json(std::string_view(text).substr(at, end - at), "metrics.jsonl"));
  }
  return lines;
}

// Makes the calls of a run of two epochs with three steps each, beginning at a position.
void tell(RunLog& log, const fs::path& folder, int first_epoch, int64_t first_step) {
  std::vector<EpochRecord> history;
  for (int epoch = first_epoch; epoch < 2; ++epoch) {
    EpochStatus s{.epoch = epoch, .epochs = 2, .step = epoch == first_epoch ? first_step : 0, .steps = 3, .lr = 1e-3};
    log.epoch_begins(s);
    while (s.step < s.steps) {
      ++s.step;
      s.loss = 0.5 / static_cast<double>(s.step + 3 * epoch);
      s.accuracy = s.step == 1 ? std::numeric_limits<double>::quiet_NaN() : 0.25 * static_cast<double>(s.step);
      log.stepped(s);
    }
    log.samples(s, Image(30 + epoch, 20));
    log.epoch_trained(s);
    EpochRecord& record = history.emplace_back(EpochRecord{.epoch = epoch, .loss = s.loss, .lr = s.lr});
    record.stats = {0.5, 0.75, 0.25, -1, 0.125, 0.5, 0.5, 0.5, 0.5, std::numeric_limits<double>::quiet_NaN()};
    const ValidationRun run;
    log.validated({.record = record, .run = run, .model = "hrnet_w2", .remarks = {"one"}, .best = epoch == 1});
    log.epoch_finished(folder, history);
  }
}

TEST(EventFile, ChecksumIsCrc32c) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);            // the check value of the polynomial's catalogue entry
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);  // RFC 3720, B.4
}

TEST(RunLog, LinesAndEventsHoldTheNumbersOfTheRun) {
  const fs::path folder = test::temporary_folder();
  TrainObserver silent;
  RunLog log(silent, 2);
  log.fact("model", "hrnet_w2: \"small\"");
  log.open(folder, std::nullopt);
  tell(log, folder, 0, 0);

  const auto lines = lines_of(folder);
  std::vector<std::string> kinds;
  for (const auto& line : lines) kinds.emplace_back(line["kind"].GetString());
  const std::vector<std::string> of_an_epoch{"step", "step", "validation", "epoch"};
  std::vector<std::string> expected{"fact"};
  for (int epoch = 0; epoch < 2; ++epoch) expected.insert(expected.end(), of_an_epoch.begin(), of_an_epoch.end());
  EXPECT_EQ(kinds, expected);
  EXPECT_STREQ(lines[0]["text"].GetString(), "hrnet_w2: \"small\"");
  EXPECT_EQ(lines[1]["step"].GetInt(), 2);
  EXPECT_EQ(lines[1]["epoch"].GetInt(), 1);
  EXPECT_EQ(lines[1]["loss"].GetDouble(), 0.25);
  EXPECT_EQ(lines[3]["AP"].GetDouble(), 0.5);
  EXPECT_TRUE(lines[3]["AR (L)"].IsNull());  // JSON has no NaN
  EXPECT_STREQ(lines[3]["remarks"][0].GetString(), "one");
  EXPECT_TRUE(lines[7]["best"].GetBool());

  const std::vector<Scalar> scalars = scalars_of(event_file_in(folder));
  EXPECT_EQ(std::count(scalars.begin(), scalars.end(), Scalar{"train_loss", 2, 0.25f}), 1);
  EXPECT_EQ(std::count(scalars.begin(), scalars.end(), Scalar{"train_loss", 6, 0.5f / 6}), 1);
  EXPECT_EQ(std::count(scalars.begin(), scalars.end(), Scalar{"valid/AP", 3, 0.5f}), 1);
  EXPECT_EQ(std::count(scalars.begin(), scalars.end(), Scalar{"lr", 6, 1e-3f}), 1);
}

TEST(RunLog, TheAccuracyHasTheOfficialTag) {
  const fs::path folder = test::temporary_folder();
  TrainObserver silent;
  RunLog log(silent, 1);
  log.open(folder, std::nullopt);
  tell(log, folder, 0, 0);
  const auto lines = lines_of(folder);
  EXPECT_TRUE(lines[0]["accuracy"].IsNull());  // JSON has no NaN
  EXPECT_EQ(lines[1]["accuracy"].GetDouble(), 0.5);
  std::vector<Scalar> accuracies;
  for (const Scalar& scalar : scalars_of(event_file_in(folder))) {
    if (scalar.tag == "train_acc") accuracies.push_back(scalar);
  }
  const std::vector<Scalar> expected{
      {"train_acc", 2, 0.5f}, {"train_acc", 3, 0.75f}, {"train_acc", 5, 0.5f}, {"train_acc", 6, 0.75f}};
  EXPECT_EQ(accuracies, expected);
}

TEST(RunLog, EveryEpochHasAPictureOfItsSamples) {
  const fs::path folder = test::temporary_folder();
  TrainObserver silent;
  RunLog log(silent, 0);
  log.open(folder, std::nullopt);
  tell(log, folder, 0, 0);
  std::vector<Picture> pictures;
  scalars_of(event_file_in(folder), &pictures);
  ASSERT_EQ(pictures.size(), 2u);
  for (int epoch = 0; epoch < 2; ++epoch) {
    const Picture& p = pictures[static_cast<size_t>(epoch)];
    EXPECT_EQ(p.tag, "train/samples");
    EXPECT_EQ(p.step, 3 * (epoch + 1));
    EXPECT_EQ(p.colours, 3);  // RGB
    const Image image = decode_image(std::as_bytes(std::span(p.file)), "the picture");
    EXPECT_EQ(image.width, 30 + epoch);
    EXPECT_EQ(image.height, 20);
    EXPECT_EQ(p.width, image.width);
    EXPECT_EQ(p.height, image.height);
  }
  // A resumed run adds a file; TensorBoard joins the files of a folder.
  RunLog resumed(silent, 0);
  RunState position;
  position.begin(1);
  resumed.open(folder, position);
  tell(resumed, folder, 1, 0);
  size_t files = 0, all = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with("events.")) continue;
    std::vector<Picture> of_file;
    scalars_of(entry.path(), &of_file);
    all += of_file.size();
    ++files;
  }
  EXPECT_EQ(files, 2u);
  EXPECT_EQ(all, 3u);
}

TEST(RunLog, AResumedRunHasTheLinesOfAnUninterruptedOne) {
  const auto without_time = [](const fs::path& folder) {
    std::vector<std::string> lines;
    for (rapidjson::Document& line : lines_of(folder)) {
      line.RemoveMember("time");
      rapidjson::StringBuffer text;
      rapidjson::Writer<rapidjson::StringBuffer> writer(text);
      line.Accept(writer);
      lines.emplace_back(text.GetString());
    }
    return lines;
  };
  const fs::path whole = test::temporary_folder() / "whole", cut = test::temporary_folder() / "cut";
  fs::create_directories(whole);
  fs::create_directories(cut);
  TrainObserver silent;
  {
    RunLog log(silent, 1);
    log.open(whole, std::nullopt);
    tell(log, whole, 0, 0);
  }
  {
    RunLog log(silent, 1);
    log.open(cut, std::nullopt);
    tell(log, cut, 0, 0);
  }
  // The last checkpoint is the one after the fourth step, and the crash cut a line off.
  AppendFile(cut / "metrics.jsonl").write("{\"kind\":\"st");
  RunLog log(silent, 1);
  RunState position;
  position.begin(1);
  position.step = 1;
  log.open(cut, position);
  tell(log, cut, 1, 1);
  EXPECT_EQ(without_time(cut), without_time(whole));

  RunLog anew(silent, 1);
  anew.open(cut, std::nullopt);
  EXPECT_TRUE(lines_of(cut).empty());
}

TEST(RunLog, AFolderThatCannotBeWrittenIsNamed) {
  TrainObserver silent;
  RunLog log(silent, 1);
  const std::string error = test::error_of([&] { log.open("/dev/full/no_folder", std::nullopt); });
  EXPECT_NE(error.find("/dev/full/no_folder"), std::string::npos) << error;
}

}  // namespace
}  // namespace hr

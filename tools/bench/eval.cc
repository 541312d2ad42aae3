#include "tools/bench/eval.h"

#include <fcntl.h>
#include <rapidjson/memorystream.h>
#include <rapidjson/reader.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>
#include <ranges>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "core/counted.h"
#include "core/digest/sha256.h"
#include "core/error.h"
#include "core/file.h"
#include "core/io/json.h"
#include "core/io/json_write.h"
#include "core/philox.h"
#include "core/stopwatch.h"
#include "data/formats/coco.h"
#include "eval/coco_eval.h"
#include "eval/results.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

constexpr int kJoints = 17;

// The files that are measured. The destructor removes them.
struct Files {
  fs::path folder = fs::temp_directory_path() / fmt::format("hr_bench_eval_{}", ::getpid());
  fs::path gt = folder / "person_keypoints.json";
  fs::path dt = folder / "results.json", seed = folder / "key_results.json",
           official = folder / "keypoints_results_0.json";

  explicit Files(const EvalBenchOptions& o) {
    fs::create_directories(folder);
    Philox rng(1, 0, 0);
    std::vector<std::vector<CocoAnnotation>> people(o.images);
    write_file(gt, ground_truth(o, rng, people));
    const std::vector<PersonResult> results = detections(o, rng, people);
    write_seed_results(seed, results);
    write_official_results(official, results);
    std::string text;
    JsonWriter json(text, {.python_reals = true});  // one line, as json.dump writes it
    json.begin_list();
    for (const PersonResult& r : results) {
      json.begin_object().member("image_id", r.image_id).member("category_id", 1);
      json.member("keypoints", r.keypoints | std::views::transform([](float v) { return python_round2(v); }));
      json.member("score", r.score).end();
    }
    json.end();
    write_file(dt, text);
  }
  ~Files() {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

 private:
  static int64_t image_id(int i) { return 139 + 116 * static_cast<int64_t>(i); }

  static std::string ground_truth(const EvalBenchOptions& o, Philox& rng,
                                  std::vector<std::vector<CocoAnnotation>>& people) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().key("info").begin_object().member("description", "made by bench").end();
    json.key("licenses").begin_list().end();
    json.key("images").begin_list();
    for (int i = 0; i < o.images; ++i) {
      const std::string name = fmt::format("{:012}.jpg", image_id(i));
      json.begin_object().member("license", i % 7 + 1).member("file_name", name);
      json.member("coco_url", "http://images.cocodataset.org/val2017/" + name);
      json.member("height", 480).member("width", 640).member("date_captured", "2013-11-14 17:02:52");
      json.member("flickr_url", "http://farm7.staticflickr.com/6116/6255196340_da26cf2c9e_z.jpg");
      json.member("id", image_id(i)).end();
    }
    json.end().key("annotations").begin_list();
    for (int p = 0; p < o.people; ++p) {
      CocoAnnotation a;
      const auto image = static_cast<int>(rng.below(o.images));
      a.id = 183020 + p;
      a.image_id = image_id(image);
      const double h = 20 * std::pow(20, rng.uniform()), w = h * rng.uniform(0.3, 0.9);
      a.box = {std::round(100 * rng.uniform(0, 600)) / 100, std::round(100 * rng.uniform(0, 400)) / 100,
               std::round(100 * w) / 100, std::round(100 * h) / 100};
      a.area = std::round(10000 * w * h * 0.6) / 10000;
      a.iscrowd = rng.below(50) == 0;
      const bool labelled = rng.below(5) != 0;
      for (int k = 0; k < kJoints; ++k) {
        const double v = !labelled || rng.below(3) == 0 ? 0 : rng.below(6) == 0 ? 1 : 2;
        a.keypoints.push_back(v == 0 ? 0 : std::round(a.box.x + w * rng.uniform()));
        a.keypoints.push_back(v == 0 ? 0 : std::round(a.box.y + h * rng.uniform()));
        a.keypoints.push_back(v);
        a.num_keypoints += v > 0 ? 1 : 0;
      }
      json.begin_object().key("segmentation").begin_list().begin_list();
      for (int i = 0; i < 50; ++i) json.value(JsonFixed{rng.uniform(0, 640), 2});
      json.end().end().member("num_keypoints", a.num_keypoints).member("area", a.area);
      json.member("iscrowd", a.iscrowd ? 1 : 0).member("keypoints", a.keypoints).member("image_id", a.image_id);
      json.member("bbox", std::array{a.box.x, a.box.y, a.box.w, a.box.h}).member("category_id", 1);
      json.member("id", a.id).end();
      people[image].push_back(std::move(a));
    }
    json.end().key("categories").begin_list().begin_object();
    json.member("supercategory", "person").member("id", 1).member("name", "person").end().end().end();
    return text;
  }

  // Makes detections: most are people of the ground truth with errors of varying size.
  static std::vector<PersonResult> detections(const EvalBenchOptions& o, Philox& rng,
                                              const std::vector<std::vector<CocoAnnotation>>& people) {
    std::vector<PersonResult> results;
    for (int d = 0; d < o.detections; ++d) {
      PersonResult r;
      const auto image = static_cast<int>(rng.below(o.images));
      r.image_id = image_id(image);
      const bool found = !people[image].empty() && rng.below(4) != 0;
      const CocoAnnotation* person = found ? &people[image][rng.below(people[image].size())] : nullptr;
      const double noise = found ? std::sqrt(person->area) * std::pow(10, rng.uniform(-2.5, -0.5)) : 0;
      for (int k = 0; k < kJoints; ++k) {
        const bool near = found && person->keypoints[3 * k + 2] > 0;
        const double x = near ? person->keypoints[3 * k] + rng.normal(0, noise) : rng.uniform(0, 640);
        const double y = near ? person->keypoints[3 * k + 1] + rng.normal(0, noise) : rng.uniform(0, 480);
        r.keypoints.insert(r.keypoints.end(),
                           {static_cast<float>(x), static_cast<float>(y), static_cast<float>(rng.uniform())});
      }
      r.score = found ? rng.uniform(0.2, 1) : rng.uniform(0, 0.6);
      results.push_back(std::move(r));
    }
    return results;
  }
};

struct Reading {
  std::string what;
  double bytes = 0, seconds = 0, cpu = 0, copy = 0, rapidjson = 0;  // medians
};

template <class Read>
Reading measure_reading(const std::string& what, const fs::path& path, const EvalBenchOptions& o, const Read& read) {
  struct Nothing : rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Nothing> {};
  std::vector<std::byte> target(fs::file_size(path), std::byte{1});
  std::vector<double> own, cpu, copy, sax;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    const double a = now();
    {
      const MappedFile file(path);
      std::memcpy(target.data(), file.bytes().data(), target.size());
    }
    const double b = now(), busy = processor_seconds();
    read(path);
    const double c = now(), used = processor_seconds() - busy;
    {
      const MappedFile file(path);
      rapidjson::MemoryStream stream(file.text().data(), file.text().size());
      rapidjson::Reader reader;
      Nothing nothing;
      constexpr unsigned flags =
          rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag;
      check(!reader.Parse<flags>(stream, nothing).IsError(), "{}: RapidJSON refuses it", path.string());
    }
    const double d = now();
    if (i < o.warmup) continue;
    copy.push_back(b - a);
    own.push_back(c - b);
    cpu.push_back(used);
    sax.push_back(d - c);
  }
  return {what, static_cast<double>(target.size()), median(own), median(cpu), median(copy), median(sax)};
}

std::string digest(const CocoEvalResult& r) {
  Sha256 sha;
  for (const std::vector<double>* array : {&r.precision, &r.recall, &r.scores})
    sha.update(std::as_bytes(std::span(*array)));
  sha.update(std::as_bytes(std::span(r.stats)));
  return sha.hex();
}

// Returns the peak memory in bytes of the program coco_eval in this program's folder, run on these files; 0 if there is
// no such program.
double peak_memory(const Files& files, const fs::path& dt) {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path() / "coco_eval";
  if (error || !fs::exists(program)) return 0;
  const fs::path report = files.folder / "report.json";
  std::vector<std::string> words = {program.string(), "--gt", files.gt.string(), "--dt",         dt.string(),
                                    "--threads",      "1",    "--json",          report.string()};
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t quiet;
  posix_spawn_file_actions_init(&quiet);
  posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&quiet, 2, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int refused = ::posix_spawn(&child, program.c_str(), &quiet, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&quiet);
  if (refused != 0) return 0;
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) return 0;
  // This is the program's own count. The system's count for a child includes the memory of the parent that spawned it.
  return parse_json_file(report)["peak_bytes"].GetDouble();
}

void write_reading(JsonWriter& json, const Reading& r) {
  json.begin_object().member("file", r.what).member("bytes", JsonFixed{r.bytes, 0});
  json.member("seconds", JsonFixed{r.seconds}).member("cpu_seconds", JsonFixed{r.cpu});
  json.member("mb_per_s", JsonFixed{r.bytes / r.seconds / 1e6, 1});
  json.member("over_memcpy", JsonFixed{r.seconds / r.copy, 2});
  json.member("rapidjson_over_ours", JsonFixed{r.rapidjson / r.seconds, 3}).end();
}

}  // namespace

void bench_eval(const EvalBenchOptions& o) {
  const Files files(o);
  const auto read_dt = [](const fs::path& path) { return read_coco_detections(path); };
  std::vector<Reading> readings;
  readings.push_back(measure_reading("annotations, with polygons", files.gt, o,
                                     [](const fs::path& path) { return read_coco(path, kJoints); }));
  readings.push_back(measure_reading("results, two decimals, one line", files.dt, o, read_dt));
  readings.push_back(measure_reading("results, key_results.json", files.seed, o, read_dt));
  readings.push_back(measure_reading("results, official, every digit", files.official, o, read_dt));

  const CocoAnnotations gt = read_coco(files.gt, kJoints);
  const std::vector<CocoDetection> dt = read_coco_detections(files.dt);
  std::vector<double> match, accumulate, both, cpu;
  CocoEvalResult result;
  for (int i = 0; i < o.warmup + o.repeats; ++i) {
    const double busy = processor_seconds();
    result = evaluate_coco(gt, dt);
    const double used = processor_seconds() - busy;
    if (i < o.warmup) continue;
    cpu.push_back(used);
    match.push_back(result.match_seconds);
    accumulate.push_back(result.accumulate_seconds);
    both.push_back(match.back() + accumulate.back());
  }
  const std::string one = digest(result);
  bool same = true;
  for (const int threads : {2, 8}) same = same && digest(evaluate_coco(gt, dt, {.threads = threads})) == one;

  const double file_bytes = readings[0].bytes + readings[1].bytes;
  const double peak = peak_memory(files, files.dt), peak_official = peak_memory(files, files.official);
  const double peak_ratio = peak / file_bytes, official_ratio = peak_official / (readings[0].bytes + readings[3].bytes);
  if (o.json) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().member("mode", "eval").member("images", o.images).member("people", o.people);
    json.member("detections", o.detections).member("repeats", o.repeats).key("read").begin_list();
    for (const Reading& r : readings) write_reading(json, r);
    json.end()
        .member("match_seconds", JsonFixed{median(match)})
        .member("accumulate_seconds", JsonFixed{median(accumulate)});
    json.member("match_and_accumulate_seconds", JsonFixed{median(both)});
    json.member("match_and_accumulate_cpu_seconds", JsonFixed{median(cpu)});
    json.member("peak_bytes", JsonFixed{peak, 0}).member("peak_over_files", JsonFixed{peak_ratio, 3});
    json.member("peak_over_files_official", JsonFixed{official_ratio, 3}).member("ap", result.stats[0]);
    json.member("sha256", one).member("same_bytes_at_1_2_8_threads", same);
    json.member("remarks", with_flags(coco_remark_list(result))).end();
    fmt::print("{}\n", text);
    return;
  }
  fmt::print("{}, {}, {}; one core, medians of {}\n", counted(o.images, "image"), counted_people(o.people),
             counted(o.detections, "detection"), o.repeats);
  fmt::print("  {:<34} {:>8} {:>9} {:>8} {:>9} {:>13} {:>14}\n", "reading", "MB", "ms", "MB/s", "MB/cpu s",
             "over memcpy", "RapidJSON SAX");
  for (const Reading& r : readings) {
    fmt::print("  {:<34} {:>8.1f} {:>9.1f} {:>8.0f} {:>9.0f} {:>12.1f}x {:>13.2f}x\n", r.what, r.bytes / 1e6,
               1e3 * r.seconds, r.bytes / r.seconds / 1e6, r.bytes / r.cpu / 1e6, r.seconds / r.copy,
               r.rapidjson / r.seconds);
  }
  fmt::print(
      "  (over memcpy: as long as copying the bytes so many times; RapidJSON SAX: its no-op pass takes so many "
      "times as long)\n");
  fmt::print("  {:<34} {:>8} {:>9.1f} ms\n", "match", "", 1e3 * median(match));
  fmt::print("  {:<34} {:>8} {:>9.1f} ms\n", "accumulate", "", 1e3 * median(accumulate));
  fmt::print("  {:<34} {:>8} {:>9.1f} ms   ({:.1f} of processor time); AP {:.3f}\n", "both", "", 1e3 * median(both),
             1e3 * median(cpu), result.stats[0]);
  for (const std::string& remark : with_flags(coco_remark_list(result))) fmt::print("  remark: {}\n", remark);
  if (peak > 0) {
    fmt::print("  {:<34} {:>8.1f} MB = {:.2f} x the files' size; with the official file {:.1f} MB = {:.2f} x\n",
               "peak memory of coco_eval", peak / 1e6, peak_ratio, peak_official / 1e6, official_ratio);
  } else {
    fmt::print("  peak memory: not measured (no program coco_eval beside this one)\n");
  }
  fmt::print("  {:<34} {}, SHA-256 of the arrays {}\n", "1, 2 and 8 threads", same ? "same bytes" : "DIFFERENT BYTES",
             one.substr(0, 16));
}

}  // namespace hr

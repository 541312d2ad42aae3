#include "tools/synth/annotations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/philox.h"
#include "data/formats/skeleton.h"
#include "tools/cli/progress.h"

namespace hr {
namespace {

// Rounds to at most two decimals, as COCO writes polygons and boxes.
double two_decimals(double v) { return static_cast<double>(std::llround(v * 100)) / 100; }

struct Person {
  int64_t id = 0, image_id = 0;
  double x = 0, y = 0, w = 0, h = 0;
  bool labelled = false, crowd = false;
};

// Writes an outline, or run lengths for a crowd.
void write_segmentation(JsonWriter& json, const Person& p, Philox& random) {
  json.key("segmentation");
  if (p.crowd) {
    json.begin_object().key("counts").begin_list();
    const int runs = 100 + static_cast<int>(random.below(300));
    for (int i = 0; i < runs; ++i) json.value(random.below(900));
    json.end().member("size", std::array{480, 640}).end();
    return;
  }
  json.begin_list().begin_list();
  const int corners = 12 + static_cast<int>(random.below(30));
  for (int i = 0; i < corners; ++i) {
    const double angle = 6.283185307179586 * i / corners, radius = random.uniform(0.6, 1);
    json.value(two_decimals(p.x + p.w / 2 * (1 + radius * std::cos(angle))));
    json.value(two_decimals(p.y + p.h / 2 * (1 + radius * std::sin(angle))));
  }
  json.end().end();
}

void write_person(JsonWriter& json, const Person& p, Philox& random, int joints) {
  json.begin_object();
  write_segmentation(json, p, random);
  int labelled = 0;
  std::vector<int64_t> keypoints;
  for (int k = 0; k < joints; ++k) {
    const auto v = p.labelled && random.below(4) > 0 ? 1 + random.below(2) : 0;
    labelled += static_cast<int>(v > 0);
    const auto x = v > 0 ? static_cast<int64_t>(p.x + random.uniform() * p.w) : 0,
               y = v > 0 ? static_cast<int64_t>(p.y + random.uniform() * p.h) : 0;
    keypoints.insert(keypoints.end(), {x, y, static_cast<int64_t>(v)});
  }
  json.member("num_keypoints", labelled).member("area", two_decimals(0.6 * p.w * p.h));
  json.member("iscrowd", static_cast<int>(p.crowd)).member("keypoints", keypoints).member("image_id", p.image_id);
  json.member("bbox", std::array{p.x, p.y, p.w, p.h} | std::views::transform(two_decimals));
  json.member("category_id", 1).member("id", p.id).end();
}

void write_picture(JsonWriter& json, int i) {
  const std::string name = fmt::format("{:012}.jpg", i + 1);
  json.begin_object().member("license", 1 + i % 8).member("file_name", name);
  json.member("coco_url", "http://images.cocodataset.org/train2017/" + name);
  json.member("height", 480).member("width", 640).member("date_captured", "2013-11-14 11:18:45");
  json.member("flickr_url",
              fmt::format("http://farm{}.staticflickr.com/{}/{}_z.jpg", 1 + i % 9, 1000 + i % 9000, 2000000000 + i));
  json.member("id", i + 1).end();
}

void write_category(JsonWriter& json, const Skeleton& skeleton) {
  json.begin_object().member("supercategory", "person").member("id", 1).member("name", "person");
  json.member("keypoints", skeleton.names).key("skeleton").begin_list();
  for (const auto& [a, b] : skeleton.limbs) json.value(std::array{a + 1, b + 1});
  json.end().end();
}

Person invent_person(Philox& random, int64_t id, int64_t image_id) {
  Person p;
  p.id = id;
  p.image_id = image_id;
  p.w = std::exp(random.uniform(2.5, 5.8));
  p.h = std::min(470.0, p.w * random.uniform(0.8, 2.8));
  p.x = random.uniform(0, 639 - p.w);
  p.y = random.uniform(0, 479 - p.h);
  p.crowd = random.below(100) < 1;
  p.labelled = !p.crowd && random.below(1000) < 577;
  return p;
}

}  // namespace

SynthAnnotationCounts synth_annotations(const SynthAnnotationOptions& o) {
  check(o.images >= 1 && o.images <= 10'000'000, "--train-images {}: must be from 1 to 10000000", o.images);
  const Skeleton& skeleton = coco_skeleton();
  AtomicFile file(o.file);
  SynthAnnotationCounts counts;
  counts.images = o.images;
  std::string out;
  const auto flush = [&] {
    file.write(out);
    counts.bytes += out.size();
    out.clear();
  };
  JsonWriter json(out);
  json.begin_object().key("info").begin_object();
  json.member("description", "invented annotations of train2017's size").member("version", "1.0").end();
  json.key("licenses").begin_list().end();
  json.key("images").begin_list();
  for (int i = 0; i < o.images; ++i) {
    write_picture(json, i);
    if (out.size() > (1U << 20)) flush();
  }
  json.end().key("annotations").begin_list();
  Progress progress("annotations", o.images);
  for (int i = 0; i < o.images; ++i) {
    Philox random(o.seed, 77, static_cast<uint64_t>(i));
    // A little more than half of the pictures show people, four on average.
    if (random.below(100) >= 54) continue;
    int people = 1;
    while (people < 20 && random.below(100) < 76) ++people;
    for (int k = 0; k < people; ++k) {
      const Person p = invent_person(random, 200000 + 10 * counts.annotations, i + 1);
      write_person(json, p, random, skeleton.joints());
      ++counts.annotations;
      counts.crowds += static_cast<int64_t>(p.crowd);
      counts.labelled += static_cast<int64_t>(p.labelled);
    }
    if (out.size() > (1U << 20)) {
      flush();
      progress.update(i + 1);
    }
  }
  json.end().key("categories").begin_list();
  write_category(json, skeleton);
  json.end().end();
  flush();
  file.commit();
  progress.update(o.images);
  progress.finish();
  return counts;
}

}  // namespace hr

#include "tools/synth/annotations.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/io/json.h"
#include "core/philox.h"
#include "data/formats/skeleton.h"
#include "tools/cli/progress.h"

namespace hr {
namespace {

// Numbers with two decimals and no trailing zeros, as COCO writes polygons and boxes.
void put(std::string& out, double v) {
  const auto hundredths = static_cast<int64_t>(std::llround(v * 100));
  fmt::format_to(std::back_inserter(out), "{}", hundredths / 100);
  const int64_t rest = hundredths % 100;
  if (rest == 0) return;
  out += '.';
  out += static_cast<char>('0' + rest / 10);
  if (rest % 10 != 0) out += static_cast<char>('0' + rest % 10);
}

struct Person {
  int64_t id = 0, image_id = 0;
  double x = 0, y = 0, w = 0, h = 0;
  bool labelled = false, crowd = false;
};

void put_person(std::string& out, const Person& p, Philox& random, int joints) {
  out += "{\"segmentation\": ";
  if (p.crowd) {  // run lengths
    out += "{\"counts\": [";
    const int runs = 100 + static_cast<int>(random.below(300));
    for (int i = 0; i < runs; ++i)
      fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? "" : ", ", random.below(900));
    out += "], \"size\": [480, 640]}";
  } else {
    out += "[[";
    const int corners = 12 + static_cast<int>(random.below(30));
    for (int i = 0; i < corners; ++i) {
      const double angle = 6.283185307179586 * i / corners, radius = random.uniform(0.6, 1);
      if (i > 0) out += ", ";
      put(out, p.x + p.w / 2 * (1 + radius * std::cos(angle)));
      out += ", ";
      put(out, p.y + p.h / 2 * (1 + radius * std::sin(angle)));
    }
    out += "]]";
  }
  int labelled = 0;
  std::string keypoints;
  for (int k = 0; k < joints; ++k) {
    const auto v = p.labelled && random.below(4) > 0 ? 1 + random.below(2) : 0;
    labelled += static_cast<int>(v > 0);
    const auto x = v > 0 ? static_cast<int64_t>(p.x + random.uniform() * p.w) : 0,
               y = v > 0 ? static_cast<int64_t>(p.y + random.uniform() * p.h) : 0;
    fmt::format_to(std::back_inserter(keypoints), "{}{}, {}, {}", k == 0 ? "" : ", ", x, y, v);
  }
  fmt::format_to(std::back_inserter(out), ", \"num_keypoints\": {}, \"area\": ", labelled);
  put(out, 0.6 * p.w * p.h);
  fmt::format_to(std::back_inserter(out), ", \"iscrowd\": {}, \"keypoints\": [{}], \"image_id\": {}, \"bbox\": [",
                 static_cast<int>(p.crowd), keypoints, p.image_id);
  for (const double v : {p.x, p.y, p.w, p.h}) {
    put(out, v);
    out += ", ";
  }
  out.resize(out.size() - 2);
  fmt::format_to(std::back_inserter(out), "], \"category_id\": 1, \"id\": {}}}", p.id);
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
  out +=
      R"({"info": {"description": "invented annotations of train2017's size", "version": "1.0"}, "licenses": [], "images": [)";
  for (int i = 0; i < o.images; ++i) {
    fmt::format_to(std::back_inserter(out),
                   R"({}{{"license": {}, "file_name": "{:012}.jpg", "coco_url": "http://images.cocodataset.org/)"
                   R"(train2017/{:012}.jpg", "height": 480, "width": 640, "date_captured": "2013-11-14 11:18:45", )"
                   R"("flickr_url": "http://farm{}.staticflickr.com/{}/{}_z.jpg", "id": {}}})",
                   i == 0 ? "" : ", ", 1 + i % 8, i + 1, i + 1, 1 + i % 9, 1000 + i % 9000, 2000000000 + i, i + 1);
    if (out.size() > (1U << 20)) flush();
  }
  out += "], \"annotations\": [";
  Progress progress("annotations", o.images);
  for (int i = 0; i < o.images; ++i) {
    Philox random(o.seed, 77, static_cast<uint64_t>(i));
    // A little more than half of the pictures show people, four on average.
    if (random.below(100) >= 54) continue;
    int people = 1;
    while (people < 20 && random.below(100) < 76) ++people;
    for (int k = 0; k < people; ++k) {
      Person p;
      p.id = 200000 + 10 * counts.annotations;
      p.image_id = i + 1;
      p.w = std::exp(random.uniform(2.5, 5.8));
      p.h = std::min(470.0, p.w * random.uniform(0.8, 2.8));
      p.x = random.uniform(0, 639 - p.w);
      p.y = random.uniform(0, 479 - p.h);
      p.crowd = random.below(100) < 1;
      p.labelled = !p.crowd && random.below(1000) < 577;
      if (counts.annotations > 0) out += ", ";
      put_person(out, p, random, skeleton.joints());
      ++counts.annotations;
      counts.crowds += static_cast<int64_t>(p.crowd);
      counts.labelled += static_cast<int64_t>(p.labelled);
    }
    if (out.size() > (1U << 20)) {
      flush();
      progress.update(i + 1);
    }
  }
  out += "], \"categories\": [{\"supercategory\": \"person\", \"id\": 1, \"name\": \"person\", \"keypoints\": [";
  for (const std::string& name : skeleton.names) out += json_quote(name) + ", ";
  out.resize(out.size() - 2);
  out += "], \"skeleton\": [";
  for (const auto& [a, b] : skeleton.limbs) fmt::format_to(std::back_inserter(out), "[{}, {}], ", a + 1, b + 1);
  out.resize(out.size() - 2);
  out += "]}]}";
  flush();
  file.commit();
  progress.update(o.images);
  progress.finish();
  return counts;
}

}  // namespace hr

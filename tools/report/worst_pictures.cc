#include "tools/report/worst_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "core/counted.h"
#include "core/error.h"
#include "data/draw/draw.h"
#include "data/formats/encode_jpeg.h"

namespace hr {
namespace {

constexpr size_t kMostBytes = 40'000;
constexpr double kMostWidth = 320, kMostHeight = 300;  // The largest size of each of the two halves, in pixels.

struct Extent {
  double x0 = 1e9, y0 = 1e9, x1 = -1e9, y1 = -1e9;
  void add(double x, double y) {
    if (!(std::isfinite(x) && std::isfinite(y))) return;
    x0 = std::min(x0, x), y0 = std::min(y0, y);
    x1 = std::max(x1, x), y1 = std::max(y1, y);
  }
};

// The people of a picture, annotated and predicted. Each has [joints, 3] numbers: x, y, and visibility or score.
struct Scene {
  int image_index = 0;
  std::vector<std::vector<float>> annotated, predicted;
};

// Returns the part of the picture that contains the people and a margin around them.
Region region_of(const Scene& scene, int width, int height) {
  Extent all;
  for (const auto& people : {scene.annotated, scene.predicted}) {
    for (const std::vector<float>& joints : people) {
      for (size_t k = 0; k + 2 < joints.size(); k += 3) {
        if (joints[k + 2] <= 0) continue;
        all.add(std::clamp<double>(joints[k], 0, width), std::clamp<double>(joints[k + 1], 0, height));
      }
    }
  }
  if (all.x1 < all.x0) all = {0, 0, static_cast<double>(width), static_cast<double>(height)};
  const double margin = 0.12 * std::max({all.x1 - all.x0, all.y1 - all.y0, 60.0});
  const int x0 = std::clamp(static_cast<int>(all.x0 - margin), 0, width - 1);
  const int y0 = std::clamp(static_cast<int>(all.y0 - margin), 0, height - 1);
  const int x1 = std::clamp(static_cast<int>(all.x1 + margin), x0 + 1, width);
  const int y1 = std::clamp(static_cast<int>(all.y1 + margin), y0 + 1, height);
  return {x0, y0, x1 - x0, y1 - y0};
}

Image cut(const ImageView& view, const Region& part) {
  Image image(part.w, part.h);
  for (int y = 0; y < part.h; ++y) {
    const uint8_t* row = view.at(part.x, part.y + y);
    std::copy_n(row, static_cast<size_t>(part.w) * 3, image.at(0, y));
  }
  return image;
}

Image with_people(const Image& background, const Skeleton& skeleton, std::vector<std::vector<float>> people,
                  const Region& part, double scale, const PersonStyle& style) {
  Image image = background;
  for (std::vector<float>& joints : people) {
    for (size_t k = 0; k + 2 < joints.size(); k += 3) {
      joints[k] = static_cast<float>((joints[k] - part.x + 0.5) * scale - 0.5);
      joints[k + 1] = static_cast<float>((joints[k + 1] - part.y + 0.5) * scale - 0.5);
    }
    draw_person(image, skeleton, joints, style);
  }
  return image;
}

// Decodes the part of the picture that will be shown, and sets `part` to it. A pack contains only the surroundings of
// people. If it lacks pixels of the part, the largest surroundings of one person are shown instead.
ImageView pixels_of(const PoseDataset& data, const Scene& scene, SampleWorkspace& workspace, Region& part) {
  const CocoImage& info = data.annotations().images.at(static_cast<size_t>(scene.image_index));
  int width = info.width, height = info.height;
  if (width <= 0 || height <= 0) {  // Annotation files may lack the size of a picture; the decoder knows it.
    const ImageView view = data.decode(scene.image_index, {0, 0, 1, 1}, workspace);
    width = view.width;
    height = view.height;
  }
  part = region_of(scene, width, height);
  try {
    return data.decode(scene.image_index, part, workspace);
  } catch (const Error&) {
    Region largest;
    for (size_t i = 0; i < data.size(); ++i) {
      if (data.people()[i].image_index != scene.image_index) continue;
      if (const Region reach = data.reach(i); reach.area() > largest.area()) largest = reach;
    }
    part = largest;
    return data.decode(scene.image_index, part, workspace);
  }
}

Image side_by_side(const PoseDataset& data, const Scene& scene, SampleWorkspace& workspace) {
  Region part;
  const ImageView view = pixels_of(data, scene, workspace, part);
  const double scale = std::min({kMostWidth / part.w, kMostHeight / part.h, 4.0});
  const int w = std::max(1, static_cast<int>(part.w * scale)), h = std::max(1, static_cast<int>(part.h * scale));
  const Image background = resized(cut(view, part), w, h);
  constexpr int kBetween = 4;
  Image both(2 * w + kBetween, h);
  fill(both, {255, 255, 255});
  paste(both, with_people(background, data.skeleton(), scene.annotated, part, scale, {.threshold = 0, .solid = 1}), 0,
        0);
  paste(both,
        with_people(background, data.skeleton(), scene.predicted, part, scale,
                    {.threshold = std::numeric_limits<float>::lowest(), .solid = 0.2F}),
        w + kBetween, 0);
  return both;
}

std::string small_jpeg(Image image) {
  for (;;) {
    for (const int quality : {85, 75, 60, 45}) {
      std::string bytes = encode_jpeg(image, quality);
      if (bytes.size() <= kMostBytes) return bytes;
    }
    image = resized(image, std::max(1, image.width * 3 / 4), std::max(1, image.height * 3 / 4));
  }
}

// Returns the poses to draw, the best first: as many as there are people, and further ones only if their score is not
// negligible, because a detector proposes many boxes.
std::vector<std::vector<float>> drawn(std::vector<const PersonResult*> poses, size_t annotated) {
  std::ranges::stable_sort(poses, std::greater<>{}, [](const PersonResult* p) { return p->score; });
  std::vector<std::vector<float>> people;
  for (const PersonResult* pose : poses) {
    if (people.size() < annotated || (pose->score >= 0.1 && people.size() < 30)) people.push_back(pose->keypoints);
  }
  return people;
}

}  // namespace

std::vector<PictureScore> oks_scores(const CocoAnnotations& truth, const std::vector<CocoDetection>& detections,
                                     CocoEvalOptions options) {
  options.keep_matches = true;
  struct Sum {
    double oks = 0;
    int64_t people = 0;
  };
  std::map<int64_t, Sum> pictures;
  for (const CocoImageMatches& m : evaluate_coco(truth, detections, options).matches) {
    for (size_t p = 0; p < m.people.size(); ++p) {
      const CocoAnnotation& person = truth.annotations.at(static_cast<size_t>(m.people[p]));
      if (coco_person_ignored(person, options.rules)) continue;
      double best = 0;
      for (size_t d = 0; d < m.detections.size(); ++d) best = std::max(best, m.oks.at(d * m.people.size() + p));
      Sum& sum = pictures[m.image_id];
      sum.oks += best;
      ++sum.people;
    }
  }
  std::vector<PictureScore> scores;
  for (const auto& [id, sum] : pictures) {
    const double mean = sum.oks / static_cast<double>(sum.people);
    scores.push_back({id, 1 - mean, fmt::format("mean OKS {:.2f} of {}", mean, counted_people(sum.people))});
  }
  return scores;
}

std::vector<PictureScore> distance_scores(const PoseDataset& data, std::span<const PersonResult> results) {
  struct Sum {
    double distance = 0;
    int64_t people = 0;
  };
  std::map<int64_t, Sum> pictures;
  for (size_t i = 0; i < std::min(results.size(), data.size()); ++i) {
    const Person& person = data.people()[i];
    const double size = std::max({person.box.w, person.box.h, 1.0});
    double distance = 0, joints = 0;
    for (size_t k = 0; k + 2 < std::min(person.joints.size(), results[i].keypoints.size()); k += 3) {
      if (person.joints[k + 2] <= 0) continue;
      distance +=
          std::hypot(person.joints[k] - results[i].keypoints[k], person.joints[k + 1] - results[i].keypoints[k + 1]);
      ++joints;
    }
    if (joints == 0 || !std::isfinite(distance)) continue;
    Sum& sum = pictures[person.image_id];
    sum.distance += distance / joints / size;
    ++sum.people;
  }
  std::vector<PictureScore> scores;
  for (const auto& [id, sum] : pictures) {
    const double mean = sum.distance / static_cast<double>(sum.people);
    scores.push_back({id, mean,
                      fmt::format("joints are off by {:.0f}% of the size of the person, mean of {}", 100 * mean,
                                  counted_people(sum.people))});
  }
  return scores;
}

std::vector<ReportPicture> worst_pictures(const PoseDataset& data, std::span<const PersonResult> results,
                                          std::vector<PictureScore> scores, size_t count) {
  std::ranges::stable_sort(scores, std::greater<>{}, &PictureScore::badness);
  std::map<int64_t, int> index_of;
  for (size_t i = 0; i < data.annotations().images.size(); ++i) {
    index_of[data.annotations().images[i].id] = static_cast<int>(i);
  }
  SampleWorkspace workspace;
  std::vector<ReportPicture> pictures;
  for (const PictureScore& score : scores) {
    if (pictures.size() >= count) break;
    const auto index = index_of.find(score.image_id);
    if (index == index_of.end()) continue;
    Scene scene{.image_index = index->second, .annotated = {}, .predicted = {}};
    const size_t numbers = data.skeleton().names.size() * 3;
    for (const CocoAnnotation& person : data.annotations().annotations) {
      if (person.image_id != score.image_id || person.keypoints.size() != numbers) continue;
      scene.annotated.emplace_back(person.keypoints.begin(), person.keypoints.end());
    }
    std::vector<const PersonResult*> poses;
    for (const PersonResult& pose : results) {
      if (pose.image_id == score.image_id && pose.keypoints.size() == numbers) poses.push_back(&pose);
    }
    scene.predicted = drawn(std::move(poses), std::max<size_t>(scene.annotated.size(), 1));
    try {
      const CocoImage& image = data.annotations().images[static_cast<size_t>(scene.image_index)];
      pictures.push_back(
          {small_jpeg(side_by_side(data, scene, workspace)), fmt::format("{}: {}", image.file_name, score.said)});
    } catch (const Error&) {
      // The list of bad samples names the pictures that cannot be read.
    }
  }
  return pictures;
}

}  // namespace hr

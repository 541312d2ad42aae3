// Makes a picture: background, people and objects from far to near. Then the owners of the pixels tell who is visible.
#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "tools/synth/figure.h"
#include "tools/synth/random.h"
#include "tools/synth/scene_background.h"
#include "tools/synth/scene_shapes.h"
#include "tools/synth/synth.h"

namespace hr {
namespace synth_detail {
namespace {

// How difficult the pictures are:
constexpr double kFrontObject = 0.12;       // pictures with an object in front of a person
constexpr double kCloseUp = 0.08;           // people cut by the picture's lower edge
constexpr double kMayOverlap = 0.15;        // people who may stand well in front of another
constexpr double kLeastVisible = 0.40;      // share of a person that must be visible for joints to be labelled
constexpr double kLeastArea = 32.0 * 32.0;  // mask pixels, COCO's bound of "small"; below it joints are not labelled
constexpr double kLeastMask = 60;           // mask pixels; below it the person is not annotated at all

// ---- things -------------------------------------------------------------------------------------------------------

void contact_shadow(Canvas& canvas, const Figure& f) {
  const Extent e = f.extent();
  const float y = std::max({f.heels[0].y, f.heels[1].y, f.toes[0].y, f.toes[1].y}) + 0.015F * f.stature;
  const float cx = (e.x0 + e.x1) / 2, rx = std::max(0.30F * (e.x1 - e.x0), 0.12F * f.stature), ry = 0.028F * f.stature;
  Extent box;
  box.add({cx - rx, y - ry}, 0);
  box.add({cx + rx, y + ry}, 0);
  rasterise(
      canvas.image.width, canvas.image.height, box.x0, box.y0, box.x1, box.y1,
      [=](float x, float y2) {
        return std::hypot((x - cx) / rx, (y2 - y) / ry) - 0.5F;
      },  // 1 in the middle, 0 at the rim
      [&](int x, int y2, float coverage) {
        put(canvas.image.at(x, y2), {20, 20, 25}, 0.45F * coverage);
      });
}

// Paints a seat behind the thighs. Shadows and seats have no owner, but they cover the people behind them.
void seat(Canvas& canvas, Philox& rng, const Figure& f, uint16_t owner) {
  const Rgb color = random_color(rng);
  const float s = f.stature, x = f.spine_bottom.x, y = f.spine_bottom.y + 0.05F * s;
  const float bottom = std::max({f.heels[0].y, f.heels[1].y, y + 0.2F * s}), half = uniform(rng, 0.13, 0.22) * s;
  if (chance(rng, 0.5))
    slab({canvas, x - half, y - uniform(rng, 0.2, 0.34) * s, 2 * half, 0.3F * s, color * 0.8F, owner});  // back rest
  slab({canvas, x - half, y, 2 * half, 0.05F * s, color, owner});
  if (chance(rng, 0.5)) {
    slab({canvas, x - half, y + 0.05F * s, 2 * half, bottom - y - 0.05F * s, color * 0.7F, owner});
  } else {
    for (const float side : {-1.0F, 0.85F})
      slab({canvas, x + side * half, y, 0.15F * half, bottom - y, color * 0.6F, owner});
  }
}

// Paints an object in front of a person: it hides a strip or the lower legs, seldom more.
void thing(Canvas& canvas, Philox& rng, const Figure& f) {
  const auto owner = static_cast<uint16_t>(kObject << 8);
  const Extent e = f.extent();
  const float s = f.stature, x = uniform(rng, e.x0, e.x1), h = e.y1 - e.y0;
  const Rgb color = random_color(rng);
  const auto below = static_cast<float>(canvas.image.height);
  switch (whole(rng, 0, 4)) {
    case 0:
      stick({canvas,
             {x, e.y0 - s * uniform(rng, 0.0, 0.3)},
             {x, e.y1 + 0.05F * s},
             uniform(rng, 0.012, 0.035) * s,
             uniform(rng, 0.015, 0.04) * s,
             color,
             owner});
      break;
    case 1: {  // a box or a low wall
      const float w = uniform(rng, 0.2, 0.5) * s, tall = uniform(rng, 0.08, 0.26) * h;
      slab({canvas, x - w / 2, e.y1 - tall, w, tall + 0.03F * s, color, owner});
      slab({canvas, x - w / 2, e.y1 - tall, w, 0.03F * s, color * 1.2F, owner});
      break;
    }
    case 2:
      disc({canvas, {x, e.y1 - uniform(rng, 0, 0.2) * h}, uniform(rng, 0.05, 0.12) * s, color, owner});
      break;
    case 3: {  // a table
      const float w = uniform(rng, 0.4, 0.8) * s, top = e.y1 - uniform(rng, 0.25, 0.42) * h,
                  thick = uniform(rng, 0.025, 0.05) * s;
      slab({canvas, x - w / 2, top, w, thick, color, owner});
      for (const float leg : {-0.46F, 0.42F})
        slab({canvas, x + leg * w, top + thick, 0.04F * w, std::min(e.y1, below) - top, color * 0.7F, owner});
      break;
    }
    default: {  // a bush
      const Rgb leaf{uniform(rng, 30, 110), uniform(rng, 80, 150), uniform(rng, 25, 80)};
      const float r = uniform(rng, 0.05, 0.1) * s;
      for (int i = 0; i < 6; ++i) {
        disc({canvas,
              {x + uniform(rng, -2, 2) * r, e.y1 - uniform(rng, 0, 1.5) * r},
              r * uniform(rng, 0.7, 1.1),
              leaf * uniform(rng, 0.8, 1.15),
              owner});
      }
    }
  }
}

// ---- people in the picture ----------------------------------------------------------------------------------------

float overlap(const Extent& a, const Extent& b) {  // intersection over the smaller box
  const float w = std::min(a.x1, b.x1) - std::max(a.x0, b.x0), h = std::min(a.y1, b.y1) - std::max(a.y0, b.y0);
  if (w <= 0 || h <= 0) return 0;
  return w * h / std::min((a.x1 - a.x0) * (a.y1 - a.y0), (b.x1 - b.x0) * (b.y1 - b.y0));
}

std::vector<Figure> gather(Philox& rng, int width, int height, float ground) {
  const auto w = static_cast<float>(width), h = static_cast<float>(height);
  const double kind = rng.uniform();
  const int people = kind < 0.34 ? 1 : kind < 0.62 ? 2 : kind < 0.82 ? 3 : kind < 0.93 ? 4 : 5;
  std::vector<Figure> crowd;
  std::vector<Extent> taken;
  for (int i = 0; i < people; ++i) {
    const bool close_up = i == 0 && chance(rng, kCloseUp);
    // Sizes are log-uniform, so that small ones are as frequent as large ones.
    const double least = people == 1 ? 0.42 : 0.28, most = people == 1 ? 1.0 : people < 4 ? 0.92 : 0.75;
    const double part = close_up ? rng.uniform(1.15, 1.9) : least * std::pow(most / least, rng.uniform());
    Figure f = make_figure(rng, static_cast<float>(part) * std::min(h, 1.25F * w));
    const Extent e = f.extent();
    const float fw = e.x1 - e.x0, fh = e.y1 - e.y0;
    const float tolerated = chance(rng, kMayOverlap) ? 0.55F : 0.18F;
    const float outside = chance(rng, 0.12) ? 0.4F * fw : 0.02F * fw;  // how far the sides of the picture may cut them
    float best = 2, best_x = 0, best_y = 0;
    for (int attempt = 0; attempt < 14 && best > tolerated; ++attempt) {
      const float x0 = -outside, x1 = std::max(w - fw + outside, x0 + 1), y1 = std::max(h - fh - 2, 1.0F);
      const float x = uniform(rng, x0, x1);
      const float y = close_up ? uniform(rng, 0.02, 0.12) * h
                               : uniform(rng, std::min(std::max(ground + 0.03F * h - fh, 0.0F), y1 - 1), y1);
      float cost = 0;
      for (const Extent& other : taken) cost = std::max(cost, overlap(other, {x, y, x + fw, y + fh}));
      if (cost < best) {
        best = cost;
        best_x = x;
        best_y = y;
      }
    }
    if (best > 0.6F) continue;  // there is no room left
    f.move(best_x - e.x0, best_y - e.y0);
    taken.push_back(f.extent());
    crowd.push_back(f);
  }
  // People who are taller in the picture are mostly nearer.
  std::vector<std::pair<float, size_t>> order;
  order.reserve(crowd.size());
  for (size_t i = 0; i < crowd.size(); ++i) order.emplace_back(crowd[i].stature * uniform(rng, 0.85, 1.15), i);
  std::sort(order.begin(), order.end());
  std::vector<Figure> sorted;
  sorted.reserve(crowd.size());
  for (const auto& [depth, i] : order) sorted.push_back(crowd[i]);
  return sorted;
}

// ---- camera -------------------------------------------------------------------------------------------------------

void soften(Image& image, int side_weight) {  // three taps each way, side_weight of 256 on either neighbour
  const int width = image.width, height = image.height, middle = 256 - 2 * side_weight, stride = width * 3;
  std::vector<uint8_t> above(static_cast<size_t>(stride)), here(static_cast<size_t>(stride));
  for (int y = 0; y < height; ++y) {
    uint8_t* row = image.at(0, y);
    std::copy_n(row, stride, here.begin());
    for (int i = 3; i + 3 < stride; ++i) {
      row[i] =
          static_cast<uint8_t>((here[static_cast<size_t>(i) - 3] * side_weight + here[static_cast<size_t>(i)] * middle +
                                here[static_cast<size_t>(i) + 3] * side_weight + 128) >>
                               8);
    }
  }
  std::copy_n(image.at(0, 0), stride, above.begin());
  for (int y = 1; y + 1 < height; ++y) {
    uint8_t* row = image.at(0, y);
    const uint8_t* next = image.at(0, y + 1);
    std::copy_n(row, stride, here.begin());
    for (int i = 0; i < stride; ++i) {
      row[i] = static_cast<uint8_t>((above[static_cast<size_t>(i)] * side_weight +
                                     here[static_cast<size_t>(i)] * middle + next[i] * side_weight + 128) >>
                                    8);
    }
    std::swap(above, here);
  }
}

void expose(Philox& rng, Image& image) {
  const int gain = static_cast<int>(256 * rng.uniform(0.78, 1.18)),
            offset = static_cast<int>(256 * rng.uniform(-14, 18));
  const int amplitude = chance(rng, 0.25) ? 0 : static_cast<int>(rng.uniform(1, 22));
  uint32_t state = rng.u32() | 1U;  // a fast xorshift is good enough for grain; it is seeded by the picture's stream
  for (uint8_t& v : image.rgb) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    const int grain =
        (static_cast<int>(state & 255) + static_cast<int>(state >> 8 & 255) - 255) * amplitude;  // triangular
    v = static_cast<uint8_t>(std::clamp((v * gain + offset + grain + 128) >> 8, 0, 255));
  }
}

// Returns what an annotator would note of the people, derived from the owner of each pixel. painted[i] is how many
// pixels of person i could be seen before others were painted.
std::vector<SynthPerson> people_in(const Canvas& canvas, const std::vector<Figure>& crowd,
                                   const std::vector<int>& painted) {
  std::vector<SynthPerson> people;
  for (size_t i = 0; i < crowd.size(); ++i) {
    const int who = static_cast<int>(i) + 1;
    int x0 = canvas.image.width, y0 = canvas.image.height, x1 = -1, y1 = -1, area = 0;
    for (int y = 0; y < canvas.image.height; ++y) {
      for (int x = 0; x < canvas.image.width; ++x) {
        if (canvas.owner_at(x, y) >> 8 != who) continue;
        ++area;
        x0 = std::min(x0, x);
        x1 = std::max(x1, x);
        y0 = std::min(y0, y);
        y1 = y;
      }
    }
    if (area < kLeastMask || area < 0.06 * painted[i]) continue;
    SynthPerson person;
    person.box = {static_cast<double>(x0), static_cast<double>(y0), static_cast<double>(x1 - x0 + 1),
                  static_cast<double>(y1 - y0 + 1)};
    person.area = area;
    person.mask_value = static_cast<uint8_t>(who);
    if (area >= kLeastArea && area >= kLeastVisible * painted[i]) {
      const std::array<int, kJoints> v = visibility(canvas, crowd[i], who);
      for (size_t k = 0; k < kJoints; ++k) {
        if (v[k] == 0) continue;
        person.keypoints[k * 3] = std::lround(crowd[i].joint[k].x);  // whole pixels, as annotators click them
        person.keypoints[k * 3 + 1] = std::lround(crowd[i].joint[k].y);
        person.keypoints[k * 3 + 2] = v[k];
        ++person.num_keypoints;
      }
    }
    people.push_back(person);
  }
  return people;
}

}  // namespace
}  // namespace synth_detail

SynthScene synth_scene(uint64_t seed, SynthSplit split, int64_t index, std::span<const PictureSize> sizes) {
  using namespace synth_detail;
  Philox rng(seed, static_cast<uint64_t>(split), static_cast<uint64_t>(index));
  const PictureSize size = sizes[rng.below(sizes.size())];
  Canvas canvas(size.width, size.height);
  const double where = rng.uniform();
  float ground = 0;
  if (where < 0.45) {
    ground = outdoors(canvas, rng);
  } else if (where < 0.82) {
    ground = indoors(canvas, rng);
  } else {
    ground = abstract(canvas, rng);
  }

  const std::vector<Figure> crowd = gather(rng, size.width, size.height, ground);
  const bool with_thing = chance(rng, kFrontObject);
  const size_t hidden = crowd.empty() ? 0 : rng.below(crowd.size());
  std::vector<int> painted(crowd.size());  // mask pixels of each person just after it was painted
  for (size_t i = 0; i < crowd.size(); ++i) {
    const int who = static_cast<int>(i) + 1;
    contact_shadow(canvas, crowd[i]);
    if (crowd[i].seated && chance(rng, 0.85)) seat(canvas, rng, crowd[i], static_cast<uint16_t>(kObject << 8));
    paint_figure(canvas, crowd[i], who);
    painted[i] = static_cast<int>(
        std::count_if(canvas.owner.begin(), canvas.owner.end(), [who](uint16_t o) { return o >> 8 == who; }));
    if (with_thing && i == hidden) thing(canvas, rng, crowd[i]);
  }

  SynthScene scene;
  scene.people = people_in(canvas, crowd, painted);

  if (chance(rng, 0.5)) soften(canvas.image, static_cast<int>(rng.uniform(8, 70)));
  expose(rng, canvas.image);
  scene.jpeg_quality = whole(rng, 85, 95);
  scene.mask.resize(canvas.owner.size());
  std::transform(canvas.owner.begin(), canvas.owner.end(), scene.mask.begin(),
                 [](uint16_t o) { return static_cast<uint8_t>(o >> 8); });
  scene.image = std::move(canvas.image);
  return scene;
}

}  // namespace hr

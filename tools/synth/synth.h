// Synthetic pictures of articulated people with exact annotations, in COCO's layout, for training, tests and
// demonstrations without a download. They are drawn from 3-D poses, so orientation, foreshortening and occlusion are as
// in photographs.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/image.h"

namespace hr {

struct PictureSize {
  int width = 0, height = 0;
  bool operator==(const PictureSize&) const = default;
};

enum class SynthSplit : uint8_t { train = 0, val = 1 };

struct SynthPerson {
  Box box;                             // extent of the visible mask
  double area = 0;                     // visible mask pixels
  std::array<double, 51> keypoints{};  // x, y, v per COCO joint; v: 0 not labelled, 1 hidden, 2 visible; 0 0 0 if v = 0
  int num_keypoints = 0;               // joints with v > 0; 0 for people too small or too hidden, as in COCO
  uint8_t mask_value = 0;              // this person's value in SynthScene::mask
};

struct SynthScene {
  Image image;
  std::vector<SynthPerson> people;  // those that are annotated
  std::vector<uint8_t> mask;        // [height, width] the owner: 0 background, 1.. people, 255 objects in front
  int jpeg_quality = 90;
};

// Makes one picture. It depends on the arguments only: all random numbers come from Philox(seed, split, index).
SynthScene synth_scene(uint64_t seed, SynthSplit split, int64_t index, std::span<const PictureSize> sizes);

struct SynthOptions {
  std::string output;
  int train_images = 1500, val_images = 150;
  uint64_t seed = 0;
  std::vector<PictureSize> sizes = {{320, 240}, {400, 300}, {480, 360}, {360, 480}, {640, 480}};
  int threads = 0;  // 0: every core
};

// Writes output/{train2017,val2017}/<12 digits>.jpg, output/annotations/person_keypoints_{train,val}2017.json and
// output/person_keypoints.json, and last the stamp output/synth.json. A folder whose stamp names the same arguments is
// reused (returns false: nothing written), and an unfinished one of the same arguments is made again. Throws Error if
// the folder holds anything else. The bytes do not depend on `threads`.
bool synth(const SynthOptions& options);

// Parses "WxH". Throws Error that names the flag.
PictureSize parse_picture_size(const std::string& text);

}  // namespace hr

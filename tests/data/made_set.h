// A small generated dataset.
#pragma once
#include "data/dataset.h"
#include "tests/data/golden.h"

namespace hr::test {

// A folder with `pictures` small pictures and three people in each.
struct MadeSet {
  fs::path folder = temporary_folder();
  CocoAnnotations file;
  DatasetOptions options{.input_h = 64, .input_w = 48};

  explicit MadeSet(int pictures = 5) {
    file.path = "made.json";
    Philox random(21, 0, 0);
    for (int i = 0; i < pictures; ++i) {
      const std::string name = fmt::format("p{}.jpg", i);
      write_image(folder / name, made_picture(90 + i, 70, i));
      file.images.push_back({100 + i, name, 90 + i, 70});
      for (int j = 0; j < 3; ++j) {
        CocoAnnotation a;
        a.id = 10 * i + j + 1;
        a.image_id = 100 + i;
        a.box = {5.0 + 10 * j, 4, 30, 50};
        a.area = 1000;
        for (int k = 0; k < 17; ++k) {
          a.keypoints.insert(a.keypoints.end(),
                             {1.0 + static_cast<double>(random.below(80)), 1.0 + static_cast<double>(random.below(60)),
                              static_cast<double>(random.below(3))});
        }
        file.annotations.push_back(a);
      }
    }
  }
  PoseDataset dataset() const { return PoseDataset::from_annotations(file, folder, coco_skeleton(), options); }
};

}  // namespace hr::test

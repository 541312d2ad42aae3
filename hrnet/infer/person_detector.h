// People (or other things) in pictures: a YOLOX network with what belongs around it.
//   PersonDetector people("yolox_s.pth", {.device = "cuda"});
//   for (const DetectedBox& found : people(read_image("street.jpg"))) ...
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "hrnet/model/yolox.h"

namespace hr {

struct DetectorOptions {
  int input_h = 0, input_w = 0;  // multiples of 32; 0: what the weights were published with (detector_input)
  double confidence = 0.1;       // boxes with a lower score are not given
  double nms = 0.65;             // of two boxes of one class with a larger IoU the worse one goes
  int at_most = 100;             // boxes of one class in a picture, the best ones
  std::vector<std::string> classes = {"person"};  // names or numbers (from 0); empty: all
  std::optional<YoloxInput> input;                // instead of what the stem's weights tell
  std::string device = "cpu";                     // where there is no context: cpu, cuda or cuda:N
  bool bf16 = false;                              // where there is no context: bf16 activations
  bool exact = false;                             // where there is no context: Context::exact
};

struct DetectedBox {
  Box box;  // in pixels of the picture; may reach over its edges
  double score = 0;
  int label = 0;         // number of the class among the network's
  int64_t category = 1;  // its id in COCO's files (class_category)
};

// What the weights were published with: 416 x 416 for nano and tiny, 608 x 1088 for ByteTrack's of one class, else
// 640 x 640. Height and width.
std::array<int, 2> detector_input(const YoloxInfo& info);

// The names of a network's classes and their ids in COCO's files: COCO's 80, "person" where there is one, else none.
std::string class_name(const YoloxShape& shape, int label);
int64_t class_category(const YoloxShape& shape, int label);

// Not thread-safe: one detector per thread.
class PersonDetector {
 public:
  // On the device and in the precision of the options. Throws Error as the other constructor does, and if there is no
  // such device.
  explicit PersonDetector(const fs::path& weights, const DetectorOptions& options = {});
  // The context's device, precision and threads are used. Throws Error if the file holds no detector, or has no class
  // of a name that is asked for.
  PersonDetector(const Context& cx, const fs::path& weights, const DetectorOptions& options = {});

  // Best first. Pictures of several sizes may share a batch. An Image is a whole ImageView. Throws Error if a picture
  // is empty or only a part of one.
  std::vector<DetectedBox> operator()(const ImageView& picture);
  std::vector<std::vector<DetectedBox>> operator()(std::span<const ImageView> pictures);

  const YoloxInfo& info() const { return info_; }
  int input_h() const { return options_.input_h; }
  int input_w() const { return options_.input_w; }
  YoloxInput input() const { return *options_.input; }
  const Context& context() const { return cx_; }

 private:
  Context cx_;
  YoloxInfo info_;
  DetectorOptions options_;
  std::vector<uint8_t> wanted_;  // by class
  std::unique_ptr<Yolox> network_;
};

// The pieces, as the official code has them.
// A picture scaled into the top left corner of [h, w, 3] numbers, the rest as grey as 114.
void detector_picture(const ImageView& picture, YoloxInput input, int h, int w, std::span<float> out);
// Boxes of one picture's raw output [A, 5 + classes], of classes that are wanted: decoded, filtered, without those that
// non-maximum suppression within a class removes, divided by `scale`.
std::vector<DetectedBox> decode_boxes(std::span<const float> output, int h, int w, double scale,
                                      std::span<const uint8_t> wanted, const DetectorOptions& options);

}  // namespace hr

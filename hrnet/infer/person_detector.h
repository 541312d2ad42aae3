// Detects people (or other objects) in pictures with a YOLOX network.
//   PersonDetector people("yolox_s.pth", {.device = "cuda"});
//   for (const DetectedBox& found : people(read_image("street.jpg"))) ...
// The weights may be those of 8 bits that quantise_file (hrnet/int8/quantise.h) makes.
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

class Int8Network;

struct DetectorOptions {
  int input_h = 0, input_w = 0;  // Multiples of 32; 0: the size the weights were published with (detector_input).
  double confidence = 0.1;       // Boxes with a lower score are dropped.
  // Of two boxes of one class with a larger IoU, the one with the lower score is dropped.
  double nms = 0.65;
  int at_most = 100;                              // The most boxes of one class in a picture; the best are kept.
  std::vector<std::string> classes = {"person"};  // Names, or numbers from 0; empty: all classes.
  std::optional<YoloxInput> input;                // nullopt: recognised from the stem's weights.
  std::string device = "cpu";                     // cpu, cuda or cuda:N; ignored if a context is given.
  // auto, f32, bf16 or int8, by the rules of settle_precision (hrnet/train/precision.h); empty: as `bf16` and the
  // weights say. Ignored if a context is given.
  std::string precision;
  bool bf16 = false;   // bf16 activations; ignored if a context is given.
  bool exact = false;  // Context::exact; ignored if a context is given.
};

struct DetectedBox {
  Box box;  // In pixels of the picture; may extend beyond its edges.
  double score = 0;
  int label = 0;         // Index of the class in the network's output.
  int64_t category = 1;  // Category id in COCO's files (class_category).
};

// Height and width of the input that the weights were published with: 416 x 416 for nano and tiny, 608 x 1088 for
// ByteTrack's weights with one class, 640 x 640 for all others.
std::array<int, 2> detector_input(const YoloxInfo& info);

// Name and COCO category id of a class. A network with 80 classes has COCO's, one with a single class has "person"; the
// classes of other networks have no names ("") and the ids label + 1.
std::string class_name(const YoloxShape& shape, int label);
int64_t class_category(const YoloxShape& shape, int label);

// Not thread-safe: use one detector per thread.
class PersonDetector {
 public:
  // Creates its own context from the options. Throws Error as the other constructor does, and if there is no such
  // device.
  explicit PersonDetector(const fs::path& weights, const DetectorOptions& options = {});
  // Uses the device, precision and threads of the context. Throws Error if the file holds no detector, if it has no
  // class of a name in `classes`, or if the input size is not a multiple of 32.
  PersonDetector(const Context& cx, const fs::path& weights, const DetectorOptions& options = {});
  ~PersonDetector();
  PersonDetector(PersonDetector&&) noexcept;
  PersonDetector& operator=(PersonDetector&&) noexcept;

  // Boxes with the best score first. Pictures of several sizes may share a batch. An Image converts to an ImageView of
  // all its pixels. Throws Error if a picture is empty or only a part of its pixels is in memory.
  std::vector<DetectedBox> operator()(const ImageView& picture);
  std::vector<std::vector<DetectedBox>> operator()(std::span<const ImageView> pictures);

  const YoloxInfo& info() const { return info_; }
  int input_h() const { return options_.input_h; }
  int input_w() const { return options_.input_w; }
  YoloxInput input() const { return *options_.input; }
  const Context& context() const { return cx_; }

 private:
  struct Plan;
  bool records_loops() const;
  Tensor images_for(int64_t n);
  Tensor forward(const Tensor& images);

  Context cx_;
  YoloxInfo info_;
  DetectorOptions options_;
  std::vector<uint8_t> wanted_;  // 1 for each class that was asked for
  std::unique_ptr<Yolox> network_;
  std::unique_ptr<Int8Network> eight_bits_;  // Exactly one of the two is set.
  std::unique_ptr<Plan> plan_;               // For the size of the last batch, where loops are recorded.
};

// The steps of detection, as the official code has them. This one scales a picture into the top left corner of [h, w,
// 3] numbers and fills the rest with grey (114). Throws Error if `out` has another size.
void detector_picture(const ImageView& picture, YoloxInput input, int h, int w, std::span<float> out);
// Decodes the raw output [A, 5 + classes] of one picture: keeps the boxes of wanted classes with enough confidence,
// removes those that non-maximum suppression within a class removes, and divides by `scale`. Throws Error if `output`
// has another size.
std::vector<DetectedBox> decode_boxes(std::span<const float> output, int h, int w, double scale,
                                      std::span<const uint8_t> wanted, const DetectorOptions& options);

}  // namespace hr

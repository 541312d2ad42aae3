// Estimates the poses of people in pictures.
//   hr::PoseEstimator pose("pose_hrnet_w32_256x192.pth", {.device = "cuda"});
//   const hr::Image picture = hr::read_image("street.jpg");
//   for (const hr::Pose& p : pose(picture, people(picture))) ...   // people: an hr::PersonDetector
// The weight file tells the network, its input size, the decoding of its heatmaps, the order of its colours and its
// skeleton. The poses equal those that the program `predict` writes.
#pragma once
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/formats/image.h"
#include "data/pose.h"
#include "hrnet/infer/person_detector.h"

namespace hr {

// A picture, which converts implicitly from the types that a caller may have. The pixels are not copied: they must stay
// valid until the call that takes the picture returns. The constructors throw Error if there are no pixels or if rows
// are shorter than the width.
class Picture {
 public:
  Picture(const Image& image);                       // NOLINT: implicit
  Picture(const ImageView& whole) : view_(whole) {}  // NOLINT: implicit
  // 8-bit R, G, B. stride is the number of bytes from one row to the next; 0 means width * 3.
  Picture(int width, int height, const uint8_t* rgb, size_t stride = 0);
  // A file, which is read when the call reaches it, and turned as its EXIF orientation says.
  Picture(fs::path file) : file_(std::move(file)) {}  // NOLINT: implicit
  Picture(const std::string& file) : file_(file) {}   // NOLINT: implicit
  Picture(const char* file) : file_(file) {}          // NOLINT: implicit

  const fs::path& file() const { return file_; }  // Empty if the pixels are in memory.
  const ImageView& view() const { return view_; }

 private:
  ImageView view_;
  fs::path file_;
};

// The people in a picture, converted implicitly from boxes (x, y, width, height in pixels), from the boxes of a
// detector, or from the poses of an earlier frame. An empty list of boxes means that the whole picture is one person.
// An empty list from a detector or of poses means that there is nobody.
class People {
 public:
  struct Person {
    Box box;
    double score = 1;
    int64_t category = 1;
  };
  People() = default;
  People(std::initializer_list<Box> boxes) : People(std::span(boxes.begin(), boxes.size())) {}  // NOLINT: implicit
  People(std::span<const Box> boxes);                                                           // NOLINT: implicit
  People(const std::vector<Box>& boxes) : People(std::span<const Box>(boxes)) {}                // NOLINT: implicit
  People(const std::vector<DetectedBox>& found);                                                // NOLINT: implicit
  People(const std::vector<Pose>& poses);                                                       // NOLINT: implicit
  People(std::vector<Person> people) : people_(std::move(people)), whole_(false) {}             // NOLINT: implicit

  bool whole() const { return whole_; }
  std::span<const Person> list() const { return people_; }

 private:
  std::vector<Person> people_;
  bool whole_ = true;
};

struct PoseOptions {
  std::string device = "cpu";  // cpu, cuda or cuda:N.
  // auto, f32, bf16 or int8, by the rules of settle_precision (hrnet/train/precision.h); empty: as `bf16` and the
  // weights say.
  std::string precision;
  bool bf16 = false;             // bf16 activations; weights stay float32.
  bool tf32 = false;             // On a GPU, let float32 convolutions round their inputs to TF32.
  bool exact = false;            // On the CPU, sum float32 convolutions directly, never by Winograd's method.
  bool flip_test = true;         // Average with the mirrored picture: twice the work for about one point of AP.
  std::string codec;             // argmax, quarter, msra, dark or udp; empty: that of the weights, or else quarter.
  std::string color;             // rgb or bgr; empty: that of the weights, or else of the architecture.
  std::string skeleton;          // The name of a built-in skeleton or a file; empty: that of the weights, or else coco.
  int input_h = 0, input_w = 0;  // Multiples of 32; 0: the size of the weights, or else 256 x 192.
  int batch_size = 16;           // People per forward pass.
  // Of two poses with a larger OKS the one with the lower score is dropped (predict uses 0.9); nullopt keeps all.
  std::optional<double> oks_nms;
};

// A network that the caller has loaded, with all that is known about it (hrnet/infer/pose_network.h).
struct PoseNetwork;

// A picture and its people, for calls with several pictures.
struct PoseRequest {
  Picture picture;
  People people = {};
};

// Thread-safe, but calls take turns, so one call with several pictures is faster than several threads. Estimators do
// not share anything. Computes with the OpenMP threads of the calling thread.
class PoseEstimator {
 public:
  // Throws Error if the file holds no pose network or is damaged, if an option does not fit it, if there is no such
  // device, if bf16 is asked for and the GPU has none, or if the precision does not fit the weights. It never uses
  // another device or precision than asked for.
  explicit PoseEstimator(const fs::path& weights, const PoseOptions& options = {});
  // Of a network that the caller has loaded; batch_size and oks_nms are those of PoseOptions.
  PoseEstimator(PoseNetwork network, int batch_size, std::optional<double> oks_nms);
  ~PoseEstimator();
  PoseEstimator(PoseEstimator&&) noexcept;
  PoseEstimator& operator=(PoseEstimator&&) noexcept;

  // Returns one pose per person, in the order of the people; with PoseOptions::oks_nms only those that are kept, best
  // first. The score of a pose is the score of its box times the mean score of its joints above 0.2; if no joint is
  // above 0.2, it is the mean score of all joints. Poses may outlive the estimator. Throws Error if a picture cannot be
  // read, if a box is not finite or has no area, or if the heatmaps are not finite. The estimator can be used again
  // after that.
  std::vector<Pose> operator()(const Picture& picture, const People& people = {});
  // The same for several pictures, whose people share batches. Returns one list of poses per request. Files are read
  // one after the other, so that only one picture is in memory at a time.
  std::vector<std::vector<Pose>> operator()(std::span<const PoseRequest> requests);

  const Skeleton& skeleton() const;
  int input_h() const;
  int input_w() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr

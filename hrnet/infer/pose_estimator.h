// The joints of people in pictures: a pose network with everything that belongs around it.
//   hr::PoseEstimator pose("pose_hrnet_w32_256x192.pth", {.device = "cuda"});
//   const hr::Image picture = hr::read_image("street.jpg");
//   for (const hr::Pose& p : pose(picture, people(picture))) ...   // people: an hr::PersonDetector
// The network, its input size, the decoding of its heatmaps, the order of its colours and its skeleton are those that
// the weight file tells; the numbers are those that the program `predict` writes.
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

// A picture to look at, made implicitly of whatever the caller has. Pixels stay the caller's and must live until the
// call that takes the picture returns. Throws Error if there are no pixels or rows are shorter than the width.
class Picture {
 public:
  Picture(const Image& image);                       // NOLINT: implicit
  Picture(const ImageView& whole) : view_(whole) {}  // NOLINT: implicit
  // 8-bit R, G, B; stride: bytes from row to row, 0: width * 3.
  Picture(int width, int height, const uint8_t* rgb, size_t stride = 0);
  // A file, read when it is its turn and turned as its camera says (EXIF).
  Picture(fs::path file) : file_(std::move(file)) {}  // NOLINT: implicit
  Picture(const std::string& file) : file_(file) {}   // NOLINT: implicit
  Picture(const char* file) : file_(file) {}          // NOLINT: implicit

  const fs::path& file() const { return file_; }  // empty: the pixels are in memory
  const ImageView& view() const { return view_; }

 private:
  ImageView view_;
  fs::path file_;
};

// Where people are, made implicitly of boxes (x, y, width, height in pixels), of what a detector found, or of poses of
// an earlier frame. No boxes say that the whole picture is one person; a detector that found nobody says that nobody is
// there.
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
  std::string device = "cpu";     // cpu, cuda or cuda:N
  bool bf16 = false;              // bf16 activations; weights stay float32
  bool tf32 = false;              // on a GPU: float32 convolutions may round their inputs to TF32
  bool flip_test = true;          // average with the mirrored picture: twice the work, about one point of AP
  std::string codec;              // argmax, quarter, msra, dark or udp; empty: the weights', else quarter
  std::string color;              // rgb or bgr; empty: the weights', else the architecture's
  std::string skeleton;           // a built-in name or a file; empty: the weights', else coco
  int input_h = 0, input_w = 0;   // multiples of 32; 0: the weights', else 256 x 192
  int batch_size = 16;            // people per run of the network
  std::optional<double> oks_nms;  // of two poses with a larger OKS the worse one goes (predict: 0.9); nullopt: all stay
};

// A network that the caller has loaded, with all that is known about it (hrnet/infer/pose_network.h).
struct PoseNetwork;

// A picture and its people, for calls with several pictures.
struct PoseRequest {
  Picture picture;
  People people = {};
};

// May be called from several threads: calls take turns, so that several pictures in one call are faster than several
// threads. Different estimators do not know of each other. Computes with OpenMP's threads of the calling thread.
class PoseEstimator {
 public:
  // Throws Error if the file holds no pose network or is damaged, an option does not fit it, there is no such device,
  // or bf16 is asked of a GPU without it. Never another device or precision than asked for.
  explicit PoseEstimator(const fs::path& weights, const PoseOptions& options = {});
  // Of a network that the caller has loaded; batch_size and oks_nms are those of PoseOptions.
  PoseEstimator(PoseNetwork network, int batch_size, std::optional<double> oks_nms);
  ~PoseEstimator();
  PoseEstimator(PoseEstimator&&) noexcept;
  PoseEstimator& operator=(PoseEstimator&&) noexcept;

  // One pose per person, in the order of the people; with PoseOptions::oks_nms those that stay, best first. A pose's
  // score is the box's times the mean of its joints' scores above 0.2 (of all joints where none is). Poses may outlive
  // the estimator.
  // Throws Error if a picture cannot be read, a box is not finite or has no area, or the network's heatmaps are not
  // finite; the estimator can be used again after that.
  std::vector<Pose> operator()(const Picture& picture, const People& people = {});
  // Several pictures, whose people share batches. One list of poses per request. At most the pictures of one batch are
  // in memory at a time where they are files.
  std::vector<std::vector<Pose>> operator()(std::span<const PoseRequest> requests);

  const Skeleton& skeleton() const;
  int input_h() const;
  int input_w() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hr

#include "hrnet/int8/quantise.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/error.h"
#include "data/crops/crop_writer.h"
#include "data/find_dataset.h"
#include "data/formats/find_pictures.h"
#include "data/formats/image.h"
#include "hrnet/infer/decoding.h"
#include "hrnet/infer/person_detector.h"
#include "hrnet/infer/weight_info.h"
#include "hrnet/int8/calibrate.h"
#include "hrnet/int8/file.h"

namespace hr {
namespace {

// Images per forward pass.
constexpr size_t kBatch = 8;

// The people of a data set, or the pictures of a folder, as inputs of the network.
class People {
 public:
  People(const QuantiseOptions& o, const PoseModel& model, const Skeleton& skeleton, int h, int w, Encoding encoding)
      : h_(h), w_(w), bgr_(model.bgr_input()) {
    DataOptions data;
    data.data_path = o.calibrate;
    data.on_bad_sample = "skip";
    std::string split;
    std::string reason;
    for (const char* name : {"train", "val"}) {
      if (!split.empty()) break;
      try {
        if (!reads_pack(data, name)) find_split(data, name);
        split = name;
      } catch (const Error& e) {
        if (reason.empty()) reason = e.what();
      }
    }
    if (!split.empty()) {
      DatasetOptions options = dataset_options(data, h, w, heatmap_sigma(0, h), false, bgr_, split);
      options.encoding = encoding;
      options.substitute_bad = true;
      set_.emplace(open_split(data, split, skeleton, options));
      all_ = set_->size();
    } else {
      check(fs::is_directory(o.calibrate), "{}: {}", o.calibrate, reason);
      skeleton_ = &skeleton;
      encoding_ = encoding;
      pictures_ = find_pictures({o.calibrate}).pictures;
      all_ = pictures_.size();
    }
    check(all_ > 0, "{}: there are no people to calibrate by", o.calibrate);
    const size_t most = o.people == 0 ? all_ : std::min(all_, static_cast<size_t>(o.people));
    for (size_t i = 0; i < most; ++i) chosen_.push_back(i * all_ / most);
  }

  size_t size() const { return chosen_.size(); }

  // Fills images [n, h, w, 3] with the people from `first` on.
  void read(size_t first, const Tensor& images) {
    const size_t each = static_cast<size_t>(h_) * static_cast<size_t>(w_) * 3;
    const auto n = static_cast<size_t>(images.dim(0));
    if (set_) {
      for (size_t i = 0; i < n; ++i) {
        const std::vector<float> image = set_->sample(chosen_[first + i], 0).image;
        std::copy(image.begin(), image.end(), images.data<float>() + i * each);
      }
      return;
    }
    for (size_t i = 0; i < n; ++i) whole(pictures_[chosen_[first + i]], images.data<float>() + i * each);
  }

 private:
  void whole(const fs::path& file, float* to) const {
    const Image image = read_image(file, Orientation::apply);
    const ImageView view(image);
    const Box box{0, 0, static_cast<double>(view.width), static_cast<double>(view.height)};
    const CenterScale place = center_scale(box, static_cast<double>(w_) / h_);
    const Placement placement = place_official(place, {}, *skeleton_, {}, view.width, w_, h_, encoding_);
    const size_t row = static_cast<size_t>(w_) * 3;
    crop_image(view, placement, w_, h_, {}, [&](int y, const uint8_t* rgb) {
      normalize_row(rgb, static_cast<size_t>(w_), to + static_cast<size_t>(y) * row, bgr_);
    });
  }

  int h_, w_;
  bool bgr_;
  std::optional<PoseDataset> set_;
  const Skeleton* skeleton_ = nullptr;
  Encoding encoding_{};
  std::vector<fs::path> pictures_;
  size_t all_ = 0;
  std::vector<size_t> chosen_;
};

std::map<std::string, std::string> metadata_of(const WeightFile& file, const PoseModel& model, int h, int w) {
  std::map<std::string, std::string> m{{"model", model.name()},
                                       {"joints", std::to_string(model.joints())},
                                       {"color", model.bgr_input() ? "bgr" : "rgb"},
                                       {"input_h", std::to_string(h)},
                                       {"input_w", std::to_string(w)},
                                       {"source", file.path().filename().string()},
                                       {"source_sha256", file.sha256()}};
  for (const char* key : {"codec", "recipe", "skeleton"}) {
    const auto found = file.metadata().find(key);
    if (found != file.metadata().end()) m.insert(*found);
  }
  return m;
}

double relative(const Context& cx, const Tensor& a, const Tensor& b) {
  const std::vector<float> x = to_host(cx, a), y = to_host(cx, b);
  double error = 0, all = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (x[i] - y[i]) * static_cast<double>(x[i] - y[i]);
    all += static_cast<double>(y[i]) * y[i];
  }
  return all > 0 ? std::sqrt(error / all) : 0;
}

// Finds the pictures of a folder, or of a dataset in COCO's layout.
std::vector<fs::path> detector_pictures(const std::string& data) {
  check(fs::is_directory(data), "{}: expected a folder of pictures to calibrate a detector by", data);
  for (const char* split : {"train2017", "val2017"}) {
    for (const fs::path& folder : {fs::path(data) / split, fs::path(data) / "images" / split}) {
      if (fs::is_directory(folder)) return find_pictures({folder.string()}).pictures;
    }
  }
  return find_pictures({data}).pictures;
}

QuantiseReport quantise_detector(const WeightFile& file, const fs::path& output, const QuantiseOptions& o,
                                 const std::function<void(int64_t done, int64_t all)>& progress) {
  const YoloxInfo info = *yolox_info(file);
  Context cx;
  const std::unique_ptr<Yolox> model = load_yolox(cx, file);
  const auto [h, w] = detector_input(info);
  const std::vector<fs::path> found = detector_pictures(o.calibrate);
  const size_t most = o.people == 0 ? found.size() : std::min(found.size(), static_cast<size_t>(o.people));
  Int8Calibrator calibrator(*model);
  const Tensor picture = cx.empty({1, h, w, 3}, DType::f32);
  for (size_t i = 0; i < most; ++i) {
    const Image image = read_image(found[i * found.size() / most], Orientation::apply);
    detector_picture(image, info.input(), h, w, {picture.data<float>(), static_cast<size_t>(picture.numel())});
    calibrator.add(picture);
    if (progress) progress(static_cast<int64_t>(i + 1), static_cast<int64_t>(most));
  }
  const RangeMethod method = o.method.value_or(RangeMethod::max);
  const Int8Parameters parameters = calibrator.parameters(method);
  save_int8(output, calibrator.graph(), parameters,
            {{"model", model->name()},
             {"input", info.input() == YoloxInput::bgr_255 ? "bgr_255" : "rgb_normalised"},
             {"source", file.path().filename().string()},
             {"source_sha256", file.sha256()},
             {"ranges", std::string(name_of(method))},
             {"calibrated_by", fmt::format("{} pictures of {}", most, fs::path(o.calibrate).filename().string())}});
  QuantiseReport report{.network = info.describe(), .detector = true, .method = method};
  report.people = most;
  report.convolutions = parameters.convs.size();
  report.bytes = static_cast<int64_t>(fs::file_size(output));
  const std::unique_ptr<Int8Network> quantised = load_int8_detector(cx, WeightFile(output));
  report.difference = relative(cx, quantised->run(cx, picture), model->forward(cx, picture));
  return report;
}

}  // namespace

QuantiseReport quantise_file(const WeightFile& file, const fs::path& output, const QuantiseOptions& o,
                             const std::function<void(int64_t done, int64_t all)>& progress) {
  check(!is_int8(file), "{}: holds weights of 8 bits already; use the float32 weights that they were made from",
        file.path().string());
  if (yolox_info(file)) return quantise_detector(file, output, o, progress);
  Context cx;
  const std::unique_ptr<PoseModel> model = load_model(cx, file, {}, {}, o.color, Purpose::training);
  const WeightInfo info = weight_info(file);
  const int h = info.input_h.value_or(256), w = info.input_w.value_or(192);
  std::optional<Skeleton> skeleton = carried_skeleton(file);
  if (!skeleton && model->joints() == coco_skeleton().joints()) skeleton = coco_skeleton();
  if (!skeleton) {
    DataOptions data;
    data.data_path = o.calibrate;
    skeleton = data_skeleton(data, "");
  }
  const Decoding decoding = choose_decoding({}, info.codec, file.path().string(), h);
  People people(o, *model, *skeleton, h, w, encoding_of(decoding.decode.codec));
  Int8Calibrator calibrator(*model);
  const auto all = static_cast<int64_t>(people.size());
  const auto batch = [&](size_t first) {
    const auto n = static_cast<int64_t>(std::min(kBatch, people.size() - first));
    Tensor images = cx.empty({n, h, w, 3}, DType::f32);
    people.read(first, images);
    return images;
  };
  Tensor images;
  for (size_t first = 0; first < people.size(); first += kBatch) {
    images = batch(first);
    calibrator.add(images);
    if (progress) progress(std::min(all, static_cast<int64_t>(first + kBatch)), all);
  }
  const RangeMethod method = o.method.value_or(RangeMethod::mse);
  const Int8Parameters parameters = calibrator.parameters(method);
  auto metadata = metadata_of(file, *model, h, w);
  metadata["ranges"] = name_of(method);
  metadata["calibrated_by"] = fmt::format("{} people of {}", people.size(), fs::path(o.calibrate).filename().string());
  save_int8(output, calibrator.graph(), parameters, metadata);

  QuantiseReport report{.network = fmt::format("{} with {} joints", model->name(), model->joints()), .method = method};
  report.people = people.size();
  report.convolutions = parameters.convs.size();
  report.bytes = static_cast<int64_t>(fs::file_size(output));
  const std::unique_ptr<PoseModel> quantised = load_model(cx, output);
  report.difference = relative(cx, quantised->forward(cx, images), model->forward(cx, images));
  return report;
}

}  // namespace hr

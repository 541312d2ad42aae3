#include "tools/bench/loader.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <thread>

#include <sys/resource.h>
#include <unistd.h>

#include "core/counted.h"
#include "core/crop_slot.h"
#include "core/error.h"
#include "core/io/json_write.h"
#include "core/philox.h"
#include "core/stopwatch.h"
#include "data/loader.h"
#include "data/pack/pack.h"
#include "tools/cli/data_options.h"
#include "tools/cli/progress.h"
#include "tools/synth/synth.h"

// stb_image is here for comparison only; the data room reads JPEGs with libjpeg-turbo.
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#include <stb_image.h>

namespace hr {
namespace {

// The processor time of this thread, which tells what a core can do, however busy the machine is.
double cpu_now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// A temporary folder, which the destructor removes with its contents.
struct Folder {
  fs::path path = fs::temp_directory_path() / fmt::format("hrnet_bench_{}", ::getpid());
  Folder() { fs::create_directories(path); }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
};

// Writes pictures of drawn people with the grain of a sensor: 640 x 480 pixels in about 150 kB, the average of COCO's.
CocoAnnotations make_pictures(const fs::path& folder, int count) {
  CocoAnnotations out;
  out.path = "pictures made for the benchmark";
  const PictureSize size[] = {{640, 480}};
  for (int i = 0; i < count; ++i) {
    SynthScene scene = synth_scene(1, SynthSplit::train, i, size);
    Philox random(9, 0, static_cast<uint64_t>(i));
    for (uint8_t& v : scene.image.rgb) {
      const double grain = static_cast<double>(random.u32() % 25) + static_cast<double>(random.u32() % 25) - 24;
      v = static_cast<uint8_t>(std::clamp(v + grain, 0.0, 255.0));
    }
    const std::string name = fmt::format("{:012}.jpg", i);
    write_image(folder / name, scene.image, 93);
    out.images.push_back({i + 1, name, 640, 480});
    for (const SynthPerson& p : scene.people) {
      CocoAnnotation a;
      a.id = static_cast<int64_t>(out.annotations.size()) + 1;
      a.image_id = i + 1;
      a.box = p.box;
      a.area = p.area;
      a.num_keypoints = p.num_keypoints;
      a.keypoints.assign(p.keypoints.begin(), p.keypoints.end());
      out.annotations.push_back(std::move(a));
    }
  }
  return out;
}

struct Row {
  std::vector<double> rate;  // samples/s, one per repeat
  SampleClock clock;         // of all repeats
};

// Reads every person once, in random order, one sample at a time on this thread, so that people share no work. With
// for_device the results are crop sources and profiles instead of images and targets.
void sample_all(const PoseDataset& data, uint64_t epoch, bool for_device, Row& row) {
  const DatasetOptions& o = data.options();
  const size_t pixels = static_cast<size_t>(o.input_h) * o.input_w;
  const auto joints = static_cast<size_t>(data.skeleton().joints());
  std::vector<float> image(pixels * 3), heatmap(pixels / 16 * joints), weight(joints);
  // The slots are as many as a batch needs. A single slot would stay in the processor's cache.
  constexpr size_t slots = 32;
  HostBuffer<uint8_t> sources;
  sources.resize(slots * CropSource::slot_bytes(o.input_w, o.input_h));
  std::vector<double> profile((o.input_w / 4 + o.input_h / 4) * joints);
  SampleTarget to{.weight = weight};
  if (for_device) {
    to.profile = profile;
  } else {
    to.image = image;
    to.heatmap = heatmap;
  }
  SampleMeta meta;
  SampleWorkspace workspace;
  workspace.cpu_time = true;
  std::vector<size_t> order(data.size());
  std::iota(order.begin(), order.end(), size_t{0});
  Philox random(4, epoch, 0);
  for (size_t i = order.size() - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  const double start = cpu_now();
  for (size_t k = 0; k < order.size(); ++k) {
    if (for_device) to.source = sources.part(k % slots, sources.size() / slots);
    data.samples_into(std::span(&order[k], 1), epoch, std::span(&to, 1), std::span(&meta, 1), workspace);
  }
  row.rate.push_back(static_cast<double>(order.size()) / (cpu_now() - start));
  row.clock += workspace.clock;
}

void load_all(const PoseDataset& data, uint64_t epoch, const LoaderOptions& options, Row& row) {
  Loader loader(data, options);
  Batch batch;
  size_t samples = 0;
  const double start = now();
  loader.start_epoch(epoch);
  while (loader.next(batch)) samples += static_cast<size_t>(batch.size);
  row.rate.push_back(static_cast<double>(samples) / (now() - start));
  row.clock += loader.clock();
}

Region part_of(const PoseDataset& data, size_t index, uint64_t epoch) {
  const CocoImage& image = data.annotations().images[data.people()[index].image_index];
  const auto placed = data.placed(index, epoch);
  return warp_region(placed.placement.image_to_crop, data.options().input_w, data.options().input_h, image.width,
                     image.height, placed.placement.mirror_source);
}

// The share of crops whose part of the picture fits into a slot for a device, and the mean size of these parts.
struct Parts {
  double fit = 0, kilobytes = 0;  // share; mean of those that fit
  std::string text;
};
Parts parts_of(const PoseDataset& data) {
  const int w = data.options().input_w, h = data.options().input_h;
  const size_t slot = CropSource::slot_bytes(w, h), room = slot - CropSource::pixels_at(w, h);
  const size_t step = std::max<size_t>(1, data.size() / 20000);
  double bytes = 0;
  size_t fit = 0, all = 0;
  for (size_t i = 0; i < data.size(); i += step) {
    ++all;
    const auto size = static_cast<size_t>(part_of(data, i, 0).area()) * 3;
    if (size > room) continue;
    ++fit;
    bytes += static_cast<double>(size);
  }
  Parts p{
      static_cast<double>(fit) / static_cast<double>(all), fit > 0 ? bytes / 1e3 / static_cast<double>(fit) : 0, {}};
  p.text = fmt::format(
      "  for a GPU: {:.1f} % of crops show a part of their picture that fits into {} KiB; its mean is {:.0f} kB\n",
      100 * p.fit, slot >> 10, p.kilobytes);
  return p;
}

// Returns the pictures per second of a decoder, over the regions that an epoch's crops need.
double decode_all(const PoseDataset& data, uint64_t epoch,
                  const std::function<void(std::span<const std::byte>, Region)>& decode) {
  std::vector<std::byte> file;
  double seconds = 0;
  for (size_t i = 0; i < data.size(); ++i) {
    const CocoImage& image = data.annotations().images[data.people()[i].image_index];
    const auto bytes = data.pictures().read(image.file_name, file);
    const Region region = part_of(data, i, epoch);
    const double start = cpu_now();
    decode(bytes, region);
    seconds += cpu_now() - start;
  }
  return static_cast<double>(data.size()) / seconds;
}

// Measures an annotation file without pictures: how long until the people are known, and the memory that this takes.
void bench_annotations(const BenchLoaderOptions& o) {
  DataOptions flags;
  flags.train_annotations = o.annotations;
  flags.train_images = ".";
  const Skeleton skeleton = data_skeleton(flags, "");
  const double start = cpu_now(), wall = now();
  const PoseDataset data =
      open_split(flags, "train", skeleton, dataset_options(flags, o.fixed_size[0], o.fixed_size[1], 2, true));
  const double seconds = cpu_now() - start, passed = now() - wall;
  const Parts parts = parts_of(data);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto bytes = static_cast<double>(fs::file_size(o.annotations)),
             peak = static_cast<double>(usage.ru_maxrss) * 1024;
  if (o.json) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().member("mode", "loader").member("annotation_bytes", JsonFixed{bytes, 0});
    json.member("people", data.size()).member("ready_seconds", JsonFixed{seconds, 3});
    json.member("ready_wall_seconds", JsonFixed{passed, 3}).member("peak_bytes", JsonFixed{peak, 0});
    json.member("parts_that_fit", JsonFixed{parts.fit, 4});
    json.member("part_kilobytes", JsonFixed{parts.kilobytes, 1}).end();
    fmt::print("{}\n", text);
    return;
  }
  fmt::print(
      "{}: {:.1f} MB\n  {}\n  ready in {:.2f} s of a core ({:.2f} s passed), {:.0f} MB/s; peak memory {:.0f} MB\n{}",
      o.annotations, bytes / 1e6, data.counts().summary(), seconds, passed, bytes / 1e6 / seconds, peak / 1e6,
      parts.text);
}

// The measurements of the mode, and the dataset that they were made on.
struct Result {
  size_t people = 0;
  int workers = 0;
  size_t pictures = 0;
  double megapixels = 0, kilobytes = 0;    // of all pictures
  std::map<std::string, Row> rows;         // by source and stage
  std::vector<double> stb, whole, region;  // pictures/s of a decoder, one per repeat
  Parts parts{};
  double pack_bytes = 0;
};

void count_pictures(const PoseDataset& jpeg, Result& r) {
  std::vector<bool> seen(jpeg.annotations().images.size());
  for (const Person& p : jpeg.people()) {
    if (seen[p.image_index]) continue;
    seen[p.image_index] = true;
    const CocoImage& image = jpeg.annotations().images[p.image_index];
    jpeg.pictures().glance(image.file_name,
                           [&](std::span<const std::byte> b) { r.kilobytes += static_cast<double>(b.size()) / 1e3; });
    r.megapixels += static_cast<double>(image.width) * image.height / 1e6;
    ++r.pictures;
  }
}

// Prints a table, or one JSON object with --json.
void print_result(const BenchLoaderOptions& o, const Result& r) {
  const auto pictures = static_cast<double>(r.pictures);
  const auto stage = [](const Row& row, double seconds) {
    return 1e3 * seconds / static_cast<double>(row.clock.samples);
  };
  if (o.json) {
    std::string text;
    JsonWriter json(text);
    json.begin_object().member("mode", "loader").member("fixed_size", o.fixed_size).member("people", r.people);
    json.member("pictures", r.pictures).member("megapixels", JsonFixed{r.megapixels / pictures, 3});
    json.member("kilobytes", JsonFixed{r.kilobytes / pictures, 1}).member("workers", r.workers);
    json.key("decode_per_s").begin_object().member("stb_image", JsonFixed{median(r.stb), 1});
    json.member("turbo", JsonFixed{median(r.whole), 1}).member("turbo_region", JsonFixed{median(r.region), 1}).end();
    for (const auto& [name, row] : r.rows) {
      json.key(name).begin_object().member("samples_per_s", JsonFixed{median(row.rate), 1});
      json.member("read_ms", JsonFixed{stage(row, row.clock.read), 4});
      json.member("decode_ms", JsonFixed{stage(row, row.clock.decode), 4});
      json.member("warp_ms", JsonFixed{stage(row, row.clock.warp), 4});
      json.member("targets_ms", JsonFixed{stage(row, row.clock.targets), 4}).end();
    }
    json.member("parts_that_fit", JsonFixed{r.parts.fit, 4}).member("part_kilobytes", JsonFixed{r.parts.kilobytes, 1});
    json.member("pack_bytes", JsonFixed{r.pack_bytes, 0}).end();
    fmt::print("{}\n", text);
    return;
  }
  fmt::print("{} in {} of {:.2f} MP and {:.0f} kB on average; official augmentation, {} x {}; medians of {}\n",
             counted_people(r.people), counted(r.pictures, "picture"), r.megapixels / pictures, r.kilobytes / pictures,
             o.fixed_size[0], o.fixed_size[1], o.repeats);
  fmt::print("  decoding, pictures/s of a core\n");
  fmt::print("    stb_image                    {:8.0f}\n", median(r.stb));
  fmt::print("    libjpeg-turbo                {:8.0f}   {:.2f} x stb_image\n", median(r.whole),
             median(r.whole) / median(r.stb));
  fmt::print("    libjpeg-turbo, region        {:8.0f}   {:.2f} x whole pictures\n", median(r.region),
             median(r.region) / median(r.whole));
  fmt::print(
      "  samples per s                            read    decode    warp+normalise   targets   [ms per sample]\n");
  const auto print = [&](const char* label, const char* name) {
    const Row& row = r.rows.at(name);
    fmt::print("    {:<28} {:8.0f}   {:7.3f}   {:7.3f}   {:15.3f}   {:7.3f}\n", label, median(row.rate),
               stage(row, row.clock.read), stage(row, row.clock.decode), stage(row, row.clock.warp),
               stage(row, row.clock.targets));
  };
  print("JPEGs, of a core", "jpeg");
  print("cache, of a core", "cache");
  print("pack, of a core", "pack");
  print("JPEGs, for a GPU, of a core", "jpeg_for_device");
  print("cache, for a GPU, of a core", "cache_for_device");
  print("pack, for a GPU, of a core", "pack_for_device");
  print("plain, in order, 1 worker", "validation");
  print(fmt::format("JPEGs, {} workers, wall clock", r.workers).c_str(), "jpeg_total");
  print(fmt::format("pack, {} workers, wall clock", r.workers).c_str(), "pack_total");
  fmt::print("  pack: {:.2f} MB per picture\n", r.pack_bytes / 1e6 / pictures);
  fmt::print("{}", r.parts.text);
}

}  // namespace

void bench_loader(const BenchLoaderOptions& o) {
  if (!o.annotations.empty() && o.images.empty()) return bench_annotations(o);
  const Folder folder;
  DataOptions flags;
  CocoAnnotations annotations;
  fs::path pictures = folder.path;
  if (o.data_path.empty() && o.annotations.empty()) {
    annotations = make_pictures(folder.path, 64);
  } else {
    if (!o.data_path.empty()) flags.data_path = o.data_path;
    flags.train_annotations = o.annotations;
    flags.train_images = o.images;
  }
  const Skeleton skeleton = data_skeleton(flags, "");
  const int workers = o.threads > 0 ? o.threads : static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  const auto open = [&](size_t cache, bool augment) {
    DatasetOptions options =
        dataset_options(flags, o.fixed_size[0], o.fixed_size[1], o.fixed_size[0] >= 384 ? 3 : 2, augment);
    options.cache_bytes = cache, options.substitute_bad = false;
    return annotations.images.empty() ? open_split(flags, "train", skeleton, options)
                                      : PoseDataset::from_annotations(annotations, pictures, skeleton, options);
  };
  PoseDataset jpeg = open(0, true);
  jpeg.check_pictures(workers);
  check(jpeg.bad().size() == 0, "{}", jpeg.bad().size() > 0 ? jpeg.bad().entries()[0].message : "");
  const PoseDataset cached = open(size_t{1} << 40, true), plain = open(0, false);
  const fs::path pack_path = folder.path / "bench.pack";
  const PackInput input{"train", &jpeg};
  write_pack(pack_path, std::span(&input, 1), workers);
  const PoseDataset packed = Pack(pack_path).dataset("train", jpeg.options());

  Result r{.people = jpeg.size(), .workers = workers};
  count_pictures(jpeg, r);
  ImageDecoder decoder;
  const LoaderOptions load{
      .batch_size = o.batch_size, .workers = workers, .shuffle = true, .prefetch = std::max(4, workers / 4)};
  Progress progress("loader", o.repeats + 1);
  for (int repeat = 0; repeat <= o.repeats; ++repeat) {  // the first pass is warm-up
    const auto epoch = static_cast<uint64_t>(repeat);
    std::map<std::string, Row> now_rows;
    const double with_stb = decode_all(jpeg, epoch, [](std::span<const std::byte> bytes, Region) {
      int w = 0, h = 0, n = 0;
      stbi_image_free(stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                                            static_cast<int>(bytes.size()), &w, &h, &n, 3));
    });
    const double with_turbo = decode_all(jpeg, epoch, [&](std::span<const std::byte> bytes, Region) {
      const PictureInfo info = decoder.open(bytes, "picture");
      decoder.decode({0, 0, info.width, info.height});
    });
    const double by_region = decode_all(jpeg, epoch, [&](std::span<const std::byte> bytes, Region part) {
      decoder.open(bytes, "picture");
      decoder.decode(part);
    });
    for (const bool for_device : {false, true}) {
      const std::string end = for_device ? "_for_device" : "";
      sample_all(jpeg, epoch, for_device, now_rows["jpeg" + end]);
      sample_all(cached, epoch, for_device, now_rows["cache" + end]);
      sample_all(packed, epoch, for_device, now_rows["pack" + end]);
    }
    LoaderOptions in_order = load;
    in_order.workers = 1, in_order.shuffle = false;
    load_all(plain, epoch, in_order, now_rows["validation"]);
    load_all(jpeg, epoch, load, now_rows["jpeg_total"]);
    load_all(packed, epoch, load, now_rows["pack_total"]);
    progress.update(repeat + 1);
    if (repeat == 0) continue;
    r.stb.push_back(with_stb);
    r.whole.push_back(with_turbo);
    r.region.push_back(by_region);
    for (auto& [name, row] : now_rows) {
      r.rows[name].rate.push_back(row.rate[0]);
      r.rows[name].clock += row.clock;
    }
  }
  progress.finish();

  r.parts = parts_of(jpeg);
  r.pack_bytes = static_cast<double>(fs::file_size(pack_path));
  print_result(o, r);
}

}  // namespace hr

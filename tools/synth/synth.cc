#include "tools/synth/synth.h"

#include <fmt/format.h>
#include <array>

#include <algorithm>
#include <charconv>
#include <mutex>

#include "core/error.h"
#include "core/io/json_write.h"
#include "core/threads.h"
#include "tools/cli/progress.h"

namespace hr {
namespace {

constexpr int kVersion = 2;  // raise it when the same arguments give other pictures
constexpr int kMaxImages = 500000;
constexpr std::array<const char*, 2> kSplitName{"train", "val"};

// Picture ids differ between the splits, as in COCO, so that mixing them up is noticed.
int64_t picture_id(SynthSplit split, int64_t index) { return index + 1 + (split == SynthSplit::val ? kMaxImages : 0); }
std::string picture_name(int64_t id) { return fmt::format("{:012}.jpg", id); }

std::string stamp_text(const SynthOptions& o, bool complete) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().member("made_by", "synth").member("version", kVersion);
  json.member("train_images", o.train_images).member("val_images", o.val_images).member("seed", o.seed);
  json.key("sizes").begin_list();
  for (const PictureSize size : o.sizes) json.value(fmt::format("{}x{}", size.width, size.height));
  json.end().member("complete", complete).end();
  return text + "\n";
}

fs::path pictures_folder(const fs::path& root, size_t split) { return root / fmt::format("{}2017", kSplitName[split]); }
fs::path annotations_file(const fs::path& root, size_t split) {
  return root / "annotations" / fmt::format("person_keypoints_{}2017.json", kSplitName[split]);
}

// The stamp says that the folder was complete, but pictures may have been deleted since.
bool all_there(const fs::path& root, const SynthOptions& o) {
  if (!fs::exists(root / "person_keypoints.json")) return false;
  for (const size_t split : {0U, 1U}) {
    if (!fs::exists(annotations_file(root, split))) return false;
    const int count = split == 0 ? o.train_images : o.val_images;
    for (int i = 0; i < count; ++i) {
      if (!fs::exists(pictures_folder(root, split) / picture_name(picture_id(static_cast<SynthSplit>(split), i))))
        return false;
    }
  }
  return true;
}

// Writes the description of the joints in the seed project's format. The skeleton counts from 1, everything else
// from 0.
std::string skeleton_text(const Skeleton& s) {
  std::string text;
  JsonWriter json(text, {.lines = 1});
  const auto pairs = [&](const char* key, const std::vector<std::pair<int, int>>& all, int lowest) {
    json.key(key).begin_list();
    for (const auto& [a, b] : all) json.value(std::array{a + lowest, b + lowest});
    json.end();
  };
  json.begin_object().member("keypoints", s.names);
  pairs("skeleton", s.limbs, 1);
  pairs("flip_pairs", s.flip_pairs, 0);
  json.member("kps_weights", s.joint_weights);
  json.member("upper_body_ids", s.upper_ids).member("lower_body_ids", s.lower_ids).end();
  return text + "\n";
}

struct Made {
  int width = 0, height = 0;
  std::vector<SynthPerson> people;
};

// Makes pictures [0, count) of a split; each thread takes the next one. The first error stops all threads.
std::vector<Made> make_pictures(const SynthOptions& o, SynthSplit split, int count, const fs::path& folder) {
  const auto name = kSplitName[static_cast<size_t>(split)];
  std::vector<Made> made(static_cast<size_t>(count));
  Progress progress(fmt::format("{} pictures", name), count);
  std::mutex mutex;  // protects done and progress
  int done = 0;
  for_each_on_threads(made.size(), o.threads, [&] {
    return [&](size_t at) {
      const auto i = static_cast<int>(at);
      const SynthScene scene = synth_scene(o.seed, split, i, o.sizes);
      write_image(folder / picture_name(picture_id(split, i)), scene.image, scene.jpeg_quality);
      made[at] = {scene.image.width, scene.image.height, scene.people};
      const std::lock_guard lock(mutex);
      progress.update(++done);
    };
  });
  progress.finish();
  return made;
}

CocoAnnotations annotate(const std::vector<Made>& pictures, SynthSplit split) {
  const Skeleton& skeleton = coco_skeleton();
  CocoAnnotations out;
  CocoCategory person{1, "person", skeleton.names, {}};
  for (const auto& [a, b] : skeleton.limbs) person.skeleton.emplace_back(a + 1, b + 1);
  out.categories.push_back(person);
  for (size_t i = 0; i < pictures.size(); ++i) {
    const int64_t id = picture_id(split, static_cast<int64_t>(i));
    out.images.push_back({id, picture_name(id), pictures[i].width, pictures[i].height});
    for (const SynthPerson& p : pictures[i].people) {
      CocoAnnotation a;
      a.id = static_cast<int64_t>(out.annotations.size()) + 1 + (split == SynthSplit::val ? 10LL * kMaxImages : 0);
      a.image_id = id;
      a.box = p.box;
      a.area = p.area;
      a.num_keypoints = p.num_keypoints;
      a.keypoints.assign(p.keypoints.begin(), p.keypoints.end());
      out.annotations.push_back(std::move(a));
    }
  }
  return out;
}

}  // namespace

PictureSize parse_picture_size(const std::string& text) {
  PictureSize size;
  const char* end = text.data() + text.size();
  const auto [x, wrong_width] = std::from_chars(text.data(), end, size.width);
  bool good = wrong_width == std::errc() && x != end && *x == 'x';
  if (good) {
    const auto [last, wrong_height] = std::from_chars(x + 1, end, size.height);
    good = wrong_height == std::errc() && last == end;
  }
  check(good && std::min(size.width, size.height) >= 64 && std::max(size.width, size.height) <= 4096,
        "--size {}: expected WxH with sides from 64 to 4096, for example 640x480", text);
  return size;
}

bool synth(const SynthOptions& o) {
  check(!o.output.empty(), "--output: no folder given");
  for (const auto& [flag, count] : {std::pair{"--train-images", o.train_images}, {"--val-images", o.val_images}}) {
    check(count >= 1 && count <= kMaxImages, "{} {}: must be from 1 to {}", flag, count, kMaxImages);
  }
  check(!o.sizes.empty(), "--size: no picture size given");

  const fs::path root = o.output, stamp = root / "synth.json";
  if (fs::exists(root) && !fs::is_directory(root)) fail("--output {}: is not a folder", o.output);
  if (fs::exists(root) && !fs::is_empty(root)) {
    if (!fs::exists(stamp)) {
      fail("--output {}: the folder is not empty and was not made by synth; name a new or an empty folder", o.output);
    }
    const std::string found = read_file(stamp);
    if (found == stamp_text(o, true) && all_there(root, o)) return false;
    if (found != stamp_text(o, true) && found != stamp_text(o, false)) {
      const auto words = [](const std::string& text) {  // the stamp without JSON's punctuation
        std::string out;
        for (const char c : text.substr(0, std::min<size_t>(text.find(", \"complete\""), 300))) {
          if (std::string_view("{}\"\n").find(c) == std::string_view::npos) out += c;
        }
        return out;
      };
      fail("--output {}: holds another dataset ({}), asked for is ({}); name another folder or remove this one",
           o.output, words(found), words(stamp_text(o, true)));
    }
  }
  prepare_output_folder(root, "output");
  // This stamp marks the folder as unfinished, so that an interrupted run can be repeated.
  write_file(stamp, stamp_text(o, false));
  fs::create_directories(root / "annotations");
  for (const SynthSplit split : {SynthSplit::train, SynthSplit::val}) {
    const auto s = static_cast<size_t>(split);
    fs::create_directories(pictures_folder(root, s));
    const int count = split == SynthSplit::train ? o.train_images : o.val_images;
    write_coco(annotations_file(root, s), annotate(make_pictures(o, split, count, pictures_folder(root, s)), split));
  }
  write_file(root / "person_keypoints.json", skeleton_text(coco_skeleton()));
  write_file(stamp, stamp_text(o, true));
  return true;
}

}  // namespace hr

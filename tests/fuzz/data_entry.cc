#include "tests/fuzz/data_entry.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/io/zip.h"
#include "data/dataset.h"
#include "data/formats/coco.h"
#include "data/formats/image.h"
#include "data/formats/mat_file.h"
#include "data/formats/mpii.h"
#include "data/formats/pictures.h"
#include "data/formats/skeleton.h"
#include "data/pack/pack.h"
#include "eval/coco_eval.h"

namespace hr::test {
namespace {

// A file for readers that need a path. It has one name per process, under TMPDIR (run.sh: in memory), and is removed at
// the end.
class FuzzedFile {
 public:
  FuzzedFile(std::span<const std::byte> bytes, std::string_view extension)
      : path_(fs::temp_directory_path() / fmt::format("fuzzed.{}{}", ::getpid(), extension)) {
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    require(file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "no room in TMPDIR");
    std::fclose(file);
  }
  ~FuzzedFile() { ::unlink(path_.c_str()); }
  FuzzedFile(const FuzzedFile&) = delete;
  FuzzedFile& operator=(const FuzzedFile&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Messages quote names of joints and pictures as they are in the file, so this only requires that the file is named.
void require_named(const Error& e) {
  require(std::string_view(e.what()).find("fuzzed") != std::string_view::npos, "a message without the file", e.what());
}

// `open` reads and uses the file. Its Errors must name the file.
template <class Open>
Outcome outcome_of(const Open& open) {
  const Stopwatch stopwatch;
  try {
    open();
    return Outcome::loaded;
  } catch (const Error& e) {
    require_named(e);
    return Outcome::refused;
  }
}

// Errors of what is done with a file after it was read need not name the file.
template <class Use>
void use(const Use& use_it) {
  try {
    use_it();
  } catch (const Error&) {
  }
}

// Sums the pixels, so that a sanitizer sees each of them read.
size_t touch(const ImageView& view) {
  const Region& r = view.region;
  require(r.x >= 0 && r.y >= 0 && r.w > 0 && r.h > 0 && r.x + r.w <= view.width && r.y + r.h <= view.height,
          "a region beyond its picture");
  size_t sum = 0;
  for (int y = r.y; y < r.y + r.h; ++y) {
    const uint8_t* row = view.at(r.x, y);
    for (int i = 0; i < 3 * r.w; ++i) sum += row[i];
  }
  return sum;
}

// Places the crops of some people in a dataset. It takes only a few, so that a file full of people stays fast.
void place_people(const PoseDataset& set) {
  for (size_t i = 0; i < std::min<size_t>(set.size(), 8); ++i) {
    use([&] { set.placed(i, 1); });
    use([&] { set.reach(i); });
  }
}

void require_sound(const CocoAnnotations& file, int joints) {
  std::vector<int64_t> images;
  for (const CocoImage& image : file.images) {
    require(image.width >= 0 && image.height >= 0, "a negative size");
    images.push_back(image.id);
  }
  std::sort(images.begin(), images.end());
  require(std::adjacent_find(images.begin(), images.end()) == images.end(), "a repeated picture");
  for (const CocoAnnotation& a : file.annotations) {
    require(std::binary_search(images.begin(), images.end(), a.image_id), "an annotation of no picture");
    require(a.keypoints.size() % 3 == 0, "keypoints that are no triples");
    require(joints == 0 || a.keypoints.empty() || a.keypoints.size() == 3 * static_cast<size_t>(joints),
            "another number of joints");
    require(a.num_keypoints >= 0, "a negative number of keypoints");
    for (const double v : {a.box.x, a.box.y, a.box.w, a.box.h}) require(std::isfinite(v), "a box that is not finite");
    for (const double v : a.keypoints) require(std::isfinite(v), "a joint that is not finite");
  }
}

}  // namespace

// COCO annotation files, read as training does (strictly, and with a list of what is left out), as evaluation does, and
// for the categories alone.
Outcome open_coco(Bytes bytes) {
  const FuzzedFile file(bytes, ".json");
  return outcome_of([&] {
    BadSamples bad;
    bool lenient = false;
    std::string why;
    CocoAnnotations annotations;
    try {
      annotations = read_coco(file.path(), 17, &bad);
      lenient = true;
      require_sound(annotations, 17);
      for (const BadSamples::Entry& entry : bad.entries()) {
        require(entry.message.find('\n') == std::string::npos, "an unclear line of the bad list", entry.message);
      }
    } catch (const Error& e) {
      require_named(e);
      why = e.what();
    }
    try {
      require_sound(read_coco(file.path(), 17), 17);
      require(lenient, "strict reads what the list of bad samples refuses");
      require(bad.size() == 0, "strict reads what the list of bad samples leaves out");
    } catch (const Error& e) {
      require_named(e);
    }
    use([&] {
      const CocoAnnotations any = read_coco(file.path(), 0, nullptr, {});
      category_skeleton(any.categories, any.path);
    });
    use([&] { read_coco_categories(file.path()); });
    if (!lenient) throw Error(why);
    for (const Recipe recipe : {Recipe::official, Recipe::seed}) {
      use([&] {
        place_people(PoseDataset::from_annotations(
            annotations, "fuzzed", coco_skeleton(),
            {.recipe = recipe, .input_h = 64, .input_w = 48, .augment = recipe == Recipe::official}));
      });
    }
  });
}

// Result files, which are read and evaluated against people that are always the same.
Outcome open_results(Bytes bytes) {
  const FuzzedFile file(bytes, ".json");
  static const CocoAnnotations truth = [] {
    CocoAnnotations gt;
    gt.path = "truth";
    for (const int64_t id : {1, 2}) {
      gt.images.push_back({id, "a.jpg", 640, 480});
      CocoAnnotation person;
      person.id = id;
      person.image_id = id;
      person.box = {10, 10, 100, 200};
      person.area = 9000;
      person.num_keypoints = 17;
      for (int k = 0; k < 17; ++k) person.keypoints.insert(person.keypoints.end(), {10.0 + 5 * k, 10.0 + 10 * k, 2.0});
      gt.annotations.push_back(person);
    }
    gt.categories.push_back({1, "person", {}, {}});
    return gt;
  }();
  return outcome_of([&] {
    const std::vector<CocoDetection> detections = read_coco_detections(file.path());
    for (const bool strict : {true, false}) {
      for (const CocoRules rules : {CocoRules::pycocotools, CocoRules::xtcocotools, CocoRules::xtcocotools_crowd}) {
        use([&] {
          const CocoEvalResult result = evaluate_coco(
              truth, detections, {.rules = rules, .strict = strict, .keep_matches = true, .detections_name = "fuzzed"});
          require(!coco_summary(result).empty(), "no summary");
          coco_remarks(result);
        });
      }
    }
  });
}

Outcome open_mpii(Bytes bytes) {
  const FuzzedFile file(bytes, ".json");
  return outcome_of([&] {
    is_mpii(file.path());
    const MpiiAnnotations people = read_mpii(file.path());
    for (const MpiiPerson& person : people.people) {
      require(person.joints.empty() || person.joints.size() == 32, "another number of joints");
      require(person.visible.empty() || person.visible.size() == 16, "another number of visibilities");
    }
    use([&] {
      place_people(PoseDataset::from_mpii(people, "fuzzed", built_in_skeleton("mpii"),
                                          {.input_h = 64, .input_w = 64, .augment = true}));
    });
  });
}

Outcome open_skeleton(Bytes bytes) {
  return outcome_of([&] {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    const Skeleton s = parse_skeleton(text, "fuzzed");
    require(s.joints() > 0 && s.sigmas.size() == s.names.size() && s.joint_weights.size() == s.names.size(),
            "lists of other lengths than the joints");
    for (const int k : s.mirror()) require(k >= 0 && k < s.joints(), "a mirrored joint that does not exist");
    for (const auto& [a, b] : s.limbs) {
      require(a >= 0 && b >= 0 && a < s.joints() && b < s.joints(), "a limb of a joint that does not exist");
    }
  });
}

Outcome open_mat(Bytes bytes) {
  const FuzzedFile file(bytes, ".mat");
  return outcome_of([&] {
    for (const auto& [name, array] : parse_mat(bytes, "fuzzed")) {
      int64_t count = 1;
      for (const int64_t side : array.shape) count *= side;
      require(array.shape.size() >= 2 && count >= 0, "a strange shape");
      require(!array.text.empty() || static_cast<size_t>(count) == array.values.size(), "another number of values");
    }
    use([&] { read_mpii_truth(file.path()); });
  });
}

// Pictures of at most 2^16 pixels are decoded, whole and in part, and turned as their EXIF data say.
Outcome open_picture(Bytes bytes) {
  return outcome_of([&] {
    constexpr int64_t most = 1 << 16;
    const PictureInfo info = probe_image(bytes, "fuzzed", Orientation::apply);
    require(info.width > 0 && info.height > 0, "a picture without pixels");
    require(static_cast<int64_t>(info.width) * info.height <= default_max_pixels, "a picture beyond the limit");
    const Image whole = decode_image(bytes, "fuzzed", Orientation::ignore, most);
    touch(ImageView(whole));
    const Image turned = decode_image(bytes, "fuzzed", Orientation::apply, most);
    require(turned.width == info.width && turned.height == info.height, "another size than announced");
    ImageDecoder decoder;  // one for both, as in a thread of the loader
    for (int i = 0; i < 2; ++i) {
      decoder.open(bytes, "fuzzed", Orientation::ignore, most);
      const Region part{whole.width / 3, whole.height / 3, std::max(1, whole.width / 3), std::max(1, whole.height / 3)};
      const ImageView view = decoder.decode(part);
      require(view.region.contains(part), "less than was asked for");
      for (int y = part.y; y < part.y + part.h; ++y) {
        require(std::memcmp(view.at(part.x, y), whole.at(part.x, y), static_cast<size_t>(part.w) * 3) == 0,
                "a part has other pixels than the whole");
      }
    }
  });
}

// A zip file as a source of pictures. The names of its members come from the container's reader.
Outcome open_picture_zip(Bytes bytes) {
  const FuzzedFile file(bytes, ".zip");
  return outcome_of([&] {
    const auto pictures = open_pictures(file.path());
    Budget budget("fuzzed");
    const ZipReader directory(bytes, "fuzzed", budget);
    std::vector<std::byte> scratch;
    size_t members = 0;
    for (const auto& entry : directory.members()) {
      const std::string& name = entry.first;
      const ZipReader::Member& member = entry.second;
      if (++members > 16) break;  // a directory may list the same data many times
      use([&] {
        const std::span<const std::byte> picture = pictures->read(name, scratch);
        require(picture.size() == member.size, "another size than announced");
        require(zip_crc(picture) == member.crc || !member.deflated, "another CRC than announced");
      });
      use([&] { pictures->glance(name, [](std::span<const std::byte> b) { require(!b.empty(), "an empty file"); }); });
    }
    use([&] { pictures->read("no such picture.jpg", scratch); });
  });
}

Outcome open_pack(Bytes bytes) {
  const FuzzedFile file(bytes, ".pack");
  return outcome_of([&] {
    is_pack(file.path());
    const Pack pack(file.path());
    require(pack.skeleton().joints() > 0, "no joints");
    for (const std::string& name : pack.splits()) {
      const PackLimits& limits = pack.limits(name);
      pack.size(name);
      use([&] {
        DatasetOptions options{.recipe = limits.recipe, .input_h = 64, .input_w = 48};
        options.categories = limits.categories;
        const PoseDataset set = pack.dataset(name, options);
        place_people(set);
        for (size_t i = 0; i < std::min<size_t>(set.size(), 4); ++i) {
          use([&] {
            const Region reach = set.reach(i);
            const auto view = set.pictures().pixels(static_cast<size_t>(set.people()[i].image_index), reach);
            require(view.has_value(), "a pack without pixels");
            touch(*view);
          });
        }
      });
    }
    use([&] { pack.verify(); });
  });
}

}  // namespace hr::test

#include "tools/programs/browse.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "core/counted.h"
#include "core/error.h"
#include "data/draw/draw.h"
#include "tools/programs/cli.h"
#include "tools/programs/progress.h"
#include "tools/programs/validate.h"

namespace hr {
namespace {

// A colour of its own for each joint, around the wheel.
Color joint_color(int k, int joints) {
  const double hue = 6.0 * k / std::max(joints, 1);
  const auto channel = [&](double offset) {
    const double t = std::fmod(hue + offset, 6.0);
    const double v = t < 1 ? t : t < 3 ? 1 : t < 4 ? 4 - t : 0;
    return static_cast<uint8_t>(40 + 215 * v);
  };
  return {channel(2), channel(0), channel(4)};
}

// Joints of a placement as draw_person wants them; v stands for the score: hollow is hidden.
std::vector<float> drawable(const Placement& placement) { return {placement.joints.begin(), placement.joints.end()}; }

Image with_joints(Image crop, const Skeleton& skeleton, const Placement& placement) {
  if (!placement.joints.empty()) {
    draw_person(crop, skeleton, drawable(placement), {.threshold = 0, .solid = 1, .line_width = 2});
  }
  return crop;
}

// The crop in grey under its target heatmaps.
Image with_targets(const Image& crop, const Sample& sample, int joints) {
  Image out(crop.width, crop.height);
  const int w = crop.width / 4, h = crop.height / 4;
  for (int y = 0; y < crop.height; ++y) {
    for (int x = 0; x < crop.width; ++x) {
      const uint8_t* from = crop.at(x, y);
      uint8_t* to = out.at(x, y);
      const int grey = (from[0] * 77 + from[1] * 150 + from[2] * 29) >> 9;  // at half its brightness
      std::fill(to, to + 3, static_cast<uint8_t>(grey));
      const float* values =
          sample.target.data() + (static_cast<size_t>(std::min(y / 4, h - 1)) * w + std::min(x / 4, w - 1)) * joints;
      for (int k = 0; k < joints; ++k) {
        if (values[k] > 0.02F && sample.weight[k] > 0) blend(to, joint_color(k, joints), std::min(values[k], 1.0F));
      }
    }
  }
  return out;
}

std::string what_was_drawn(const Augmentation& a) {
  std::string text = fmt::format("x{:.2f} {:+.0f} deg", a.scale, a.rotation);
  if (a.flip) text += " flip";
  if (a.half_body) text += a.upper_first ? " half:upper" : " half:lower";
  if (a.brightness != 0 || a.contrast != 1 || a.saturation != 1 || a.hue != 0) text += " colour";
  if (!a.holes.empty()) text += fmt::format(" {}", counted(a.holes.size(), "hole"));
  return text;
}

// Quartiles and ends of a list, as a line.
std::string spread(std::vector<double> v, const char* unit) {
  if (v.empty()) return "none";
  std::sort(v.begin(), v.end());
  const auto at = [&](double part) { return v[static_cast<size_t>(part * static_cast<double>(v.size() - 1))]; };
  return fmt::format("{:.0f} to {:.0f}, half of them {:.0f} to {:.0f}, median {:.0f} {}", v.front(), v.back(), at(0.25),
                     at(0.75), at(0.5), unit);
}

std::string bar(double part, int width) { return std::string(static_cast<size_t>(std::lround(part * width)), '#'); }

}  // namespace

std::string summarize(const PoseDataset& data) {
  const Skeleton& skeleton = data.skeleton();
  const int joints = skeleton.joints();
  std::string out = fmt::format("{}\n  {}\n", data.annotations().path, data.counts().summary());

  std::unordered_map<int, int> people_of;
  std::vector<double> width, height, side;
  std::vector<size_t> labelled(joints), visible(joints), by_count(joints + 1);
  size_t small = 0, medium = 0, large = 0;
  for (const Person& p : data.people()) {
    ++people_of[p.image_index];
    side.push_back(std::sqrt(std::max(0.0, p.box.w * p.box.h)));
    const double area = p.box.w * p.box.h;
    ++(area < 32.0 * 32 ? small : area < 96.0 * 96 ? medium : large);
    size_t n = 0;
    for (size_t k = 0; 3 * k + 2 < p.joints.size(); ++k) {
      labelled[k] += static_cast<size_t>(p.joints[3 * k + 2] > 0);
      visible[k] += static_cast<size_t>(p.joints[3 * k + 2] > 1);
      n += static_cast<size_t>(p.joints[3 * k + 2] > 0);
    }
    ++by_count[std::min(n, by_count.size() - 1)];
  }
  size_t pictures_with_one = 0, most = 0;
  for (const auto& [image, n] : people_of) {
    const CocoImage& entry = data.annotations().images[image];
    width.push_back(entry.width);
    height.push_back(entry.height);
    pictures_with_one += static_cast<size_t>(n == 1);
    most = std::max(most, static_cast<size_t>(n));
  }
  out += fmt::format("  {} in {} of {} ({:.2f} each, {} at most, {} with one)\n", counted_people(data.size()),
                     people_of.size(), counted(data.annotations().images.size(), "picture"),
                     static_cast<double>(data.size()) / static_cast<double>(std::max<size_t>(people_of.size(), 1)),
                     most, counted(pictures_with_one, "picture"));
  out += "  picture width   " + spread(width, "px") + "\n  picture height  " + spread(height, "px") + "\n";
  out += "  person's side   " + spread(side, "px (root of the box)") + "\n";
  out += fmt::format("  boxes by COCO's areas: {} small (under 32 x 32), {} medium, {} large (from 96 x 96)\n", small,
                     medium, large);

  const auto share = [&](size_t n) {
    return static_cast<double>(n) / static_cast<double>(std::max<size_t>(data.size(), 1));
  };
  out += fmt::format("  joints of {}{}\n", skeleton.name,
                     skeleton.sigmas_assumed ? " (its OKS sigmas are assumed: nobody said them)" : "");
  size_t longest = 0;
  for (const std::string& name : skeleton.names) longest = std::max(longest, name.size());
  for (int k = 0; k < joints; ++k) {
    out += fmt::format("    {:<{}}  labelled {:5.1f} %, visible {:5.1f} %  {}\n", skeleton.names[k], longest,
                       100 * share(labelled[k]), 100 * share(visible[k]), bar(share(labelled[k]), 40));
  }
  out += "  people by number of labelled joints\n";
  for (size_t first = 0; first <= static_cast<size_t>(joints); first += 4) {
    const size_t last = std::min<size_t>(first + 3, joints);
    const size_t n = std::accumulate(by_count.begin() + static_cast<ptrdiff_t>(first),
                                     by_count.begin() + static_cast<ptrdiff_t>(last) + 1, size_t{0});
    if (n > 0) out += fmt::format("    {:>3} to {:<3}  {:7}  {}\n", first, last, n, bar(share(n), 40));
  }
  const auto bad = data.bad().entries();
  if (!bad.empty()) {
    out += fmt::format("  dropped: {}\n", data.bad().summary());
    for (size_t i = 0; i < std::min<size_t>(bad.size(), 20); ++i) out += "    " + bad[i].message + "\n";
    if (bad.size() > 20) out += fmt::format("    and {} more, see the list\n", bad.size() - 20);
  }
  return out;
}

void add_browse_options(CLI::App& app, BrowseOptions& o) {
  describe(app,
           "Shows a dataset as the network sees it: contact sheets of crops with joints (hollow: hidden), of target "
           "heatmaps and of augmentation draws, and a summary of people, joints, sizes and what was dropped.",
           "browse --data-path demo/data --output browse\nbrowse --data-path coco.pack --split val");
  app.add_option("--output", o.output, "folder for crops.png, targets.png, draws.png, summary.txt")->type_name("DIR");
  app.add_option("--split", o.split, "train or val")->check(CLI::IsMember({"train", "val"}));
  app.add_option("--people", o.people, "how many people, chosen by lot (--seed)")
      ->type_name("N")
      ->check(CLI::Range(1, 400));
  app.add_option("--draws", o.draws, "augmentations of each person in draws.png")
      ->type_name("N")
      ->check(CLI::Range(1, 20));
  add_fixed_size(app, o.fixed_size);
  app.add_option("--sigma", o.sigma, "heatmap sigma in heatmap pixels [0: 2, or 3 from an input height of 384 on]")
      ->type_name("X");
  app.add_option("--keypoints-path", o.keypoints_path,
                 "skeleton: a built-in name (coco, mpii, ...), a file, or `categories` for the annotation file's own")
      ->type_name("NAME|FILE");
  add_data_options(app, o);
  add_threads(app, o.threads);
}

void browse(const BrowseOptions& o) {
  prepare_output_folder(o.output, "--output");
  const fs::path folder = o.output;
  const Skeleton skeleton = data_skeleton(o, o.keypoints_path, o.split);
  const int h = o.fixed_size[0], w = o.fixed_size[1];
  const double sigma = heatmap_sigma(o.sigma, h);
  // A packed validation split has no margin for augmentation.
  const bool augment = !o.no_augment;
  DataOptions flags = o;
  if (flags.on_bad_sample.empty()) flags.on_bad_sample = "skip";  // to look at a dataset is to find what is bad in it
  PoseDataset plain = open_split(flags, o.split, skeleton, dataset_options(flags, h, w, sigma, false, false, o.split));
  check_samples(plain, flags, o.split, folder, o.threads);
  const std::string summary = summarize(plain);
  fmt::print("{}", summary);
  std::fflush(stdout);
  write_file(folder / "summary.txt", summary);

  std::vector<size_t> chosen(plain.size());
  std::iota(chosen.begin(), chosen.end(), size_t{0});
  Philox random(o.seed, 1, 0);
  const size_t count = std::min<size_t>(chosen.size(), static_cast<size_t>(o.people));
  for (size_t i = 0; i < count; ++i) std::swap(chosen[i], chosen[i + random.below(chosen.size() - i)]);
  chosen.resize(count);

  std::vector<Image> crops, targets;
  std::vector<std::string> captions;
  for (const size_t i : chosen) {
    const Person& person = plain.people()[i];
    const Placement placement = plain.placed(i, 0).placement;
    const Image crop = plain.crop(i, 0);
    crops.push_back(with_joints(crop, skeleton, placement));
    targets.push_back(with_targets(crop, plain.sample(i, 0), skeleton.joints()));
    size_t labelled = 0;
    for (size_t k = 2; k < person.joints.size(); k += 3) labelled += static_cast<size_t>(person.joints[k] > 0);
    captions.push_back(fmt::format("{}: {}", person.annotation_id, counted(labelled, "joint")));
  }
  const int columns = std::clamp(static_cast<int>(std::ceil(std::sqrt(1.5 * static_cast<double>(count)))), 1, 8);
  write_image(folder / "crops.png", contact_sheet(crops, captions, columns, w, h));
  write_image(folder / "targets.png", contact_sheet(targets, captions, columns, w, h));
  fmt::print("wrote {0}/crops.png, {0}/targets.png, {0}/summary.txt\n", folder.string());
  if (!augment) return;

  PoseDataset drawn = open_split(flags, o.split, skeleton, dataset_options(flags, h, w, sigma, true, false, o.split));
  for (auto& entry : plain.bad().entries()) drawn.bad().add(std::move(entry));
  drawn.drop_bad();
  std::vector<Image> rows;
  captions.clear();
  for (size_t k = 0; k < std::min<size_t>(count, 8); ++k) {
    const size_t i = chosen[k];
    rows.push_back(crops[k]);
    captions.push_back(fmt::format("{}: plain", plain.people()[i].annotation_id));
    for (int draw = 0; draw < o.draws; ++draw) {
      const auto placed = drawn.placed(i, static_cast<uint64_t>(draw));
      rows.push_back(with_joints(drawn.crop(i, static_cast<uint64_t>(draw)), skeleton, placed.placement));
      captions.push_back(what_was_drawn(placed.augmentation));
    }
  }
  write_image(folder / "draws.png", contact_sheet(rows, captions, o.draws + 1, w, h));
  fmt::print("wrote {}/draws.png\n", folder.string());
}

}  // namespace hr

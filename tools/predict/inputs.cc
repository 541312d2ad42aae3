#include "tools/predict/inputs.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"

namespace hr {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// What file managers leave in folders: macOS's ._photo.jpg and .DS_Store, Windows' Thumbs.db, hidden files of any kind.
bool is_stray(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || name == "thumbs.db" || name == "desktop.ini";
}

}  // namespace

std::string first_names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    text += (i > 0 ? ", " : "") + paths[i].filename().string();
  }
  return paths.size() > kShown ? text + fmt::format(" and {} more", paths.size() - kShown) : text;
}

std::vector<fs::path> list_pictures(const std::vector<std::string>& inputs, std::vector<fs::path>& left_out) {
  const std::set<std::string> endings{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"};
  std::vector<fs::path> pictures;
  std::set<fs::path> known;
  const auto add = [&](const fs::path& picture) {
    if (known.insert(fs::weakly_canonical(picture)).second) pictures.push_back(picture);
  };
  for (const std::string& input : inputs) {
    check(fs::exists(input), "{}: no such file or folder", input);
    if (!fs::is_directory(input)) {
      add(input);
      continue;
    }
    std::vector<fs::path> inside, others;
    for (const auto& entry : fs::directory_iterator(input)) {
      if (!entry.is_regular_file() || is_stray(entry.path())) continue;
      (endings.contains(lower(entry.path().extension().string())) ? inside : others).push_back(entry.path());
    }
    std::sort(others.begin(), others.end());
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files{}", input,
          others.empty() ? "" : fmt::format(", found {}; convert them first", first_names(others)));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& picture : inside) add(picture);
    left_out.insert(left_out.end(), others.begin(), others.end());
  }
  return pictures;
}

std::vector<std::string> output_names(const std::vector<fs::path>& pictures) {
  std::vector<std::string> names;
  std::map<std::string, int> count;
  for (const fs::path& picture : pictures) ++count[names.emplace_back(picture.stem().string())];
  std::vector<size_t> same;
  for (size_t i = 0; i < names.size(); ++i) {
    if (count[names[i]] > 1) same.push_back(i);
  }
  std::set<std::string> taken;
  for (size_t i = 0; i < names.size(); ++i) {
    if (count[names[i]] == 1) taken.insert(names[i]);
  }
  for (const size_t i : same) {
    const fs::path whole = fs::weakly_canonical(pictures[i]);
    const std::string ending = whole.extension().string();
    std::string name = whole.stem().string() + (ending.empty() ? "" : "_" + ending.substr(1));
    const auto shared = [&](const std::string& candidate, int folders) {  // by another of the same names
      return std::any_of(same.begin(), same.end(), [&](size_t j) {
        if (j == i) return false;
        const fs::path other = fs::weakly_canonical(pictures[j]);
        const std::string end = other.extension().string();
        std::string theirs = other.stem().string() + (end.empty() ? "" : "_" + end.substr(1));
        fs::path up = other.parent_path();
        for (int k = 0; k < folders; ++k, up = up.parent_path()) theirs = up.filename().string() + "_" + theirs;
        return theirs == candidate;
      });
    };
    int folders = 0;
    for (fs::path up = whole.parent_path(); shared(name, folders) && up.has_relative_path(); up = up.parent_path()) {
      name = up.filename().string() + "_" + name;
      ++folders;
    }
    names[i] = name;
    for (int n = 2; !taken.insert(names[i]).second; ++n) names[i] = fmt::format("{}_{}", name, n);
  }
  return names;
}

}  // namespace hr

#include "data/formats/find_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "core/error.h"

namespace hr {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// File managers leave such files in folders: macOS ._photo.jpg and .DS_Store, Windows Thumbs.db.
bool is_stray(const fs::path& path) {
  const std::string name = lower(path.filename().string());
  return name.starts_with(".") || name == "thumbs.db" || name == "desktop.ini";
}

}  // namespace

std::string some_names(const std::vector<fs::path>& paths) {
  constexpr size_t kShown = 3;
  std::string text;
  for (size_t i = 0; i < std::min(kShown, paths.size()); ++i) {
    text += (i > 0 ? ", " : "") + paths[i].filename().string();
  }
  return paths.size() > kShown ? text + fmt::format(" and {} more", paths.size() - kShown) : text;
}

FoundPictures find_pictures(const std::vector<std::string>& paths) {
  const std::set<std::string> endings{".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pnm"};
  FoundPictures found;
  std::set<fs::path> known;
  const auto add = [&](const fs::path& picture) {
    if (known.insert(fs::weakly_canonical(picture)).second) found.pictures.push_back(picture);
  };
  for (const std::string& path : paths) {
    check(fs::exists(path), "{}: no such file or folder", path);
    if (!fs::is_directory(path)) {
      add(path);
      continue;
    }
    std::vector<fs::path> inside, others;
    for (const auto& entry : fs::directory_iterator(path)) {
      if (!entry.is_regular_file() || is_stray(entry.path())) continue;
      (endings.contains(lower(entry.path().extension().string())) ? inside : others).push_back(entry.path());
    }
    std::sort(others.begin(), others.end());
    check(!inside.empty(), "{}: no pictures in this folder; expected .jpg or .png files{}", path,
          others.empty() ? "" : fmt::format(", found {}; convert them first", some_names(others)));
    std::sort(inside.begin(), inside.end());
    for (const fs::path& picture : inside) add(picture);
    found.left_out.insert(found.left_out.end(), others.begin(), others.end());
  }
  return found;
}

}  // namespace hr

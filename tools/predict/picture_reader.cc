#include "tools/predict/picture_reader.h"

#include <algorithm>

#include "core/error.h"
#include "core/parallel.h"
#include "tools/cli/flag_names.h"

namespace hr {
namespace {

// Reads a picture upright, as the camera's EXIF orientation says. The exception is a picture whose annotations state
// the stored size instead of the upright one: its boxes were drawn on the stored pixels, so it is not turned.
Image read_picture(const fs::path& path, const Boxes::Picture& entry, std::string* damage) {
  const MappedFile file(path);
  Orientation orientation = Orientation::apply;
  if (entry.width > 0 && entry.height > 0) {
    const PictureInfo stored = probe_image(file.bytes(), path.string());
    const PictureInfo seen = probe_image(file.bytes(), path.string(), Orientation::apply);
    const auto fits = [&](const PictureInfo& info) { return info.width == entry.width && info.height == entry.height; };
    check(fits(stored) || fits(seen),
          "{}: the picture has {} x {} pixels, its entry in --boxes says {} x {}; its boxes would not fit",
          path.string(), seen.width, seen.height, entry.width, entry.height);
    if (!fits(seen)) orientation = Orientation::ignore;
  }
  return decode_image(file.bytes(), path.string(), orientation, default_max_pixels, damage);
}

ReadPicture try_to_read(const fs::path& path, const Boxes::Picture& entry) {
  ReadPicture picture;
  try {
    picture.image = read_picture(path, entry, &picture.damage);
  } catch (const Error& error) {
    picture.error = with_flags(error.what());
  }
  return picture;
}

}  // namespace

PictureReader::PictureReader(const std::vector<fs::path>& pictures, const Boxes& boxes, int workers)
    : pictures_(pictures), boxes_(boxes), workers_(workers) {}

bool PictureReader::next(ReadPicture& picture) {
  const auto most = static_cast<size_t>(std::max(1, workers_));
  const bool threads = workers_ > 0;
  while (asked_ < pictures_.size() && ahead_.size() < most) {
    ahead_.push_back(std::async(threads ? std::launch::async : std::launch::deferred, [this, threads, i = asked_++] {
      // A new thread inherits the CPU affinity of the computing thread, so the pin is removed.
      if (threads) unpin_this_thread();
      return try_to_read(pictures_[i], boxes_.pictures[i]);
    }));
  }
  if (ahead_.empty()) return false;
  picture = ahead_.front().get();
  ahead_.pop_front();
  return true;
}

}  // namespace hr

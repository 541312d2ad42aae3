// Where a dataset's pictures are: a folder, or a zip file (stored or deflated members). Thread-safe.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/file.h"
#include "data/formats/image.h"

namespace hr {

class PictureSource {
 public:
  virtual ~PictureSource() = default;
  // What messages call the picture: its path, or the zip file and the member.
  virtual std::string place(const std::string& file_name) const = 0;
  // The bytes of the picture's file, in `scratch` or elsewhere; valid until scratch is used again. Error names the
  // place: missing, empty, not a file.
  virtual std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const = 0;
  // The same for a glance: look(bytes) may touch a few of them, and only those are read where that is possible.
  virtual void glance(const std::string& file_name,
                      const std::function<void(std::span<const std::byte>)>& look) const = 0;
  // Pixels that need no decoding: a view that has `region` of the image of this index, if the source keeps such.
  virtual std::optional<ImageView> pixels(size_t image_index, const Region& region) const;
  // False: there are no files, only pixels().
  virtual bool has_files() const { return true; }
  // One sentence for each way by which pictures were found so far that have another name than the annotations say.
  virtual std::vector<std::string> remarks() const { return {}; }
};

// path: a folder, or a file that ends in .zip. In a zip, file_name is looked for at the top, then in the folder that
// the zip file is named after (train2017.zip: train2017/7.jpg). An empty path stands for file names that are paths.
//
// A file_name that is not there is looked for with `/` for `\`, with %XX decoded, without the folder's own name in
// front, and then with every part of the path compared as folded_name() does. What is found so is used and counted in
// remarks(). Two files that fit equally well, and a name that no way leads to, are an Error with the likely cause.
std::shared_ptr<const PictureSource> open_pictures(const fs::path& path);

}  // namespace hr

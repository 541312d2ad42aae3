// The pictures of a dataset: a folder, or a zip file (stored or deflated members). Thread-safe.
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
  // Returns the name of the picture in messages: its path, or the zip file and the member.
  virtual std::string place(const std::string& file_name) const = 0;
  // Returns the bytes of the picture's file, in `scratch` or elsewhere; valid until scratch is used again. Throws Error
  // that names the place if the file is missing, empty or not a file.
  virtual std::span<const std::byte> read(const std::string& file_name, std::vector<std::byte>& scratch) const = 0;
  // For a quick look: look(bytes) may use a few of the bytes, and where possible only those are read.
  virtual void glance(const std::string& file_name,
                      const std::function<void(std::span<const std::byte>)>& look) const = 0;
  // For sources that keep pixels: returns a view of the image of this index that contains `region`. It needs no
  // decoding.
  virtual std::optional<ImageView> pixels(size_t image_index, const Region& region) const;
  // Returns false if there are no files, only pixels().
  virtual bool has_files() const { return true; }
  // Returns one sentence for each way in which pictures have been found so far under another name than that in the
  // annotations.
  virtual std::vector<std::string> remarks() const { return {}; }
};

// `path` is a folder, or a file that ends in .zip. In a zip, file_name is looked for at the top, then in the folder
// after which the zip file is named (train2017.zip: train2017/7.jpg). If `path` is empty, file names are paths.
//
// A file_name that does not exist is looked for with `/` in place of `\`, with %XX decoded, without the folder's own
// name at its beginning, and then with every part of the path compared as folded_name() does. A file that is found in
// this way is used and counted in remarks(). If two files fit equally well, or none does, reading throws Error with the
// likely cause.
std::shared_ptr<const PictureSource> open_pictures(const fs::path& path);

}  // namespace hr

// A JPEG in memory, for pictures that are embedded in other files. write_image (data/formats/image.h) writes files.
#pragma once
#include <string>

#include "data/formats/image.h"

namespace hr {

// The bytes of a JPEG file. quality: 1 to 100. Throws Error for a picture without pixels. Thread-safe.
std::string encode_jpeg(const Image& image, int quality);

}  // namespace hr

// Reads PNG, BMP, GIF and PNM with stb_image, for data/formats/image.h.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "data/formats/image.h"

namespace hr {

// Both throw Error that begins with `name` if the bytes are no such picture, or end early.
PictureInfo probe_with_stb(std::span<const std::byte> bytes, std::string_view name, int64_t max_pixels);
Image decode_with_stb(std::span<const std::byte> bytes, std::string_view name);

}  // namespace hr

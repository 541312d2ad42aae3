// JPEG by libjpeg-turbo: what data/formats/image.h needs of it.
#pragma once
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>

#include <jpeglib.h>  // Needs stdio's FILE to be declared first.

#include "data/formats/image.h"

namespace hr {

// libjpeg reports errors with a call that must not return. It jumps back to here. Functions that call setjmp therefore
// hold no objects that need a destructor; such objects live in their callers.
struct JpegErrors {
  jpeg_error_mgr base;  // Must be first, because libjpeg passes back a pointer to it.
  std::jmp_buf jump;
  bool ran_out;    // The bytes ended before the end marker, and libjpeg inserted one.
  bool truncated;  // Pixels are missing.
  char message[JMSG_LENGTH_MAX];
  char warning[JMSG_LENGTH_MAX];  // The first warning; the end of the bytes does not count as one.

  void clear() {
    ran_out = truncated = false;
    message[0] = warning[0] = '\0';
  }
};

// Makes libjpeg report to `errors`.
jpeg_error_mgr* install(JpegErrors& errors);

struct JpegReader {
  JpegErrors errors;
  jpeg_decompress_struct info{};
  jpeg_progress_mgr progress{};
  bool finishing = false;

  JpegReader();
  ~JpegReader() { jpeg_destroy_decompress(&info); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool open(std::span<const std::byte> bytes);  // Reads the header.

  // Decodes at least `wanted` into memory that room(bytes) returns: rows of `region` (the decoded part) * 3 bytes,
  // followed by one row of 4 bytes per pixel as scratch memory. With a region libjpeg can skip work: blocks at the left
  // and right are not transformed, rows above are only read, rows below are not read. Smooth upsampling mixes
  // neighbouring samples, so that pixels at a cut edge would differ; therefore two more columns are decoded on either
  // side.
  bool decode(Region wanted, Region& region, const std::function<uint8_t*(const Region&)>& room);

  // Returns whether pixels are missing from a file without an end marker in a way that the Huffman decoder does not
  // notice. A file of several scans may be cut between two of them: a component without any scan has no quantisation
  // table yet, and for a progressive file libjpeg knows how many bits of each coefficient are still to come. The
  // arithmetic decoder (a rare format) silently reads zeros for missing bytes, so that any such file counts as cut off.
  bool pixels_are_missing() const;
};

bool is_jpeg(std::span<const std::byte> bytes);
// Returns whether the end marker lies within the last bytes (some cameras append a little). If it is missing the file
// may be cut off, and decoding a part might not notice that.
bool has_jpeg_end(std::span<const std::byte> bytes);
// Returns the EXIF orientation of a JPEG, 1 to 8; 1 if there is none or it cannot be read.
int jpeg_orientation(std::span<const std::byte> bytes);

}  // namespace hr

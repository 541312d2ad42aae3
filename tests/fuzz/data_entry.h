// The readers of datasets and results (data/), as entry.h has those of weight files: each entry function gives the
// bytes to the reader and uses everything that it hands out. They return normally for a file that is read or refused
// with an Error that names it; all else is a finding.
#pragma once
#include "tests/fuzz/entry.h"

namespace hr::test {

using Bytes = std::span<const std::byte>;

// COCO annotation files, as training reads them (with and without a list of what is left out) and as evaluation does.
Outcome open_coco(Bytes file);
Outcome open_results(Bytes file);  // and their evaluation against two people
Outcome open_mpii(Bytes file);
Outcome open_skeleton(Bytes file);
Outcome open_mat(Bytes file);
// Size and EXIF of any picture; those of at most 2^16 pixels are decoded, whole and in part.
Outcome open_picture(Bytes file);
Outcome open_picture_zip(Bytes file);
Outcome open_pack(Bytes file);

}  // namespace hr::test

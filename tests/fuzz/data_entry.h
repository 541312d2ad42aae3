// The entry functions for readers of datasets and results (data/); entry.h has those for weight files. Each passes the
// bytes to the reader and uses everything that the reader returns. It returns normally if the file is read, or if it is
// refused with an Error that names it; everything else is a finding.
#pragma once
#include "tests/fuzz/entry.h"

namespace hr::test {

using Bytes = std::span<const std::byte>;

// COCO annotation files, read as training does (with and without a list of what is left out) and as evaluation does.
Outcome open_coco(Bytes file);
Outcome open_results(Bytes file);  // and their evaluation against two people
Outcome open_mpii(Bytes file);
Outcome open_skeleton(Bytes file);
Outcome open_mat(Bytes file);
// The size and EXIF data of any picture. Pictures of at most 2^16 pixels are decoded, whole and in part.
Outcome open_picture(Bytes file);
Outcome open_picture_zip(Bytes file);
Outcome open_pack(Bytes file);

}  // namespace hr::test

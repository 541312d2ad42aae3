// Copies the streams of a video into another kind of file, for tests.
#pragma once
#include "core/file.h"

namespace hr::test {

// Copies every packet without coding it anew; the extension of `to` selects the kind of file (.ts: MPEG-TS). Needs
// FFmpeg. Throws Error if FFmpeg cannot do it, and in a build without it.
void remux(const fs::path& from, const fs::path& to);

}  // namespace hr::test

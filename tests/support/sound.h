// Sound files made by hand, and the sound of any file packet by packet.
#pragma once
#include <string>
#include <vector>

#include "core/file.h"

namespace hr::test {

// MPEG layer 3: frames of silence of 1152 samples at 44.1 kHz, 26 ms each. Every frame ends with its own number.
std::string made_mp3(int frames);
// A WAV file with eight-bit samples (pcm_u8), which MP4 cannot hold: silence at 8 kHz.
std::string made_wav(double seconds);

struct SoundPacket {
  double seconds = 0;
  std::string bytes;
};
struct Sound {
  std::string codec;  // Empty if there is none.
  std::vector<SoundPacket> packets;
};
// Reads the sound of a file with FFmpeg. In a build without FFmpeg the result is empty.
Sound sound_of(const fs::path& path);

}  // namespace hr::test

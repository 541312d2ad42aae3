#include "tests/support/sound.h"

#ifdef HR_HAS_FFMPEG
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}
#endif

namespace hr::test {

std::string made_mp3(int frames) {
  std::string bytes;
  for (int i = 0; i < frames; ++i) {
    // The header says 128 kbit/s, mono, without a checksum. The side information of zeros says that there are no
    // coefficients.
    std::string frame("\xff\xfb\x90\xc4", 4);
    frame.resize(417, '\0');
    for (int k = 0; k < 4; ++k) frame[frame.size() - 4 + k] = static_cast<char>(i >> (6 * k) & 0x3f);
    bytes += frame;
  }
  return bytes;
}

std::string made_wav(double seconds) {
  const auto samples = static_cast<uint32_t>(seconds * 8000);
  std::string head("RIFF....WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x40\x1f\0\0\1\0\x08\0data....", 44);
  const auto put = [&](size_t at, uint32_t v) {
    for (int k = 0; k < 4; ++k) head[at + k] = static_cast<char>(v >> (8 * k));
  };
  put(4, 36 + samples);
  put(40, samples);
  return head + std::string(samples, '\x80');
}

Sound sound_of([[maybe_unused]] const fs::path& path) {
  Sound sound;
#ifdef HR_HAS_FFMPEG
  AVFormatContext* context = nullptr;
  if (avformat_open_input(&context, path.c_str(), nullptr, nullptr) < 0) return sound;
  avformat_find_stream_info(context, nullptr);
  const int found = av_find_best_stream(context, AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0);
  if (found >= 0) {
    const AVStream* stream = context->streams[found];
    sound.codec = avcodec_get_name(stream->codecpar->codec_id);
    AVPacket* packet = av_packet_alloc();
    for (; av_read_frame(context, packet) >= 0; av_packet_unref(packet)) {
      if (packet->stream_index != found) continue;
      sound.packets.push_back({static_cast<double>(packet->pts) * av_q2d(stream->time_base),
                               {reinterpret_cast<const char*>(packet->data), static_cast<size_t>(packet->size)}});
    }
    av_packet_free(&packet);
  }
  avformat_close_input(&context);
#endif
  return sound;
}

}  // namespace hr::test

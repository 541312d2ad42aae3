#include "tests/support/remux.h"

#include "core/error.h"

#ifdef HR_HAS_FFMPEG
extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}
#endif

namespace hr::test {

#ifdef HR_HAS_FFMPEG
void remux(const fs::path& from, const fs::path& to) {
  const auto need = [&](int code) {
    check(code >= 0, "{}: cannot be copied to {} ({})", from.string(), to.string(), code);
  };
  AVFormatContext *in = nullptr, *out = nullptr;
  need(avformat_open_input(&in, from.c_str(), nullptr, nullptr));
  need(avformat_find_stream_info(in, nullptr));
  need(avformat_alloc_output_context2(&out, nullptr, nullptr, to.c_str()));
  for (unsigned i = 0; i < in->nb_streams; ++i) {
    AVStream* stream = avformat_new_stream(out, nullptr);
    need(avcodec_parameters_copy(stream->codecpar, in->streams[i]->codecpar));
    stream->codecpar->codec_tag = 0;  // The tag of the old kind of file.
  }
  need(avio_open(&out->pb, to.c_str(), AVIO_FLAG_WRITE));
  need(avformat_write_header(out, nullptr));
  AVPacket* packet = av_packet_alloc();
  while (av_read_frame(in, packet) >= 0) {
    const int i = packet->stream_index;
    av_packet_rescale_ts(packet, in->streams[i]->time_base, out->streams[i]->time_base);
    packet->pos = -1;
    need(av_interleaved_write_frame(out, packet));
  }
  need(av_write_trailer(out));
  av_packet_free(&packet);
  avio_closep(&out->pb);
  avformat_free_context(out);
  avformat_close_input(&in);
}
#else
void remux(const fs::path& from, const fs::path&) { fail("{}: this build has no FFmpeg", from.string()); }
#endif

}  // namespace hr::test

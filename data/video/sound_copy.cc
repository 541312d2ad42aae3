#include "data/video/sound_copy.h"

#include "core/error.h"

namespace hr::ffmpeg {

SoundCopy::SoundCopy(const fs::path& source, AVFormatContext& output) : output_(output) {
  forget_complaints();
  AVFormatContext* context = nullptr;
  int code = avformat_open_input(&context, ("file:" + source.string()).c_str(), nullptr, nullptr);
  input_.reset(context);
  if (code >= 0) code = avformat_find_stream_info(context, nullptr);
  if (code < 0 || packet_ == nullptr) {
    problem_ = fmt::format("cannot be read: {}", why(code < 0 ? code : AVERROR(ENOMEM)));
    return;
  }
  const int found = av_find_best_stream(context, AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0);
  if (found < 0) return;
  AVStream* from = context->streams[found];
  const char* name = avcodec_get_name(from->codecpar->codec_id);
  if (avformat_query_codec(output.oformat, from->codecpar->codec_id, FF_COMPLIANCE_NORMAL) != 1) {
    problem_ = fmt::format("is coded as {}, which does not fit into MP4", name);
    return;
  }
  AVStream* to = avformat_new_stream(&output, nullptr);
  check(to != nullptr && avcodec_parameters_copy(to->codecpar, from->codecpar) >= 0, "{}: no memory", source.string());
  to->codecpar->codec_tag = 0;  // The container chooses its own tag.
  to->time_base = from->time_base;
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    if (context->streams[i] != from) context->streams[i]->discard = AVDISCARD_ALL;
  }
  if (context->start_time != AV_NOPTS_VALUE)
    start_ = av_rescale_q(context->start_time, {1, AV_TIME_BASE}, from->time_base);
  from_ = from;
  to_ = to;
}

// Reads the next packet of the sound that has a time of its own. Returns false if there are no more.
bool SoundCopy::next() {
  constexpr int kPatience = 100;  // The copy ends after this many unreadable packets in a row.
  for (int failed = 0; !ended_ && failed < kPatience;) {
    const int code = av_read_frame(input_.get(), packet_.get());
    if (code == AVERROR_INVALIDDATA) {
      ++failed;
      continue;
    }
    if (code < 0) break;
    AVPacket& p = *packet_;
    if (p.dts == AV_NOPTS_VALUE) p.dts = p.pts;
    if (p.pts == AV_NOPTS_VALUE) p.pts = p.dts;
    // A packet whose time steps back, as in a recording joined from several parts, cannot be written into MP4.
    if (p.stream_index == from_->index && p.dts != AV_NOPTS_VALUE && (last_ == AV_NOPTS_VALUE || p.dts > last_)) {
      last_ = p.dts;
      p.dts -= start_;
      p.pts -= start_;
      return true;
    }
    av_packet_unref(packet_.get());
  }
  ended_ = true;
  return false;
}

void SoundCopy::write_until(double seconds) {
  if (to_ == nullptr) return;
  while (!ended_ && (pending_ || next())) {
    pending_ = true;
    if (static_cast<double>(packet_->pts) * av_q2d(from_->time_base) >= seconds) return;
    pending_ = false;
    forget_complaints();
    packet_->stream_index = to_->index;
    packet_->pos = -1;
    av_packet_rescale_ts(packet_.get(), from_->time_base, to_->time_base);
    if (const int code = av_interleaved_write_frame(&output_, packet_.get()); code < 0) {
      problem_ = fmt::format("could not be copied to its end: {}", why(code));
      ended_ = true;
    }
  }
}

}  // namespace hr::ffmpeg

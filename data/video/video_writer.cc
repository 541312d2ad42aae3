#include "data/video/video_writer.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "data/video/ffmpeg.h"
#include "data/video/sound_copy.h"

namespace hr {
namespace {

constexpr int kMostSide = 16384;  // H.264 allows no longer side.

struct CloseOutput {
  void operator()(AVFormatContext* p) const {
    if (p->pb != nullptr) avio_closep(&p->pb);
    avformat_free_context(p);
  }
};

const AVCodec* find_encoder(const std::string& path, const std::string& asked) {
  check(asked.empty() || asked == "h264" || asked == "mpeg4", "{}: no encoder '{}'; h264 and mpeg4 are known", path,
        asked);
  const AVCodec* encoder = asked == "mpeg4" ? nullptr : avcodec_find_encoder_by_name("libx264");
  check(encoder != nullptr || asked != "h264", "{}: FFmpeg's libraries here have no libx264; use mpeg4", path);
  if (encoder == nullptr) encoder = avcodec_find_encoder(AV_CODEC_ID_MPEG4);
  check(encoder != nullptr, "{}: FFmpeg's libraries here have neither libx264 nor an encoder for MPEG-4", path);
  return encoder;
}

}  // namespace

struct VideoWriter::State {
  fs::path path, part;
  std::string codec_name;
  int width, height;
  std::unique_ptr<AVFormatContext, CloseOutput> output;
  ffmpeg::Codec codec;
  ffmpeg::Packet packet{av_packet_alloc()};
  ffmpeg::Frame frame{av_frame_alloc()};
  ffmpeg::Converter converter;
  AVStream* stream = nullptr;
  std::unique_ptr<ffmpeg::SoundCopy> sound;
  std::string no_sound;  // The sound could not even be begun, for this reason.
  int64_t frames = 0, last = -1;
  bool finished = false;

  State(fs::path name, int w, int h) : path(std::move(name)), width(w), height(h) {
    part = path;
    part += ".part";
  }
  ~State() {
    sound.reset();
    output.reset();
    if (std::error_code ignored; !finished) fs::remove(part, ignored);
  }

  void need(int code, const char* what) const {
    check(code >= 0, "{}: {}: {}", path.string(), what, ffmpeg::why(code));
  }
  void open(const VideoWriterOptions& o);
  void begin_file(const AVCodec* encoder, const VideoWriterOptions& o, bool with_sound);
  void open_codec(const AVCodec* encoder, const VideoWriterOptions& o);
  void encode(const AVFrame* picture);
};

void VideoWriter::State::open_codec(const AVCodec* encoder, const VideoWriterOptions& o) {
  codec.reset(avcodec_alloc_context3(encoder));
  check(codec != nullptr && packet && frame, "{}: no memory", path.string());
  const bool h264 = encoder->id == AV_CODEC_ID_H264;
  codec_name = h264 ? "h264" : "mpeg4";
  codec->width = (width + 1) / 2 * 2;
  codec->height = (height + 1) / 2 * 2;
  codec->pix_fmt = AV_PIX_FMT_YUV420P;
  codec->sample_aspect_ratio = {o.pixel.width, o.pixel.height};
  codec->time_base = {1, h264 ? 90000 : 60000};  // MPEG-4 allows no finer time base.
  codec->framerate = av_d2q(std::isfinite(o.fps) && o.fps > 0 ? std::min(o.fps, 1000.0) : 25.0, 60000);
  codec->thread_count = o.threads;
  codec->color_range = AVCOL_RANGE_MPEG;
  codec->colorspace = AVCOL_SPC_BT709;
  codec->color_primaries = AVCOL_PRI_BT709;
  codec->color_trc = AVCOL_TRC_BT709;
  if ((output->oformat->flags & AVFMT_GLOBALHEADER) != 0) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  AVDictionary* settings = nullptr;
  if (h264) {
    av_dict_set(&settings, "preset", o.preset.c_str(), 0);
    av_dict_set_int(&settings, "crf", o.quality, 0);
  } else {
    codec->flags |= AV_CODEC_FLAG_QSCALE;
    codec->global_quality = FF_QP2LAMBDA * std::clamp(o.quality / 5, 1, 31);
  }
  const int code = avcodec_open2(codec.get(), encoder, &settings);
  av_dict_free(&settings);
  need(code, "the encoder cannot be started");
}

// Creates the file and writes its header.
void VideoWriter::State::begin_file(const AVCodec* encoder, const VideoWriterOptions& o, bool with_sound) {
  sound.reset();
  output.reset();
  ffmpeg::forget_complaints();
  AVFormatContext* context = nullptr;
  need(avformat_alloc_output_context2(&context, nullptr, "mp4", nullptr), "MP4 cannot be written");
  output.reset(context);
  context->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;  // FFmpeg's name for some sounds in MP4, such as FLAC.
  open_codec(encoder, o);
  stream = avformat_new_stream(context, nullptr);
  check(stream != nullptr, "{}: no memory", path.string());
  need(avcodec_parameters_from_context(stream->codecpar, codec.get()), "the encoder's settings cannot be stored");
  stream->time_base = codec->time_base;
  stream->avg_frame_rate = codec->framerate;
  stream->sample_aspect_ratio = codec->sample_aspect_ratio;
  if (with_sound) sound = std::make_unique<ffmpeg::SoundCopy>(o.sound_of, *context);
  need(avio_open(&context->pb, ("file:" + part.string()).c_str(), AVIO_FLAG_WRITE), "cannot be created");
  need(avformat_write_header(context, nullptr), "its header cannot be written");
}

void VideoWriter::State::open(const VideoWriterOptions& o) {
  ffmpeg::be_quiet();
  ffmpeg::forget_complaints();
  check(width > 0 && height > 0 && width <= kMostSide && height <= kMostSide,
        "{}: a video of {} x {} pixels cannot be written; 1 to {} a side are possible", path.string(), width, height,
        kMostSide);
  check(o.quality >= 0 && o.quality <= 51, "{}: quality {}, expected 0 to 51", path.string(), o.quality);
  check(o.pixel.width > 0 && o.pixel.height > 0, "{}: a pixel of {} x {}, expected a shape such as 1 x 1",
        path.string(), o.pixel.width, o.pixel.height);
  const AVCodec* encoder = find_encoder(path.string(), o.codec);
  try {
    begin_file(encoder, o, !o.sound_of.empty());
  } catch (const Error&) {
    if (sound == nullptr || !sound->copies()) throw;
    // The header of a file with this sound cannot be written, so that the video does without it.
    no_sound = "does not fit into MP4";
    begin_file(encoder, o, false);
  }
  frame->format = codec->pix_fmt;
  frame->width = codec->width;
  frame->height = codec->height;
  frame->color_range = codec->color_range;
  frame->colorspace = codec->colorspace;
  need(av_frame_get_buffer(frame.get(), 0), "no memory for a frame");
}

// Encodes a picture and writes the packets that are complete. A null picture flushes the encoder.
void VideoWriter::State::encode(const AVFrame* picture) {
  need(avcodec_send_frame(codec.get(), picture), "a frame cannot be encoded");
  for (;;) {
    const int code = avcodec_receive_packet(codec.get(), packet.get());
    if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
    need(code, "a frame cannot be encoded");
    packet->stream_index = stream->index;
    av_packet_rescale_ts(packet.get(), codec->time_base, stream->time_base);
    need(av_interleaved_write_frame(output.get(), packet.get()), "cannot be written");
  }
}

VideoWriter::VideoWriter(const fs::path& path, int width, int height, const VideoWriterOptions& options)
    : state_(std::make_unique<State>(path, width, height)) {
  state_->open(options);
}

VideoWriter::~VideoWriter() {
  if (state_ == nullptr) return;
  try {
    finish();
    // A destructor cannot report errors. A caller who needs to know them calls finish().
  } catch (const std::exception&) {
  }
}
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;

void VideoWriter::write(const ImageView& picture, double seconds) {
  State& s = *state_;
  check(!s.finished, "{}: is finished", s.path.string());
  check(std::isfinite(seconds) && seconds >= 0 && seconds < 1e9, "{}: {} is no time of a frame", s.path.string(),
        seconds);
  check(picture.width > 0 && picture.height > 0 && picture.region.contains({0, 0, picture.width, picture.height}),
        "{}: expected a whole picture", s.path.string());
  ffmpeg::forget_complaints();
  s.need(av_frame_make_writable(s.frame.get()), "no memory for a frame");
  s.converter.to_frame(picture, s.width, s.height, *s.frame);
  const int64_t tick = std::llround(seconds / av_q2d(s.codec->time_base));
  s.last = s.frame->pts = std::max(tick, s.last + 1);
  s.frame->pict_type = AV_PICTURE_TYPE_NONE;
  if (s.sound) s.sound->write_until(seconds);
  s.encode(s.frame.get());
  ++s.frames;
}

void VideoWriter::finish() {
  State& s = *state_;
  if (s.finished) return;
  if (s.frames == 0) {
    s.output.reset();
    std::error_code ignored;
    fs::remove(s.part, ignored);
    s.finished = true;
    return;
  }
  // The last picture is shown for as long as one of a steady video.
  if (s.sound)
    s.sound->write_until(static_cast<double>(s.last) * av_q2d(s.codec->time_base) + 1 / av_q2d(s.codec->framerate));
  ffmpeg::forget_complaints();
  s.encode(nullptr);
  s.need(av_write_trailer(s.output.get()), "its end cannot be written");
  s.need(avio_closep(&s.output->pb), "its end cannot be written");
  s.output.reset();
  fs::rename(s.part, s.path);
  s.finished = true;
}

int64_t VideoWriter::frames() const { return state_->frames; }
const std::string& VideoWriter::codec() const { return state_->codec_name; }
std::string VideoWriter::sound_problem() const {
  return state_->sound != nullptr ? state_->sound->problem() : state_->no_sound;
}

}  // namespace hr

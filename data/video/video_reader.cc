#include "data/video/video_reader.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <mutex>

#include "core/bounded_queue.h"
#include "core/error.h"
#include "core/parallel.h"
#include "core/shared_library.h"
#include "core/threads.h"
#include "data/formats/picture_bytes.h"
#include "data/video/ffmpeg.h"

namespace hr {
namespace {

using Clock = std::chrono::steady_clock;

bool has_prefix(const std::string& text, std::initializer_list<const char*> prefixes) {
  return std::any_of(prefixes.begin(), prefixes.end(), [&](const char* p) { return text.starts_with(p); });
}

bool is_camera(const std::string& source) { return has_prefix(source, {"camera:", "/dev/video"}); }

// FFmpeg's devices are in a library of their own that depends on sound and window libraries, so it is opened only when
// a camera is asked for.
const AVInputFormat* camera_format(const std::string& source) {
  static const SharedLibrary devices(
      "cameras", {fmt::format("libavdevice.so.{}", LIBAVFORMAT_VERSION_MAJOR)},
      fmt::format("install it (Debian: apt-get install libavdevice{})", LIBAVFORMAT_VERSION_MAJOR));
  void (*register_all)() = nullptr;
  devices.bind(register_all, "avdevice_register_all");
  register_all();
  const AVInputFormat* format = av_find_input_format("video4linux2");
  check(format != nullptr, "{}: FFmpeg's libraries were built without cameras (video4linux2)", source);
  return format;
}

// Returns the EXIF orientation of a display matrix with the rows (a, b, u), (c, d, v), (x, y, w). The matrix maps
// stored pixels to shown ones: x' = a x + c y, y' = b x + d y.
int orientation_of(const int32_t* m) {
  const auto sign = [](int32_t v) { return v > 0 ? 1 : v < 0 ? -1 : 0; };
  const int a = sign(m[0]), b = sign(m[1]), c = sign(m[3]), d = sign(m[4]);
  if (b == 0 && c == 0 && a != 0 && d != 0) return a > 0 ? (d > 0 ? 1 : 4) : (d > 0 ? 2 : 3);
  if (a == 0 && d == 0 && b != 0 && c != 0) return b > 0 ? (c > 0 ? 5 : 6) : (c > 0 ? 8 : 7);
  return 1;  // A rotation by any other angle is not applied.
}

int stream_orientation(const AVStream& stream) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100)
  const AVCodecParameters& p = *stream.codecpar;
  const AVPacketSideData* side =
      av_packet_side_data_get(p.coded_side_data, p.nb_coded_side_data, AV_PKT_DATA_DISPLAYMATRIX);
  const uint8_t* matrix = side != nullptr && side->size >= 36 ? side->data : nullptr;
#else
  size_t size = 0;
  const uint8_t* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
  if (size < 36) matrix = nullptr;
#endif
  return matrix == nullptr ? 1 : orientation_of(reinterpret_cast<const int32_t*>(matrix));
}

// A file name such as "a:b.mp4" looks like an FFmpeg address, so files get the prefix "file:". The name "camera:1"
// stands for the device /dev/video1.
std::string address(const std::string& source) {
  if (source.starts_with("camera:")) return "/dev/video" + source.substr(7);
  return is_stream_name(source) ? source : "file:" + source;
}

constexpr const char* kNoParts =
    "the server gives no parts of a file, so an MP4 must have its index in front (ffmpeg -movflags +faststart)";

}  // namespace

bool has_video() { return true; }

struct VideoReader::State {
  std::string source;
  VideoReaderOptions options;
  VideoInfo info;
  ffmpeg::Input input;
  ffmpeg::Codec codec;
  ffmpeg::Packet packet{av_packet_alloc()};
  ffmpeg::Frame frame{av_frame_alloc()};
  ffmpeg::Converter converter;
  AVStream* stream = nullptr;
  bool draining = false, ended = false, waits = false;
  int errors_in_a_row = 0;
  Clock::time_point asked;  // FFmpeg began to wait for the stream at this time.
  double start = 0, last = -1, period = 0.04;
  int64_t index = 0;
  // The mutex guards the members below that the thread of a live source and the caller share.
  mutable std::mutex mutex;
  int64_t damaged = 0, dropped = 0;
  std::string damage;
  std::unique_ptr<BoundedQueue<VideoFrame>> newest;
  FirstException error;
  std::atomic<bool> closing{false};
  ThreadTeam thread;

  State(const std::string& name, const VideoReaderOptions& o) : source(name), options(o) {}
  ~State() {
    closing = true;
    if (newest) newest->stop();
    thread.join();
  }

  static int interrupted(void* state) {
    const State& s = *static_cast<const State*>(state);
    const auto waited = std::chrono::duration<double>(Clock::now() - s.asked).count();
    return s.stopping() || (s.waits && waited > s.options.patience_seconds) ? 1 : 0;
  }
  bool stopping() const { return closing || (options.interrupted && options.interrupted()); }

  void open();
  void open_codec();
  void note_damage(const std::string& what, bool ends_the_video = false);
  bool cannot_seek() const;
  bool feed();
  bool decode();
  double next_seconds();
  bool read(VideoFrame& out);
  void read_live();
};

void VideoReader::State::open() {
  ffmpeg::be_quiet();
  ffmpeg::forget_complaints();
  check(packet && frame, "{}: no memory", source);
  const std::string where = address(source);
  const AVInputFormat* format = nullptr;
  if (is_camera(source)) {
    check(fs::exists(where), "{}: no such camera", source);
    format = camera_format(source);
  } else if (!is_stream_name(source)) {
    check(fs::exists(source), "{}: no such file", source);
    check(!fs::is_regular_file(source) || fs::file_size(source) > 0, "{}: empty file (0 bytes), expected a video",
          source);
  }
  waits = is_stream_name(source);
  asked = Clock::now();
  AVFormatContext* context = avformat_alloc_context();
  check(context != nullptr, "{}: no memory", source);
  context->interrupt_callback = {interrupted, this};
  AVDictionary* settings = nullptr;
  if (source.starts_with("rtsp:")) av_dict_set(&settings, "rtsp_transport", "tcp", 0);
  // The function frees the context if it fails.
  int code = avformat_open_input(&context, where.c_str(), format, &settings);
  av_dict_free(&settings);
  check(code >= 0, "{}: cannot be opened as a video: {}", source, ffmpeg::why(code));
  input.reset(context);
  // FFmpeg takes any text file for a picture of a terminal (ANSI art), so its format "tty" is refused.
  check(std::string(context->iformat->name) != "tty", "{}: is text, not a video", source);
  code = avformat_find_stream_info(context, nullptr);
  check(code >= 0, "{}: cannot be read as a video: {}", source, ffmpeg::why(code));
  const int found = av_find_best_stream(context, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  stream = found < 0 ? nullptr : context->streams[found];
  const bool cover = stream != nullptr && (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0;
  check(stream != nullptr && !cover, "{}: has no video in it{}", source,
        context->nb_streams == 0 ? ""
        : cover                  ? ", only sound and a cover picture"
                                 : ", only sound or other data");
  for (unsigned i = 0; i < context->nb_streams; ++i) {
    if (context->streams[i] != stream) context->streams[i]->discard = AVDISCARD_ALL;
  }
  // Only the header of the MP4 was read: what the video is stands in the index at the end.
  check(stream->codecpar->width > 0 || !cannot_seek(), "{}: its index cannot be reached: {}", source, kNoParts);
  open_codec();
  const AVRational rate = stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
  const bool timed = context->duration != AV_NOPTS_VALUE && context->duration > 0;
  const double seconds = timed ? static_cast<double>(context->duration) / AV_TIME_BASE : 0;
  info.fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
  if (info.fps > 0) period = 1 / info.fps;
  info.frames = stream->nb_frames > 0 ? stream->nb_frames : std::llround(seconds * info.fps);
  info.live =
      options.live.value_or(is_camera(source) || (is_stream_name(source) && !source.starts_with("file:") && !timed));
  start = context->start_time != AV_NOPTS_VALUE && !info.live ? static_cast<double>(context->start_time) / AV_TIME_BASE
                                                              : std::nan("");
}

void VideoReader::State::open_codec() {
  const AVCodecParameters& p = *stream->codecpar;
  const AVCodec* decoder = avcodec_find_decoder(p.codec_id);
  info.codec = avcodec_get_name(p.codec_id);
  check(decoder != nullptr, "{}: is coded as {}, which FFmpeg's libraries here cannot read", source, info.codec);
  check_picture_size(p.width, p.height, source, options.max_pixels);
  codec.reset(avcodec_alloc_context3(decoder));
  check(codec && avcodec_parameters_to_context(codec.get(), &p) >= 0, "{}: no memory", source);
  codec->pkt_timebase = stream->time_base;
  codec->max_pixels = options.max_pixels;
  // Decoding with several frame threads delays frames, so a live source is decoded by one thread.
  codec->thread_count = options.live.value_or(waits) ? 1 : 2;
  const int code = avcodec_open2(codec.get(), decoder, nullptr);
  check(code >= 0, "{}: its {} video cannot be read: {}", source, info.codec, ffmpeg::why(code));
  info.orientation = stream_orientation(*stream);
  info.width = info.orientation >= 5 ? p.height : p.width;
  info.height = info.orientation >= 5 ? p.width : p.height;
  const AVRational shape = av_guess_sample_aspect_ratio(input.get(), stream, nullptr);
  if (shape.num > 0 && shape.den > 0)
    info.pixel = info.orientation >= 5 ? PixelShape{shape.den, shape.num} : PixelShape{shape.num, shape.den};
}

// The first error is the one that is told, except that the reason for the end of the video replaces it.
void VideoReader::State::note_damage(const std::string& what, bool ends_the_video) {
  const std::lock_guard lock(mutex);
  if (damaged++ == 0 || ends_the_video) damage = what;
}

// Returns whether the source is an MP4 file on a server that gives no parts of files.
bool VideoReader::State::cannot_seek() const {
  return input->pb != nullptr && (input->pb->seekable & AVIO_SEEKABLE_NORMAL) == 0 &&
         std::string_view(input->iformat->name).starts_with("mov");
}

// Sends the next packet of the video to the decoder. Returns false if there are no more packets.
bool VideoReader::State::feed() {
  constexpr int kPatience = 100;  // The reader gives up after this many unreadable packets in a row.
  for (;;) {
    ffmpeg::forget_complaints();
    asked = Clock::now();
    const int code = stopping() ? AVERROR_EXIT : av_read_frame(input.get(), packet.get());
    if (code == AVERROR(EAGAIN)) continue;
    if (code < 0) {
      if (code != AVERROR_EOF && code != AVERROR_EXIT) {
        const bool first = index == 0 && cannot_seek();
        note_damage(first ? fmt::format("{}: {}", ffmpeg::why(code), kNoParts) : ffmpeg::why(code));
      }
      if (code == AVERROR_EXIT && !stopping()) {
        note_damage(fmt::format("nothing came for {:.0f} s", options.patience_seconds), true);
      }
      if (code == AVERROR_INVALIDDATA && ++errors_in_a_row < kPatience) continue;
      avcodec_send_packet(codec.get(), nullptr);
      return false;
    }
    if (packet->stream_index != stream->index) {
      av_packet_unref(packet.get());
      continue;
    }
    const int sent = avcodec_send_packet(codec.get(), packet.get());
    if (sent < 0 || (packet->flags & AV_PKT_FLAG_CORRUPT) != 0) {
      note_damage(sent < 0 ? ffmpeg::why(sent) : "a packet is marked as damaged");
    } else {
      errors_in_a_row = 0;
    }
    av_packet_unref(packet.get());
    return true;
  }
}

// Receives the next frame from the decoder. Returns false if the video has ended.
bool VideoReader::State::decode() {
  constexpr int kPatience = 10000;
  for (int failed = 0; !ended && failed < kPatience;) {
    const int code = avcodec_receive_frame(codec.get(), frame.get());
    if (code == 0) {
      if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0)
        note_damage("a frame is damaged, some of its pixels are guessed");
      return true;
    }
    if (code == AVERROR_EOF) break;
    if (code != AVERROR(EAGAIN)) {
      ++failed;
      note_damage(ffmpeg::why(code));
    }
    if (!draining) draining = !feed();
  }
  ended = true;
  return false;
}

// Returns the time of the current frame in seconds. A time stamp that is missing, or that is not later than the last
// one, as in a recording joined from several parts, is replaced by the time of the last frame plus one frame period.
double VideoReader::State::next_seconds() {
  const int64_t stamp = frame->best_effort_timestamp;
  double at = stamp == AV_NOPTS_VALUE ? std::nan("") : static_cast<double>(stamp) * av_q2d(stream->time_base);
  if (std::isnan(start)) start = std::isnan(at) ? 0 : at;
  at -= start;
  if (std::isnan(at)) at = last < 0 ? 0 : last + period;
  if (last < 0) {
    if (at < 0) start += at, at = 0;
  } else if (at <= last) {
    start += at - (last + period);
    at = last + period;
  }
  return last = at;
}

bool VideoReader::State::read(VideoFrame& out) {
  if (stopping() || !decode()) return false;
  check_picture_size(frame->width, frame->height, source, options.max_pixels);
  converter.to_image(*frame, info.orientation, out.image);
  out.seconds = next_seconds();
  out.index = index++;
  return true;
}

void VideoReader::State::read_live() {
  unpin_this_thread();
  for (VideoFrame out; read(out);) {
    const auto gone = static_cast<int64_t>(newest->push_over_oldest(std::move(out)));
    const std::lock_guard lock(mutex);
    dropped += gone;
  }
  newest->close();
}

VideoReader::VideoReader(const std::string& source, const VideoReaderOptions& options)
    : state_(std::make_unique<State>(source, options)) {
  State& s = *state_;
  s.open();
  if (!s.info.live) return;
  constexpr size_t kNewest = 2;
  s.newest = std::make_unique<BoundedQueue<VideoFrame>>(kNewest);
  s.thread.start(
      1, [&s] { s.read_live(); },
      [&s](const std::exception_ptr& error) {
        try {
          std::rethrow_exception(error);
        } catch (...) {
          s.error.keep();
        }
        s.newest->close();
      });
}

VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;

bool VideoReader::next(VideoFrame& frame) {
  State& s = *state_;
  if (!s.newest) return s.read(frame);
  std::optional<VideoFrame> next = s.newest->pop();
  if (!next) {
    s.error.rethrow();
    return false;
  }
  frame = *std::move(next);
  return true;
}

const VideoInfo& VideoReader::info() const { return state_->info; }
int64_t VideoReader::damaged() const {
  const std::lock_guard lock(state_->mutex);
  return state_->damaged;
}
std::string VideoReader::damage() const {
  const std::lock_guard lock(state_->mutex);
  return state_->damage;
}
int64_t VideoReader::dropped() const {
  const std::lock_guard lock(state_->mutex);
  return state_->dropped;
}

}  // namespace hr

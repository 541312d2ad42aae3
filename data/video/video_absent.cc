// This file replaces the reader and the writer in a build without FFmpeg.
#include "core/error.h"
#include "data/video/video_reader.h"
#include "data/video/video_writer.h"

namespace hr {
namespace {
[[noreturn]] void absent(const std::string& name) {
  fail(
      "{}: this build reads and writes no videos; install FFmpeg's libraries (Debian: apt-get install libavformat-dev "
      "libavcodec-dev libavutil-dev libswscale-dev), then configure and build again",
      name);
}
}  // namespace

struct VideoReader::State {
  VideoInfo info;
};
struct VideoWriter::State {
  std::string codec;
};

bool has_video() { return false; }

VideoReader::VideoReader(const std::string& source, const VideoReaderOptions&) { absent(source); }
VideoReader::~VideoReader() = default;
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader& VideoReader::operator=(VideoReader&&) noexcept = default;
bool VideoReader::next(VideoFrame&) { return false; }
const VideoInfo& VideoReader::info() const { return state_->info; }
int64_t VideoReader::damaged() const { return 0; }
std::string VideoReader::damage() const { return {}; }
int64_t VideoReader::dropped() const { return 0; }

VideoWriter::VideoWriter(const fs::path& path, int, int, const VideoWriterOptions&) { absent(path.string()); }
VideoWriter::~VideoWriter() = default;
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter& VideoWriter::operator=(VideoWriter&&) noexcept = default;
void VideoWriter::write(const ImageView&, double) {}
void VideoWriter::finish() {}
int64_t VideoWriter::frames() const { return 0; }
const std::string& VideoWriter::codec() const { return state_->codec; }
std::string VideoWriter::sound_problem() const { return {}; }

}  // namespace hr

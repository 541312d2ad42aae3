#include "core/io/event_file.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>

#include "core/error.h"
#include "core/io/protobuf.h"

namespace hr {
namespace {

// These are field numbers of event.proto and summary.proto.
constexpr uint32_t kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5;  // These belong to the message Event.
constexpr uint32_t kValue = 1, kTag = 1, kSimpleValue = 2, kImage = 4;        // These belong to Summary and Value.
constexpr uint32_t kHeight = 1, kWidth = 2, kColorspace = 3, kEncoded = 4, kRgb = 3;  // These belong to Image.

constexpr std::array<uint32_t, 256> crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    table[i] = crc;
  }
  return table;
}

// TensorFlow's record format stores masked checksums, because the checksum of data that contains its own checksum is a
// weak test.
uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(bytes);
  return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

template <class T>
void append_little_endian(std::string& out, T value) {
  for (size_t i = 0; i < sizeof value; ++i) out += static_cast<char>(value >> 8 * i & 0xff);
}

fs::path new_name(const fs::path& folder) {
  // The number distinguishes the files of this process, because two of them may be opened in the same second.
  static std::atomic<int> number{0};
  std::array<char, 256> host{};
  const bool known = ::gethostname(host.data(), host.size() - 1) == 0;
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  return folder / fmt::format("events.out.tfevents.{:010}.{}.{}.{}", seconds, known ? host.data() : "localhost",
                              ::getpid(), number++);
}

}  // namespace

uint32_t crc32c(std::string_view bytes) {
  static constexpr std::array<uint32_t, 256> table = crc_table();
  uint32_t crc = ~0u;
  for (const char c : bytes) crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(c)) & 0xff];
  return ~crc;
}

EventFile::EventFile(const fs::path& folder) : path_(new_name(folder)), file_(path_) {
  event(0, kFileVersion, "brain.Event:2");
}

void EventFile::scalar(std::string_view tag, int64_t step, double value) {
  std::string entry, summary;
  ProtoWriter writer(entry);
  writer.bytes(kTag, tag);
  writer.real(kSimpleValue, static_cast<float>(value));
  ProtoWriter(summary).bytes(kValue, entry);
  event(step, kSummary, summary);
}

void EventFile::image(std::string_view tag, int64_t step, std::string_view file, int height, int width) {
  std::string image, entry, summary;
  ProtoWriter picture(image);
  picture.integer(kHeight, height);
  picture.integer(kWidth, width);
  picture.integer(kColorspace, kRgb);
  picture.bytes(kEncoded, file);
  ProtoWriter writer(entry);
  writer.bytes(kTag, tag);
  writer.bytes(kImage, image);
  ProtoWriter(summary).bytes(kValue, entry);
  event(step, kSummary, summary);
}

void EventFile::event(int64_t step, uint32_t field, std::string_view value) {
  std::string message;
  ProtoWriter writer(message);
  writer.real64(kWallTime, std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count());
  writer.integer(kStep, step);
  writer.bytes(field, value);

  std::string record;
  append_little_endian(record, static_cast<uint64_t>(message.size()));
  append_little_endian(record, masked_crc(record));
  record += message;
  append_little_endian(record, masked_crc(message));
  file_.write(record);
}

}  // namespace hr

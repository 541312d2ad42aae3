#include "core/io/protobuf.h"

#include <bit>
#include <cstring>

#include "core/error.h"

namespace hr {

static_assert(std::endian::native == std::endian::little, "fixed values are little-endian");

void ProtoReader::refuse(std::string_view why) const {
  fail("{}: broken protobuf message at byte {}: {}", *name_,
       static_cast<size_t>(message_.data() - file_.data()) + start_, why);
}

// A varint stores seven bits per byte, the lowest bits first; the top bit says that another byte follows.
uint64_t ProtoReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_ == message_.size()) refuse("a number is cut off by the end of its message");
    const auto byte = static_cast<uint64_t>(message_[at_++]);
    if (shift == 63 && byte > 1) refuse("a number has more than 64 bits");
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number has more than ten bytes");
}

std::span<const std::byte> ProtoReader::take(uint64_t size) {
  if (size > message_.size() - at_) {
    refuse(fmt::format("a field of {} bytes, but its message ends after {} more", size, message_.size() - at_));
  }
  const auto part = message_.subspan(at_, size);
  at_ += size;
  return part;
}

bool ProtoReader::next() {
  start_ = at_;
  if (at_ == message_.size()) return false;
  const uint64_t tag = varint();
  wire_ = static_cast<uint32_t>(tag & 7);
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) refuse("a field's number is not from 1 to 536870911");
  field_ = static_cast<uint32_t>(tag >> 3);
  bytes_ = {};
  value_ = 0;
  if (wire_ == kVarint) {
    value_ = varint();
  } else if (wire_ == kBytes) {
    bytes_ = take(varint());
  } else if (wire_ == kFixed32 || wire_ == kFixed64) {
    const auto part = take(wire_ == kFixed32 ? 4 : 8);
    std::memcpy(&value_, part.data(), part.size());
  } else {
    refuse(fmt::format("field {} has the wire type {}; expected 0, 1, 2 or 5", field_, wire_));
  }
  return true;
}

int64_t ProtoReader::integer() const {
  if (wire_ != kVarint) refuse(fmt::format("field {} is no whole number", field_));
  return static_cast<int64_t>(value_);
}

float ProtoReader::real() const {
  if (wire_ != kFixed32) refuse(fmt::format("field {} is no 32-bit number", field_));
  return std::bit_cast<float>(static_cast<uint32_t>(value_));
}

std::span<const std::byte> ProtoReader::bytes() const {
  if (wire_ != kBytes) refuse(fmt::format("field {} has no length; expected text, bytes or a message", field_));
  return bytes_;
}

std::string_view ProtoReader::text() const {
  const auto part = bytes();
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

void ProtoWriter::varint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(value | 0x80);
  out_ += static_cast<char>(value);
}

void ProtoWriter::integer(uint32_t field, int64_t value) {
  varint(uint64_t{field} << 3);
  varint(static_cast<uint64_t>(value));
}

void ProtoWriter::real(uint32_t field, float value) {
  varint(uint64_t{field} << 3 | 5);
  char raw[4];
  std::memcpy(raw, &value, 4);
  out_.append(raw, 4);
}

void ProtoWriter::real64(uint32_t field, double value) {
  varint(uint64_t{field} << 3 | 1);
  char raw[8];
  std::memcpy(raw, &value, 8);
  out_.append(raw, 8);
}

void ProtoWriter::header(uint32_t field, uint64_t size) {
  varint(uint64_t{field} << 3 | 2);
  varint(size);
}

void ProtoWriter::bytes(uint32_t field, std::string_view value) {
  header(field, value.size());
  out_ += value;
}

void ProtoWriter::integers(uint32_t field, std::span<const int64_t> values) {
  for (const int64_t value : values) integer(field, value);
}

void ProtoWriter::reals(uint32_t field, std::span<const float> values) {
  for (const float value : values) real(field, value);
}

}  // namespace hr

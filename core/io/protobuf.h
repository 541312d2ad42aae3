// Reads and writes the wire format of Protocol Buffers. A message is a list of fields, each with a number, a wire type
// and a value. Only the caller knows what a field number means (core/io/onnx.cc).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hr {

// Reads the fields of one message in the order of the file. The reader copies nothing and does not descend into nested
// messages: a field that is a message is read by another reader. Every length is checked before it is used. Errors name
// the file and the byte. The file's bytes and its name must outlive the reader. An object must not be used by several
// threads at once.
class ProtoReader {
 public:
  ProtoReader(std::span<const std::byte> file, const std::string& name) : ProtoReader(file, file, name) {}

  // Moves to the next field and returns false at the end of the message. Throws Error if the field is cut off, has the
  // number 0, or has an obsolete wire type (groups).
  bool next();
  uint32_t field() const { return field_; }

  // These functions return the value of the current field. They throw Error if the field has another wire type.
  int64_t integer() const;  // Reads a varint, which encodes int32, int64, bool or enum.
  float real() const;       // Reads a 32-bit float.
  std::span<const std::byte> bytes() const;
  std::string_view text() const;
  ProtoReader message() const { return {file_, bytes(), *name_}; }

  // Calls body(value) for each number of a repeated field. The current field holds one value, or several as packed
  // bytes.
  template <class Body>
  void integers(const Body& body) const {
    if (wire_ == kVarint) return body(static_cast<int64_t>(value_));
    ProtoReader packed = message();
    while (packed.at_ < packed.message_.size()) body(static_cast<int64_t>(packed.varint()));
  }

  bool packed() const { return wire_ == kBytes; }

  // Throws Error about the current field, for example "FILE: broken protobuf message at byte 12: WHY".
  [[noreturn]] void refuse(std::string_view why) const;

 private:
  static constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
  ProtoReader(std::span<const std::byte> file, std::span<const std::byte> message, const std::string& name)
      : file_(file), message_(message), name_(&name) {}
  uint64_t varint();
  std::span<const std::byte> take(uint64_t size);

  std::span<const std::byte> file_, message_;
  const std::string* name_;
  size_t at_ = 0, start_ = 0;  // Both are offsets in the message; the current field begins at start_.
  uint32_t field_ = 0, wire_ = 0;
  uint64_t value_ = 0;                // It holds the value of a varint or fixed-size field.
  std::span<const std::byte> bytes_;  // It holds the value of a length-delimited field.
};

// Appends fields to a string. A reader takes a field that was not written as its default value, which is 0 or empty.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string& out) : out_(out) {}

  void integer(uint32_t field, int64_t value);
  void real(uint32_t field, float value);
  void real64(uint32_t field, double value);
  void bytes(uint32_t field, std::string_view value);  // It also writes a text or an encoded message.
  // It writes one field per value, as ONNX declares them.
  void integers(uint32_t field, std::span<const int64_t> values);
  void reals(uint32_t field, std::span<const float> values);
  // Writes the tag and the length of a field of `size` bytes; the caller then writes the bytes.
  void header(uint32_t field, uint64_t size);

 private:
  void varint(uint64_t value);
  std::string& out_;
};

}  // namespace hr

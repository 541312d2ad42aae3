// The wire format of Protocol Buffers: a message is a list of fields, each with a number, a wire type and a value. What
// a number means is known to the caller alone (core/io/onnx.cc).
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace hr {

// Reads the fields of one message in the order of the file. Nothing is copied and nothing is nested here: a field that
// is a message is read by a reader of its own. Every length is checked before it is used. Errors name the file and the
// byte. The file's bytes and its name must outlive the reader.
class ProtoReader {
 public:
  ProtoReader(std::span<const std::byte> file, const std::string& name) : ProtoReader(file, file, name) {}

  // Moves to the next field; false at the end of the message. Throws Error if the field is cut off, has the number 0,
  // or has a wire type that is not in use any more (groups).
  bool next();
  uint32_t field() const { return field_; }

  // The value of the field at which the reader stands. Throws Error if it has another wire type.
  int64_t integer() const;  // A varint: int32, int64, bool, enum.
  float real() const;       // 32 fixed bits.
  std::span<const std::byte> bytes() const;
  std::string_view text() const;
  ProtoReader message() const { return {file_, bytes(), *name_}; }

  // A repeated number: one value, or several as packed bytes. Calls body(value) for each.
  template <class Body>
  void integers(const Body& body) const {
    if (wire_ == kVarint) return body(static_cast<int64_t>(value_));
    ProtoReader packed = message();
    while (packed.at_ < packed.message_.size()) body(static_cast<int64_t>(packed.varint()));
  }

  bool packed() const { return wire_ == kBytes; }

  // Throws Error about the current field: "FILE: broken protobuf message at byte 12: WHY".
  [[noreturn]] void refuse(std::string_view why) const;

 private:
  static constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;
  ProtoReader(std::span<const std::byte> file, std::span<const std::byte> message, const std::string& name)
      : file_(file), message_(message), name_(&name) {}
  uint64_t varint();
  std::span<const std::byte> take(uint64_t size);

  std::span<const std::byte> file_, message_;
  const std::string* name_;
  size_t at_ = 0, start_ = 0;  // In the message; start_ is where the current field begins.
  uint32_t field_ = 0, wire_ = 0;
  uint64_t value_ = 0;                // Of a varint or fixed field.
  std::span<const std::byte> bytes_;  // Of a field with a length.
};

// Appends fields to a string. Fields that are left out have their default value, 0 or empty.
class ProtoWriter {
 public:
  explicit ProtoWriter(std::string& out) : out_(out) {}

  void integer(uint32_t field, int64_t value);
  void real(uint32_t field, float value);
  void real64(uint32_t field, double value);
  void bytes(uint32_t field, std::string_view value);              // Also text, and a message that was written before.
  void integers(uint32_t field, std::span<const int64_t> values);  // One field each, as ONNX declares them.
  void reals(uint32_t field, std::span<const float> values);
  // The beginning of a field of `size` bytes, which the caller writes.
  void header(uint32_t field, uint64_t size);

 private:
  void varint(uint64_t value);
  std::string& out_;
};

}  // namespace hr

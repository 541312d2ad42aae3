#include "core/io/json_write.h"

#include <cmath>
#include <iterator>

#include "core/error.h"

namespace hr {
namespace {

// Appends ".0" to digits without point and exponent.
void add_point(std::string& digits) {
  if (digits.find_first_not_of("-0123456789") == std::string::npos) digits += ".0";
}

// T is float or double: the shortest digits that read back equal depend on the type.
template <class T>
std::string real_text(T v, const JsonStyle& style) {
  if (!std::isfinite(v)) {
    check(style.non_finite, "JSON cannot express the number {}", v);
    return python_repr(v);
  }
  std::string text = fmt::format("{}", v);
  if (style.python_reals) add_point(text);
  return text;
}

}  // namespace

std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04X}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string python_repr(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "Infinity" : "-Infinity";
  // Both fmt and Python write positional digits for 1e-4 <= |v| < 1e16, otherwise an exponent of two digits or more.
  std::string text = fmt::format("{}", v);
  add_point(text);
  return text;
}

JsonWriter& JsonWriter::end() {
  check(!open_.empty() && !open_.back().keyed, "JSON: there is no complete object or list to end");
  const Open last = open_.back();
  open_.pop_back();
  if (!last.empty) new_line(open_.size());
  out_ += last.object ? '}' : ']';
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  check(!open_.empty() && open_.back().object && !open_.back().keyed, "JSON: the key \"{}\" stands where none can",
        name);
  begin_entry();
  out_ += json_quote(name);
  out_ += style_.colon;
  open_.back().keyed = true;
  return *this;
}

JsonWriter& JsonWriter::begin(char bracket) {
  raw({&bracket, 1});
  open_.push_back({.object = bracket == '{'});
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view text) {
  if (!open_.empty()) {
    Open& in = open_.back();
    check(in.object == in.keyed, "JSON: a value in an object needs a key");
    if (!in.object) begin_entry();
    in.keyed = false;
  }
  out_ += text;
  return *this;
}

JsonWriter& JsonWriter::whole(long long v) { return raw(fmt::format_int(v).c_str()); }
JsonWriter& JsonWriter::whole(unsigned long long v) { return raw(fmt::format_int(v).c_str()); }
JsonWriter& JsonWriter::real(float v) { return raw(real_text(v, style_)); }
JsonWriter& JsonWriter::real(double v) { return raw(real_text(v, style_)); }

JsonWriter& JsonWriter::fixed(const JsonFixed& v) {
  check(std::isfinite(v.value), "JSON cannot express the number {}", v.value);
  return raw(fmt::format("{:.{}f}", v.value, v.decimals));
}

void JsonWriter::begin_entry() {
  Open& in = open_.back();
  const size_t level = open_.size() - 1;
  const bool lines = level < static_cast<size_t>(style_.lines);
  if (!in.empty) out_ += lines ? std::string_view(",") : style_.comma;
  in.empty = false;
  if (lines) new_line(level), out_.append(static_cast<size_t>(style_.indent), ' ');
}

void JsonWriter::new_line(size_t level) {
  if (level >= static_cast<size_t>(style_.lines)) return;
  out_ += '\n';
  out_.append(level * static_cast<size_t>(style_.indent), ' ');
}

std::optional<double> if_finite(double v) { return std::isfinite(v) ? std::optional(v) : std::nullopt; }

}  // namespace hr

#include "core/io/pickle_values.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/io/pickle_nodes.h"

namespace hr::pickling {
namespace {

// Tensors may show the same bytes this many times on average.
constexpr uint64_t kSharing = 16;

// Returns the hexadecimal text of a little-endian two's complement number. Decimal text would take quadratic time.
std::string hexadecimal_of(std::string_view bytes) {
  const bool negative = (bytes.back() & 0x80) != 0;
  std::string magnitude(bytes);
  if (negative) {
    bool carry = true;  // -x = ~x + 1.
    for (char& c : magnitude) {
      c = static_cast<char>(~c);
      if (carry) carry = ++c == 0;
    }
  }
  std::string out = negative ? "-0x" : "0x";
  bool leading = true;
  for (size_t i = magnitude.size(); i-- > 0;) {
    for (const int shift : {4, 0}) {
      const int digit = magnitude[i] >> shift & 15;
      leading = leading && digit == 0;
      if (!leading) out += "0123456789abcdef"[digit];
    }
  }
  return out;
}

}  // namespace

// Walks from the result to everything that it reaches. The walk is recursive, up to Value::kMaxDepth.
class Values {
 public:
  Values(const Nodes& nodes, std::span<const std::span<const std::byte>> data) : nodes_(nodes), data_(data) {
    nodes_.budget_.take(nodes_.nodes_.size() * sizeof(Done));
    done_.resize(nodes_.nodes_.size());
    uint64_t stored = 0;
    for (const auto& bytes : data) stored += bytes.size();
    tensor_bytes_limit_ = kSharing * (std::max(stored, nodes_.file_size_) + kRepeated);
  }
  ValuePtr value(Id result) { return convert(result, 1).value; }

 private:
  struct Done {
    ValuePtr value;
    uint64_t tensor_bytes = 0;  // The size of all tensors in it, written out.
    uint32_t values = 0;        // The number of values in it; shared ones are counted each time.
    uint16_t height = 0;
    // True while the value is being converted. If it is requested meanwhile, the value contains itself.
    bool open = false;
  };

  // `depth` is the depth at which the value will lie in the result, which is at depth 1.
  const Done& convert(Id id, int depth) {
    static const Done cycle{
        .value = std::make_shared<Value>(Value{Value::Object{.name = "(cycle)"}}), .values = 1, .height = 1};
    Done& done = done_[id];
    if (done.open) return cycle;
    if (depth + (done.value != nullptr ? done.height - 1 : 0) > Value::kMaxDepth) {
      fail("{}: values nested more than {} deep", nodes_.where_, Value::kMaxDepth);
    }
    if (done.value != nullptr) return done;
    done.open = true;
    done.values = 1;
    done.height = 1;
    Value value = content(id, depth, done);
    if (done.values > Value::kMaxNodes) {
      fail("{}: more than {} values, counting shared ones each time", nodes_.where_, Value::kMaxNodes);
    }
    if (done.tensor_bytes > tensor_bytes_limit_) {
      fail("{}: tensors that share storages amount to more than {} bytes", nodes_.where_, tensor_bytes_limit_);
    }
    nodes_.budget_.take(sizeof(Value) + 32);
    done.value = std::make_shared<const Value>(std::move(value));
    done.open = false;
    return done;
  }

  // Converts a value inside the one that is counted in `outer`.
  ValuePtr inside(Id id, int depth, Done& outer) {
    const Done& inner = convert(id, depth + 1);
    outer.values += inner.values;  // Both are at most kMaxNodes, so that the sum cannot wrap.
    outer.tensor_bytes += inner.tensor_bytes;
    outer.height = std::max<uint16_t>(outer.height, inner.height + 1);
    if (outer.values > Value::kMaxNodes) {
      fail("{}: more than {} values, counting shared ones each time", nodes_.where_, Value::kMaxNodes);
    }
    return inner.value;
  }
  std::vector<ValuePtr> all_inside(std::span<const Id> list, int depth, Done& outer) {
    nodes_.budget_.take(list.size() * sizeof(ValuePtr));
    std::vector<ValuePtr> out;
    out.reserve(list.size());
    for (const Id id : list) out.push_back(inside(id, depth, outer));
    return out;
  }

  Value content(Id id, int depth, Done& tally) {
    const Node& n = nodes_.node(id);
    switch (n.kind) {
      case Kind::none:
        return {Value::None{}};
      case Kind::boolean:
        return {n.index != 0};
      case Kind::integer:
        return {n.integer};
      case Kind::real:
        return {n.real};
      case Kind::text:
        nodes_.budget_.take(n.count);
        return {std::string(nodes_.text(id))};
      case Kind::bytes:
      case Kind::digits:
      case Kind::big:
        return inert_text(n, nodes_.text(id));
      case Kind::tuple:
        return {Value::Tuple{all_inside(nodes_.items(id), depth, tally)}};
      case Kind::list:
        return {Value::List{all_inside(nodes_.items(id), depth, tally)}};
      case Kind::dict: {
        const auto list = nodes_.items(id);
        nodes_.budget_.take(list.size() * sizeof(ValuePtr));
        Value::Dict dict;
        dict.items.reserve(list.size() / 2);
        for (size_t i = 0; i < list.size(); i += 2) {
          ValuePtr key = inside(list[i], depth, tally);
          dict.items.emplace_back(std::move(key), inside(list[i + 1], depth, tally));
        }
        return {std::move(dict)};
      }
      case Kind::global:
        nodes_.budget_.take(nodes_.global(id).module.size() + nodes_.global(id).name.size());
        return {Value::Object{.name = nodes_.full_name(id)}};
      case Kind::object: {
        const Object& object = nodes_.objects_[n.index];
        Value::Object out{.name = nodes_.full_name(object.global) + (object.indirect ? "()" : "")};
        nodes_.budget_.take(out.name.size());  // The name has at most 1000 bytes.
        out.arguments = all_inside(object.arguments, depth, tally);
        if (object.state != kNobody) out.state = inside(object.state, depth, tally);
        return {std::move(out)};
      }
      case Kind::storage:
        return {Value::Object{.name = nodes_.storages_[nodes_.storage_views_[n.index].storage].type}};
      case Kind::tensor:
        break;
    }
    const Tensor& t = nodes_.tensors_[n.index];
    ArrayView array{
        .dtype = t.dtype, .shape = t.shape, .bytes = data_[t.storage].subspan(t.offset, t.extent), .stride = t.stride};
    if (array.dense()) array.stride.clear();
    tally.tensor_bytes += static_cast<uint64_t>(array.numel()) * size_of(t.dtype);
    nodes_.budget_.take(2 * (8 * t.shape.size() + 16));
    return {std::move(array)};
  }

  // Makes an object that holds bytes or a large int as text.
  Value inert_text(const Node& n, std::string_view text) {
    nodes_.budget_.take(sizeof(Value) + 32 + (n.kind == Kind::big ? 2 : 1) * text.size());
    Value inner{n.kind == Kind::big ? hexadecimal_of(text) : std::string(text)};
    return {Value::Object{.name = n.kind == Kind::bytes ? "bytes" : "int",
                          .arguments = {std::make_shared<const Value>(std::move(inner))}}};
  }

  const Nodes& nodes_;
  std::vector<Done> done_;
  std::span<const std::span<const std::byte>> data_;
  uint64_t tensor_bytes_limit_ = 0;
};

ValuePtr to_value(const Nodes& nodes, Id result, std::span<const std::span<const std::byte>> data) {
  return Values(nodes, data).value(result);
}

}  // namespace hr::pickling

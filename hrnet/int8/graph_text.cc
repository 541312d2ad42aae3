// The graph of a network with 8-bit integers as text, and the checks of a text that anybody may have written.
#include <array>
#include <limits>

#include "core/error.h"
#include "core/io/json.h"
#include "hrnet/int8/graph.h"

namespace hr {
namespace {

using Graph = Int8Graph;
using Kind = Graph::Kind;
using Node = Graph::Node;

constexpr std::array<std::string_view, 7> kKinds = {"stem", "conv", "depthwise", "sum", "pool", "concat", "head"};
constexpr std::array<std::string_view, 3> kActs = {"none", "relu", "silu"};
constexpr int kVersion = 1, kVersionWithFactors = 2;
constexpr int kMostNodes = 10'000, kMostTerms = 8, kMostChannels = 1 << 16, kMostUp = 8, kMostMaps = 16;

bool is_conv(Kind k) { return k == Kind::stem || k == Kind::conv || k == Kind::depthwise || k == Kind::head; }

// Reads the members of one JSON object.
class Object {
 public:
  Object(const Json& json, const std::string& where) : json_(json), where_(where) {
    check(json.IsObject(), "{}: expected an object", where);
  }
  const Json& at(const char* key) const {
    const auto found = json_.FindMember(key);
    check(found != json_.MemberEnd(), "{}: `{}` is missing", where_, key);
    return found->value;
  }
  bool has(const char* key) const { return json_.HasMember(key); }
  const Json& list(const char* key) const {
    const Json& v = at(key);
    check(v.IsArray(), "{}: `{}` is no list", where_, key);
    return v;
  }
  std::string text(const char* key) const {
    const Json& v = at(key);
    check(v.IsString(), "{}: `{}` is no text", where_, key);
    return {v.GetString(), v.GetStringLength()};
  }
  int number(const char* key, int least, int most) const { return number(at(key), key, least, most); }
  int number(const char* key, int least, int most, int otherwise) const {
    return has(key) ? number(key, least, most) : otherwise;
  }
  int number(const Json& v, const char* what, int least, int most) const {
    check(v.IsInt() && v.GetInt() >= least && v.GetInt() <= most, "{}: `{}` is no number from {} to {}", where_, what,
          least, most);
    return v.GetInt();
  }
  template <size_t N>
  size_t one_of(const char* key, const std::array<std::string_view, N>& names) const {
    const std::string name = text(key);
    for (size_t i = 0; i < N; ++i) {
      if (names[i] == name) return i;
    }
    fail("{}: `{}` is {}; expected one of {}", where_, key, name, fmt::join(names, ", "));
  }

 private:
  const Json& json_;
  const std::string& where_;
};

// Checks a node against the values that exist before it. `made` says which do.
void check_node(const Graph& g, const Node& n, std::vector<bool>& made, const std::string& where) {
  const auto existing = [&](int v) -> const Graph::Value& {
    check(v >= 0 && static_cast<size_t>(v) < g.values.size() && made[static_cast<size_t>(v)],
          "{}: the value {} does not exist before it", where, v);
    return g.values[static_cast<size_t>(v)];
  };
  check(n.y >= 0 && static_cast<size_t>(n.y) < g.values.size() && !made[static_cast<size_t>(n.y)],
        "{}: its result {} is no value, or that of another node", where, n.y);
  const Graph::Value& y = g.values[static_cast<size_t>(n.y)];
  const auto require = [&](bool ok, const char* what) { check(ok, "{}: {}", where, what); };
  if (is_conv(n.kind)) {
    require(y.channels == n.shape.out, "its result has another number of channels");
    const bool bytes_in = n.kind != Kind::stem && existing(n.x).bytes;
    const bool floats = g.channels && (n.kind == Kind::stem || n.kind == Kind::depthwise);  // They may be used.
    if (n.kind == Kind::stem)
      require(n.x < 0, "its input must be the picture");
    else
      require(existing(n.x).channels == n.shape.in, "its input has another number of channels");
    require(floats || n.kind == Kind::stem || bytes_in == (n.kind != Kind::head), "its input has the wrong type");
    require(y.bytes ? n.kind != Kind::head
                    : n.kind == Kind::conv || n.kind == Kind::head || (floats && n.kind == Kind::stem),
            "its result has the wrong type");
    require(!g.channels || !y.bytes || n.act == Graph::Act::silu, "factors of channels need silu");
    require(!y.bytes || n.act != Graph::Act::none, "a result of bytes needs an activation");
    require(n.act != Graph::Act::relu || n.kind != Kind::depthwise, "only silu is supported");
    require(n.kind != Kind::depthwise || (n.act == Graph::Act::silu && n.shape.in == n.shape.out),
            "this depthwise convolution is not supported");
    if (n.add >= 0) {
      require(n.kind == Kind::conv && existing(n.add).channels == y.channels && (y.bytes || !existing(n.add).bytes),
              "this summand is not possible");
    }
  } else if (n.kind == Kind::pool) {
    require(existing(n.x).bytes && y.bytes && existing(n.x).channels == y.channels && existing(n.x).range == y.range,
            "its input and result differ");
  } else {
    require(!n.terms.empty(), "it has no terms");
    require(!g.channels || n.kind == Kind::concat, "a sum of channels with factors is not supported");
    int64_t channels = 0;
    for (const Graph::Term& t : n.terms) {
      const Graph::Value& v = existing(t.value);
      channels += v.channels;
      if (n.kind == Kind::sum)
        require(v.channels == y.channels, "a term has another number of channels");
      else
        require(v.bytes && v.range == y.range, "a term has another range");
    }
    require(n.kind == Kind::sum || (y.bytes && channels == y.channels), "its result has another number of channels");
  }
  made[static_cast<size_t>(n.y)] = true;
}

Node read_node(const Json& json, const std::string& where) {
  const Object o(json, where);
  constexpr int kMostValue = kMostNodes;
  Node n;
  n.kind = static_cast<Kind>(o.one_of("kind", kKinds));
  n.name = o.has("name") ? o.text("name") : "";
  n.act = static_cast<Graph::Act>(o.has("act") ? o.one_of("act", kActs) : 0);
  n.x = o.number("x", 0, kMostValue, -1);
  n.y = o.number("y", 0, kMostValue);
  n.add = o.number("add", 0, kMostValue, -1);
  if (is_conv(n.kind)) {
    check(!n.name.empty(), "{}: a convolution without a name", where);
    n.shape.in = o.number("in", 1, kMostChannels);
    n.shape.out = o.number("out", 1, kMostChannels);
    n.shape.kernel = o.number("kernel", 1, 7);
    n.shape.stride = o.number("stride", 1, 4);
    n.shape.pad = o.number("pad", 0, 3);
    n.shape.transposed = o.number("transposed", 0, 1, 0) != 0;
    check(!n.shape.transposed || n.kind == Kind::conv, "{}: it cannot be transposed", where);
  }
  if (n.kind == Kind::pool) {
    n.pool = {.kernel = o.number("kernel", 1, 15), .stride = o.number("stride", 1, 4), .pad = o.number("pad", 0, 7)};
    check(n.pool.pad < n.pool.kernel, "{}: a window that may lie outside of the picture", where);
  }
  if (n.kind == Kind::head) {
    n.column = o.number("column", 0, kMostChannels, 0);
    n.map = o.number("map", 0, kMostMaps - 1, 0);
    n.sigmoid = o.number("sigmoid", 0, 1, 0) != 0;
  }
  if (!o.has("terms")) return n;
  const Json& terms = o.list("terms");
  check(terms.Size() <= kMostTerms, "{}: {} terms; expected at most {}", where, terms.Size(), kMostTerms);
  for (const Json& t : terms.GetArray()) {
    check(t.IsArray() && t.Size() == 2, "{}: a term is no pair", where);
    n.terms.push_back({o.number(t[0], "terms", 0, kMostValue), o.number(t[1], "terms", 0, kMostUp)});
  }
  return n;
}

void check_heads(const Graph& g, const std::string& name) {
  size_t heads = 0;
  for (const Node& n : g.nodes) {
    if (n.kind != Kind::head) continue;
    ++heads;
    check(g.columns == 0 || n.column + n.shape.out <= g.columns, "{}: {}: columns {} to {} of {}", name, n.name,
          n.column, n.column + n.shape.out, g.columns);
  }
  check(g.columns > 0 ? heads > 0 : heads == 1, "{}: {} heads", name, heads);
}

}  // namespace

std::string int8_graph_text(const Graph& g) {
  std::string text;
  JsonWriter json(text, kJsonCompact);
  json.begin_object()
      .member("version", g.channels ? kVersionWithFactors : kVersion)
      .member("columns", g.columns)
      .key("values")
      .begin_list();
  for (const Graph::Value& v : g.values) {
    json.begin_list().value(v.channels).value(v.bytes ? 1 : 0).value(v.range).end();
  }
  json.end().key("nodes").begin_list();
  for (const Node& n : g.nodes) {
    json.begin_object().member("kind", kKinds[static_cast<size_t>(n.kind)]);
    if (!n.name.empty()) json.member("name", n.name);
    if (n.act != Graph::Act::none) json.member("act", kActs[static_cast<size_t>(n.act)]);
    if (n.x >= 0) json.member("x", n.x);
    if (n.add >= 0) json.member("add", n.add);
    json.member("y", n.y);
    if (is_conv(n.kind)) {
      json.member("in", n.shape.in).member("out", n.shape.out).member("kernel", n.shape.kernel);
      json.member("stride", n.shape.stride).member("pad", n.shape.pad);
      if (n.shape.transposed) json.member("transposed", 1);
    }
    if (n.kind == Kind::pool)
      json.member("kernel", n.pool.kernel).member("stride", n.pool.stride).member("pad", n.pool.pad);
    if (n.kind == Kind::head && g.columns > 0)
      json.member("column", n.column).member("map", n.map).member("sigmoid", n.sigmoid ? 1 : 0);
    if (!n.terms.empty()) {
      json.key("terms").begin_list();
      for (const Graph::Term& t : n.terms) json.begin_list().value(t.value).value(t.up).end();
      json.end();
    }
    json.end();
  }
  json.end().end();
  return text;
}

Graph parse_int8_graph(std::string_view text, const std::string& name) {
  const rapidjson::Document document = parse_json(text, name);
  const Object top(document, name);
  Graph g;
  g.channels = top.number("version", kVersion, kVersionWithFactors) == kVersionWithFactors;
  g.columns = top.number("columns", 0, kMostChannels);
  const Json &values = top.list("values"), &nodes = top.list("nodes");
  check(values.Size() <= kMostNodes && nodes.Size() <= kMostNodes, "{}: more than {} nodes", name, kMostNodes);
  for (const Json& v : values.GetArray()) {
    check(v.IsArray() && v.Size() == 3 && v[2].IsString(), "{}: a value is not of three parts", name);
    g.values.push_back({top.number(v[0], "channels", 1, kMostChannels), top.number(v[1], "bytes", 0, 1) != 0,
                        std::string(v[2].GetString(), v[2].GetStringLength())});
  }
  std::vector<bool> made(g.values.size(), false);
  for (const Json& n : nodes.GetArray()) {
    const std::string where = fmt::format("{}: node {}", name, g.nodes.size());
    g.nodes.push_back(read_node(n, where));
    check_node(g, g.nodes.back(), made, where);
  }
  check_heads(g, name);
  set_levels(g);
  return g;
}

}  // namespace hr

#include "hrnet/train/official_yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "core/error.h"

namespace hr {
namespace {

constexpr size_t kMostBytes = 256 << 10, kMostNodes = 10'000, kMostDepth = 16;

struct Node {
  enum class Kind { scalar, list, map } kind = Kind::scalar;
  std::string text;
  bool null = false;
  std::vector<std::shared_ptr<const Node>> items;                        // Of a list.
  std::vector<std::pair<std::string, std::shared_ptr<const Node>>> map;  // Of a map.
  int line = 0;
  size_t nodes = 1, depth = 1;  // With everything below it and all aliases expanded.
};
using NodePtr = std::shared_ptr<const Node>;

// Builds the tree from the parser's events. An alias refers to a node that exists already, so the tree takes no more
// memory than the text. Its nodes are nevertheless counted with all aliases expanded, since flatten() visits them so.
class Builder : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& name) : name_(name) {}

  NodePtr root() const { return root_; }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Node node{.null = true, .line = mark.line + 1};
    put(std::move(node), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto it = anchors_.find(anchor);
    check_field(it != anchors_.end(), "cfg", "{}, line {}: an alias lies within the node that it refers to", name_,
                mark.line + 1);
    add(it->second, mark.line + 1);
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor, const std::string& value) override {
    put({.text = value, .line = mark.line + 1}, anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(Node::Kind::list, mark, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(Node::Kind::map, mark, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Node node;
    YAML::anchor_t anchor = 0;
    std::optional<std::string> key;
    std::vector<NodePtr> merged;  // The maps of merge keys.
    std::set<std::string> keys;
  };

  void open(Node::Kind kind, const YAML::Mark& mark, YAML::anchor_t anchor) {
    check_field(open_.size() < kMostDepth, "cfg", "{}, line {}: is nested deeper than {}", name_, mark.line + 1,
                kMostDepth);
    open_.push_back({.node = {.kind = kind, .line = mark.line + 1}, .anchor = anchor});
  }

  void close() {
    Open done = std::move(open_.back());
    open_.pop_back();
    for (const NodePtr& merged : done.merged) {
      for (const auto& [key, value] : merged->map) {
        if (done.keys.insert(key).second) done.node.map.emplace_back(key, value);
      }
    }
    put(std::move(done.node), done.anchor);
  }

  void put(Node node, YAML::anchor_t anchor) {
    const int line = node.line;
    const auto shared = std::make_shared<const Node>(std::move(node));
    if (anchor != 0) anchors_[anchor] = shared;
    add(shared, line);
  }

  void add(const NodePtr& node, int line) {
    if (open_.empty()) {
      root_ = node;
      return;
    }
    Open& parent = open_.back();
    parent.node.nodes += node->nodes;
    parent.node.depth = std::max(parent.node.depth, node->depth + 1);
    check_field(parent.node.nodes <= kMostNodes, "cfg", "{}, line {}: more than {} nodes with all aliases expanded",
                name_, line, kMostNodes);
    check_field(open_.size() - 1 + parent.node.depth <= kMostDepth, "cfg", "{}, line {}: is nested deeper than {}",
                name_, line, kMostDepth);
    if (parent.node.kind == Node::Kind::list) {
      parent.node.items.push_back(node);
    } else if (!parent.key) {
      check_field(node->kind == Node::Kind::scalar, "cfg", "{}, line {}: a key is not plain text", name_, line);
      parent.key = node->text;
    } else {
      add_value(parent, node, line);
      parent.key.reset();
    }
  }

  void add_value(Open& parent, const NodePtr& node, int line) {
    const std::string& key = *parent.key;
    if (key == "<<") {
      check_field(node->kind == Node::Kind::map, "cfg", "{}, line {}: << merges a map, but its value is not a map",
                  name_, line);
      parent.merged.push_back(node);
      return;
    }
    check_field(parent.keys.insert(key).second, "cfg", "{}, line {}: {} is given twice", name_, line, key);
    parent.node.map.emplace_back(key, node);
  }

  const std::string& name_;
  NodePtr root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, NodePtr> anchors_;
};

// Appends the settings of a map. The builder has limited the depth of the recursion to kMostDepth and the number of
// calls to kMostNodes.
void flatten(const Node& map, const std::string& prefix, const std::string& name, std::vector<OfficialEntry>& out) {
  for (const auto& [key, node] : map.map) {
    OfficialEntry entry{.key = prefix + key, .place = fmt::format("{}, line {}", name, node->line)};
    if (node->kind == Node::Kind::map) {
      flatten(*node, entry.key + ".", name, out);
      continue;
    }
    entry.list = node->kind == Node::Kind::list;
    entry.null = node->null;
    if (!entry.list) entry.items = {node->text};
    for (const NodePtr& item : node->items) {
      check_field(item->kind == Node::Kind::scalar, "cfg", "{}: {} is a list of something else; expected plain values",
                  entry.place, entry.key);
      entry.items.push_back(item->text);
    }
    out.push_back(std::move(entry));
  }
}

}  // namespace

std::vector<OfficialEntry> read_official_yaml(const std::string& text, const std::string& name) {
  check_field(text.size() <= kMostBytes, "cfg", "{}: has {} bytes; a configuration file has at most {}", name,
              text.size(), kMostBytes);
  Builder builder(name);
  try {
    // The library takes the end of the last line for a quote that is missing, so the text is given without that end and
    // without the blank lines after it.
    const size_t last = text.find_last_not_of(" \t\r\n");
    std::istringstream stream(text.substr(0, text.find_first_of("\r\n", last == std::string::npos ? 0 : last)));
    YAML::Parser parser(stream);
    check_field(parser.HandleNextDocument(builder) && builder.root() != nullptr, "cfg", "{}: holds no settings", name);
    const NodePtr root = builder.root();
    check_field(!parser.HandleNextDocument(builder), "cfg", "{}: holds more than one document", name);
    check_field(root->kind == Node::Kind::map, "cfg",
                "{}: expected a map of settings such as TRAIN and MODEL, found {}", name,
                root->kind == Node::Kind::list ? "a list" : "plain text");
    std::vector<OfficialEntry> entries;
    flatten(*root, "", name, entries);
    return entries;
  } catch (const YAML::Exception& e) {
    const bool open = e.msg == YAML::ErrorMsg::EOF_IN_SCALAR;
    fail_field("cfg", "{}, line {}: is not valid YAML: {}", name, e.mark.line + 1,
               open ? "a quoted text is never closed" : e.msg);
  }
}

}  // namespace hr

// From a pickle's nodes to a tree of values. Internal to core/io/pickle.
#pragma once
#include <cstddef>
#include <span>

#include "core/io/pickle_nodes.h"

namespace hr::pickling {

// What `result` reaches. data[i]: the bytes of the i-th storage. Error: deeper than Value::kMaxDepth, more than
// Value::kMaxNodes values, or tensors that together show their storages too often.
ValuePtr to_value(const Nodes& nodes, Id result, std::span<const std::span<const std::byte>> data);

}  // namespace hr::pickling

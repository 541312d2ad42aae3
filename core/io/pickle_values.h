// Turns the nodes of a pickle into a tree of values. Internal to core/io/pickle.
#pragma once
#include <cstddef>
#include <span>

#include "core/io/pickle_nodes.h"

namespace hr::pickling {

// Returns everything that `result` reaches; data[i] are the bytes of the i-th storage. Throws Error if values are
// nested deeper than Value::kMaxDepth, if there are more than Value::kMaxNodes of them, or if tensors together show the
// bytes of their storages too often.
ValuePtr to_value(const Nodes& nodes, Id result, std::span<const std::span<const std::byte>> data);

}  // namespace hr::pickling

// These are the numbers of onnx.proto's fields and element types that this library reads or writes.
#pragma once
#include <cstdint>
#include <utility>

#include "core/dtype.h"

namespace hr::onnx_fields {

namespace model {
inline constexpr uint32_t ir_version = 1, producer_name = 2, producer_version = 3, graph = 7, opset_import = 8,
                          metadata_props = 14;
}
namespace opset {
inline constexpr uint32_t domain = 1, version = 2;
}
namespace entry {
inline constexpr uint32_t key = 1, value = 2;
}
namespace graph {
inline constexpr uint32_t node = 1, name = 2, initializer = 5, input = 11, output = 12, sparse_initializer = 15;
}
namespace node {
inline constexpr uint32_t input = 1, output = 2, name = 3, op_type = 4, attribute = 5, domain = 7;
}
namespace attribute {
inline constexpr uint32_t name = 1, f = 2, i = 3, s = 4, t = 5, floats = 7, ints = 8, type = 20;
inline constexpr int64_t type_float = 1, type_int = 2, type_string = 3, type_tensor = 4, type_floats = 6, type_ints = 7;
}  // namespace attribute
namespace tensor {
inline constexpr uint32_t dims = 1, data_type = 2, segment = 3, float_data = 4, int32_data = 5, int64_data = 7,
                          name = 8, raw_data = 9, double_data = 10, external_data = 13, data_location = 14;
}
namespace value_info {
inline constexpr uint32_t name = 1, type = 2;
}
namespace type {
inline constexpr uint32_t tensor_type = 1;
}
namespace tensor_type {
inline constexpr uint32_t elem_type = 1, shape = 2;
}
namespace shape {
inline constexpr uint32_t dim = 1;
}
namespace dim {
inline constexpr uint32_t value = 1, param = 2;
}

inline constexpr std::pair<DType, int64_t> kTypes[] = {
    {DType::f32, 1}, {DType::u8, 2},   {DType::i8, 3},      {DType::i16, 5},  {DType::i32, 6},
    {DType::i64, 7}, {DType::f16, 10}, {DType::boolean, 9}, {DType::f64, 11}, {DType::bf16, 16}};

}  // namespace hr::onnx_fields

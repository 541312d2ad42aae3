// Turns the dtype of a tensor into a template argument, in one place for all ops.
#pragma once
#include "core/context.h"
#include "core/error.h"

namespace hr {

// Calls body.template operator()<T>() with T = float or bf16. Throws Error for other types.
template <class Body>
void for_dtype(std::string_view op, DType dtype, const Body& body) {
  if (dtype == DType::f32) return body.template operator()<float>();
  if (dtype == DType::bf16) return body.template operator()<bf16>();
  fail("{}: expected f32 or bf16 elements, got {}", op, name_of(dtype));
}

}  // namespace hr

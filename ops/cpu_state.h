// What the CPU ops keep between calls.
#pragma once
#include "ops/dnnl_conv.h"

namespace hr {

struct CpuState final : OpState {
  DnnlConv conv;
};

// The context's CPU state, made at first use.
inline CpuState& cpu_state(Context& cx) {
  if (!cx.ops) cx.ops = std::make_shared<CpuState>();
  return static_cast<CpuState&>(*cx.ops);
}

}  // namespace hr

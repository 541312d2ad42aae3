// Declares the few names of CUDA that the headers of kernels need; core/cuda.h has the rest.
#pragma once

struct CUstream_st;
struct CUevent_st;
struct CUgraphExec_st;

namespace hr::cuda {

using Stream = CUstream_st*;    // the same type as cudaStream_t
using Event = CUevent_st*;      // the same type as cudaEvent_t
using Graph = CUgraphExec_st*;  // the same type as cudaGraphExec_t

// Throws Error that names `what` if the last kernel launch was refused.
void check_launch(const char* what);

}  // namespace hr::cuda

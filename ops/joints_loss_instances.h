// The functors of ops/joints_loss.cc that run on a GPU.
#include "ops/joints_loss_kernel.h"

HR_REDUCE_ROWS(hr::SquaredError<float>)
HR_REDUCE_ROWS(hr::SquaredError<hr::bf16>)
HR_FOR_COLUMNS(hr::JointTotals)
HR_FOR_COLUMNS(hr::LossTotal)
HR_FOR_EACH(hr::SquaredErrorBackward<float>)
HR_FOR_EACH(hr::SquaredErrorBackward<hr::bf16>)

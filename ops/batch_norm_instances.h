// The functors of ops/batch_norm.cc that run on a GPU.
#include "ops/batch_norm_kernel.h"

HR_REDUCE_ROWS(hr::Reduction<hr::ShiftedMoments<float>, hr::BatchStatistics>)
HR_REDUCE_ROWS(hr::Reduction<hr::ShiftedMoments<hr::bf16>, hr::BatchStatistics>)
HR_REDUCE_ROWS(hr::Reduction<hr::ShiftedMoments<float>, hr::RankStatistics>)
HR_REDUCE_ROWS(hr::Reduction<hr::ShiftedMoments<hr::bf16>, hr::RankStatistics>)
HR_FOR_COLUMNS(hr::MergedStatistics)
HR_FOR_COLUMNS(hr::RunningStatistics)
HR_FOR_EACH(hr::ScaleFilter)

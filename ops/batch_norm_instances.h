// The functors of ops/batch_norm.cc that run on a GPU.
#include "ops/batch_norm_kernel.h"

HR_REDUCE_ROWS(hr::ShiftedMoments<float>)
HR_REDUCE_ROWS(hr::ShiftedMoments<hr::bf16>)
HR_FOR_COLUMNS(hr::BatchStatistics<float>)
HR_FOR_COLUMNS(hr::BatchStatistics<hr::bf16>)
HR_FOR_COLUMNS(hr::RankStatistics<float>)
HR_FOR_COLUMNS(hr::RankStatistics<hr::bf16>)
HR_FOR_COLUMNS(hr::MergedStatistics)
HR_FOR_COLUMNS(hr::RunningStatistics)
HR_FOR_EACH(hr::ScaleFilter)

// The functors of ops/sum.cc that run on a GPU.
#include "ops/sum_kernel.h"

HR_FOR_EACH_FLAT(hr::Add<float>)
HR_FOR_EACH_FLAT(hr::Add<hr::bf16>)
HR_FOR_EACH_FLAT(hr::Convert<float, float>)
HR_FOR_EACH_FLAT(hr::Convert<float, hr::bf16>)
HR_FOR_EACH_FLAT(hr::Convert<hr::bf16, float>)
HR_FOR_EACH_FLAT(hr::Convert<hr::bf16, hr::bf16>)
HR_FOR_EACH_FLAT(hr::CopyUnlessFinite)
HR_REDUCE_ROWS(hr::ColumnSum<float>)
HR_REDUCE_ROWS(hr::ColumnSum<hr::bf16>)
HR_FOR_COLUMNS(hr::ColumnTotal)

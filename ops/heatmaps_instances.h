// The functors of ops/heatmaps.cc that run on a GPU.
#include "ops/heatmaps_kernel.h"

HR_FOR_EACH(hr::MirrorColumns)
HR_FOR_EACH(hr::FlipAverage)
HR_FOR_EACH(hr::GaussianTargets)

#include "ops/crop.h"

#include "core/error.h"
#include "ops/crop_kernel.h"
#include "ops/dispatch.h"
#include "ops/for_each.h"

namespace hr {

void crop(Context& cx, const Tensor& sources, const Tensor& normal, const Tensor& images) {
  check(images.rank() == 4 && images.dim(3) == 3 && (images.dtype() == DType::f32 || images.dtype() == DType::bf16),
        "crop: expected images [N, h, w, 3] f32 or bf16, got {} of {}", to_string(images.shape()),
        name_of(images.dtype()));
  const auto h = static_cast<int>(images.dim(1)), w = static_cast<int>(images.dim(2));
  const Shape slots{images.dim(0), static_cast<int64_t>(CropSource::slot_bytes(w, h))};
  check(sources.shape() == slots && sources.dtype() == DType::u8, "crop: expected sources {} u8, got {} of {}",
        to_string(slots), to_string(sources.shape()), name_of(sources.dtype()));
  check(normal.numel() == 3 * 256 && normal.dtype() == DType::f32, "crop: expected normal [3, 256] f32, got {} of {}",
        to_string(normal.shape()), name_of(normal.dtype()));
  for_dtype("crop", images.dtype(), [&]<class T>() {
    for_each(cx, images.dim(0) * h, int64_t{3} * w,
             CropWarp<T>{.sources = sources.data<uint8_t>(),
                         .normal = normal.data<float>(),
                         .images = images.data<T>(),
                         .slot = slots[1],
                         .h = static_cast<uint32_t>(h),
                         .w = static_cast<uint32_t>(w)});
  });
}

}  // namespace hr

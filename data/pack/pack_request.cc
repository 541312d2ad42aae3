#include "data/pack/pack_request.h"

#include "core/error.h"

namespace hr {

void check_pack_request(const PackLimits& limits, const DatasetOptions& o, const std::string& where) {
  const auto recipe = [](Recipe r) { return r == Recipe::seed ? "seed" : "official"; };
  check(limits.recipe == o.recipe,
        "{}: packed for the {} recipe, asked is {}; their crops differ: pack it again with "
        "--recipe {}",
        where, recipe(limits.recipe), recipe(o.recipe), recipe(o.recipe));
  check(int64_t{limits.input_h} * o.input_w == int64_t{o.input_h} * limits.input_w,
        "{}: packed for inputs of {} x {}, asked is {} x {}, which has another aspect ratio; pack it again with "
        "--fixed-size {} {}",
        where, limits.input_h, limits.input_w, o.input_h, o.input_w, o.input_h, o.input_w);
  if (o.augment) {
    check(limits.augment, "{}: packed without margin for augmentation; train with --no-augment, or pack it again",
          where);
    const AugmentOptions& a = o.augmentation;
    check(a.scale <= limits.scale,
          "{}: packed for scales of 1 -+ {}, asked is {}; pack it again with --scale-factor {}", where, limits.scale,
          a.scale, a.scale);
    check(a.rotation <= limits.rotation,
          "{}: packed for a rotation of {} degrees, asked is {}; pack it again with --rot-factor {}", where,
          limits.rotation, a.rotation, a.rotation);
    check(a.half_body <= 0 || limits.half_body,
          "{}: packed without half bodies; train with --prob-half-body 0, or pack it again", where);
  } else if (o.recipe == Recipe::seed) {
    check(!limits.augment || limits.scale >= 0.25,
          "{}: packed for scales up to {}, the seed's plain crops have 1.25; pack it again with --scale-factor 0.25",
          where, 1 + limits.scale);
  }
  check(limits.categories == o.categories, "{}: packed for categories [{}], asked are [{}]; pack it again", where,
        fmt::join(limits.categories, ", "), fmt::join(o.categories, ", "));
}

}  // namespace hr

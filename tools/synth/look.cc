// Draws the appearance and the clothes of a synthetic person at random.
#include <algorithm>

#include "tools/synth/figure_detail.h"
#include "tools/synth/random.h"

namespace hr::synth_detail {
namespace {

Rgb varied(Philox& rng, Rgb c, double spread) {
  const float gain = uniform(rng, 1 - spread, 1 + spread);
  return {std::clamp(c.r * gain + uniform(rng, -6, 6), 0.0F, 255.0F),
          std::clamp(c.g * gain + uniform(rng, -6, 6), 0.0F, 255.0F),
          std::clamp(c.b * gain + uniform(rng, -6, 6), 0.0F, 255.0F)};
}

float distance(Rgb a, Rgb b) { return std::abs(a.r - b.r) + std::abs(a.g - b.g) + std::abs(a.b - b.b); }

}  // namespace

Rgb random_color(Philox& rng) {
  // Hue, saturation and value are drawn so that cloth is rarely grey and rarely garish.
  const float hue = uniform(rng, 0, 6),
              saturation = chance(rng, 0.22) ? uniform(rng, 0, 0.12) : uniform(rng, 0.25, 0.9);
  const float value = uniform(rng, 45, 245);
  const auto channel = [&](float offset) {
    const float k = std::fmod(offset + hue, 6.0F);
    return value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0F, 1.0F));
  };
  return {channel(5), channel(3), channel(1)};
}

Look make_look(Philox& rng) {
  constexpr std::array<Rgb, 7> skins{{{244, 208, 184},
                                      {232, 190, 160},
                                      {222, 172, 136},
                                      {198, 144, 108},
                                      {165, 112, 80},
                                      {126, 82, 58},
                                      {90, 60, 44}}};
  constexpr std::array<Rgb, 8> hairs{{{28, 22, 20},
                                      {48, 34, 26},
                                      {80, 54, 34},
                                      {120, 80, 44},
                                      {190, 150, 88},
                                      {222, 196, 140},
                                      {150, 60, 30},
                                      {170, 168, 166}}};
  Look look;
  look.skin = varied(rng, skins[rng.below(skins.size())], 0.06);
  do {
    look.hair = varied(rng, hairs[rng.below(hairs.size())], 0.12);
  } while (distance(look.hair, look.skin) < 90);  // the hairline must be visible, because it shows front or back
  look.iris = {uniform(rng, 15, 70), uniform(rng, 15, 70), uniform(rng, 15, 80)};
  look.shirt.base = random_color(rng);
  do {
    look.trousers.base = random_color(rng);
  } while (distance(look.trousers.base, look.shirt.base) < 70);
  look.shirt.second = random_color(rng);
  if (chance(rng, 0.35)) {
    look.shirt.stripe = uniform(rng, 0.03, 0.09);
    look.shirt.along = chance(rng, 0.25);
  }
  look.trousers.second = mix(look.trousers.base, random_color(rng), 0.5F);
  if (chance(rng, 0.12)) {
    look.trousers.stripe = uniform(rng, 0.04, 0.08);
    look.trousers.along = chance(rng, 0.6);
  }
  look.shoes = chance(rng, 0.5) ? Rgb{30, 28, 28} : random_color(rng);
  const double sleeve = rng.uniform();
  look.sleeve = sleeve < 0.42 ? 1.0F : sleeve < 0.86 ? uniform(rng, 0.26, 0.42) : 0.1F;
  look.trouser_leg = chance(rng, 0.7) ? 1.0F : uniform(rng, 0.32, 0.5);
  look.hairline = uniform(rng, 0.34, 0.62);
  look.long_hair = chance(rng, 0.3);
  look.beard = !look.long_hair && chance(rng, 0.2);
  look.girth = around(rng, 1, 0.11);
  look.head = around(rng, 1.1, 0.05);
  look.light = chance(rng, 0.5) ? uniform(rng, 0.2, 0.6) : uniform(rng, -0.6, -0.2);
  return look;
}

}  // namespace hr::synth_detail

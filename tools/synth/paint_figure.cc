// Paints a synthetic person, and decides which joints are visible.
#include <algorithm>

#include "tools/synth/figure_detail.h"

namespace hr::synth_detail {
namespace {

enum Part : uint8_t {
  torso,
  pelvis,
  neck,
  head,
  hair,
  left_upper_arm,
  right_upper_arm,
  left_forearm,
  right_forearm,
  left_hand,
  right_hand,
  left_thigh,
  right_thigh,
  left_shin,
  right_shin,
  left_foot,
  right_foot
};

constexpr uint32_t bit(int part) { return 1U << part; }
// The parts on which a joint counts as visible: it is visible if one of them is on top.
constexpr std::array<uint32_t, kJoints> kShownBy{bit(head),
                                                 bit(head),
                                                 bit(head),
                                                 bit(head),
                                                 bit(head),
                                                 bit(left_upper_arm) | bit(torso),
                                                 bit(right_upper_arm) | bit(torso),
                                                 bit(left_upper_arm) | bit(left_forearm),
                                                 bit(right_upper_arm) | bit(right_forearm),
                                                 bit(left_forearm) | bit(left_hand),
                                                 bit(right_forearm) | bit(right_hand),
                                                 bit(left_thigh) | bit(pelvis) | bit(torso),
                                                 bit(right_thigh) | bit(pelvis) | bit(torso),
                                                 bit(left_thigh) | bit(left_shin),
                                                 bit(right_thigh) | bit(right_shin),
                                                 bit(left_shin) | bit(left_foot),
                                                 bit(right_shin) | bit(right_foot)};

struct Painter {
  Canvas& canvas;
  const Figure& figure;
  int who;

  uint16_t owner(Part part) const { return static_cast<uint16_t>(who << 8 | part); }
  float px(float of_stature) const { return std::max(of_stature * figure.stature, 0.9F); }

  // Paints a limb: cloth up to `covered` of its length, skin beyond.
  void limb(Part part, Vec3 from, Vec3 to, float radius_a, float radius_b, const Cloth& cloth, float covered) const {
    const float girth = figure.look.girth;
    const float hem = covered >= 1 ? 0 : 0.003F;  // cloth is slightly wider than the skin
    const CapsuleShape shape(flat(from), flat(to), px((radius_a + hem) * girth), px(radius_b * girth));
    const float length = std::sqrt(dot(to - from, to - from));
    const float edge = 1 / std::max(length, 1.0F);  // one pixel, which softens the hem
    const Rgb skin = figure.look.skin;
    paint(canvas, shape.extent(), owner(part), shape, [&](float x, float y) {
      const float t = shape.along(x, y), side = shape.across(x, y) / shape.radius(t);
      Rgb color = cloth.base;
      if (cloth.stripe > 0) {
        const float phase = cloth.along ? side * 0.9F : t * length / (cloth.stripe * figure.stature);
        if (phase - std::floor(phase) > 0.5F) color = cloth.second;
      }
      if (covered < 1) color = mix(color, skin, std::clamp((t - covered) / edge + 0.5F, 0.0F, 1.0F));
      return color * shade(shape, side);
    });
  }
  void bare(Part part, Vec3 from, Vec3 to, float radius_a, float radius_b, Rgb color) const {
    limb(part, from, to, radius_a, radius_b, {color, color}, 1);
  }
  // Shades a cylinder under a light from above and from the side. It is dark towards the edge, so that a limb contrasts
  // with another of the same colour.
  float shade(const CapsuleShape& shape, float side) const {
    const float s = std::clamp(side, -1.0F, 1.0F), up = std::sqrt(1 - s * s);
    const float nx = s * shape.dy * shape.inverse_length;
    return 0.60F + 0.36F * up + 0.16F * nx * (figure.look.light > 0 ? 1.0F : -1.0F);
  }

  void paint_torso() const {
    const Figure& f = figure;
    const float girth = f.look.girth;
    const Vec3 ls = f.joint[left_shoulder], rs = f.joint[right_shoulder], lh = f.joint[left_hip],
               rh = f.joint[right_hip];
    const auto between = [](Vec3 a, Vec3 b, float t) { return a + (b - a) * t; };
    const Vec3 centre = between(f.spine_bottom, f.spine_top, 0.42F);
    const Vec3 lw = between(between(lh, ls, 0.42F), centre, 0.16F), rw = between(between(rh, rs, 0.42F), centre, 0.16F);
    PolygonShape shape;
    for (const Vec3 v :
         {between(ls, rs, 0.10F), lw, lh, rh, rw, between(rs, ls, 0.10F), between(f.spine_top, f.neck, 0.45F)}) {
      shape.add(flat(v));
    }
    const float round = px(0.047F * girth), depth = px(0.06F);
    const CapsuleShape spine(flat(f.spine_top), flat(f.spine_bottom), 1, 1);
    const float length = std::sqrt(dot(f.spine_top - f.spine_bottom, f.spine_top - f.spine_bottom));
    const Cloth& cloth = f.look.shirt;
    const float hips = 1.0F, belt = 1 / std::max(length, 1.0F);
    paint(
        canvas, shape.extent(round), owner(torso), [&](float x, float y) { return shape(x, y) - round; },
        [&](float x, float y) {
          const float inward = std::clamp((round - shape(x, y)) / depth, 0.0F, 1.0F);
          const float t = ((x - spine.a.x) * spine.dx + (y - spine.a.y) * spine.dy) * spine.inverse;
          Rgb color = cloth.base;
          if (cloth.stripe > 0) {
            const float phase = (cloth.along ? spine.across(x, y) : t * length) / (cloth.stripe * f.stature);
            if (phase - std::floor(phase) > 0.5F) color = cloth.second;
          }
          color = mix(color, f.look.trousers.base, std::clamp((t - hips) / belt + 0.5F, 0.0F, 1.0F));
          const float slope = std::clamp(spine.across(x, y) / (0.13F * f.stature), -1.0F, 1.0F);
          return color * (0.66F + 0.32F * std::sqrt(inward) + 0.08F * slope * (f.look.light > 0 ? -1.0F : 1.0F));
        });
  }

  // Returns the colour of the head's surface at u; `soft` is one pixel in units of u.
  Rgb head_color(Vec3 u, float soft) const {
    const Look& look = figure.look;
    const auto step = [soft](float v) { return std::clamp(v / soft + 0.5F, 0.0F, 1.0F); };
    Rgb color = look.skin;
    const float ax = std::abs(u.x);
    if (u.z > 0) {
      if (look.beard)
        color = mix(color, look.hair, 0.85F * step(std::min(-0.30F - u.y - 0.25F * (1 - ax), u.z - 0.15F)));
      const float mouth = 1 - std::hypot(u.x / 0.30F, (u.y + 0.47F) / 0.085F);
      color = mix(color, {150, 50, 50}, step(mouth * 0.085F));
      const float eye = 1 - std::hypot((ax - 0.38F) / 0.19F, (u.y - 0.13F) / 0.125F);
      color = mix(color, {250, 250, 250}, step(eye * 0.125F));
      const float iris = 0.105F - std::hypot(ax - 0.38F, u.y - 0.13F);
      color = mix(color, look.iris, step(iris));
      const float brow = 1 - std::hypot((ax - 0.39F) / 0.25F, (u.y - 0.33F - 0.1F * (0.4F - ax)) / 0.055F);
      color = mix(color, look.hair, step(brow * 0.055F));
    }
    // Hair covers the crown above the hairline, the back of the head down to the nape, and the sides in front of the
    // ears.
    const float crown = u.y - look.hairline - 0.18F * (1 - ax) * (u.z > 0 ? 1.0F : 0.0F);
    const float nape = look.long_hair ? -2.0F : -0.62F;
    const float back = std::min(-0.16F - u.z + (look.long_hair ? 0.38F : 0.0F), u.y - nape);
    const float sides = std::min({ax - 0.80F, u.y + 0.05F, 0.45F - u.z});
    return mix(color, look.hair, step(std::max({crown, back, sides})));
  }

  void ear(size_t side) const {
    if (figure.look.long_hair) return;  // the hair covers the ears
    const Vec3 at = figure.joint[left_ear + side];
    const float drop = 0.014F * figure.stature * figure.look.head;
    const Vec3 up = figure.head.up;
    const Vec3 half{up.x * drop, -up.y * drop, 0};
    bare(head, at + half, at - half, 0.019F, 0.014F, figure.look.skin * 0.94F);
  }

  void paint_head() const {
    const Figure& f = figure;
    // The columns of the ellipsoid in pixels, y down; u = inverse * (pixel offset).
    const float s = f.stature * f.look.head;
    const auto column = [&](Vec3 axis, float size) { return Vec3{axis.x, -axis.y, axis.z} * (size * s); };
    const Vec3 a = column(f.head.left, kHeadSize.x), b = column(f.head.up, kHeadSize.y),
               c = column(f.head.forward, kHeadSize.z);
    const auto to_u = [&](Vec3 p) { return Vec3{dot(p, a) / dot(a, a), dot(p, b) / dot(b, b), dot(p, c) / dot(c, c)}; };
    const Vec3 toward = to_u({0, 0, 1});
    const float tt = dot(toward, toward), radius = kHeadSize.y * s, soft = std::min(1.2F / radius, 0.5F);
    const auto axial = [&](float x, float y, Vec3& u, float& ut) {
      u = to_u({x - f.head_centre.x, y - f.head_centre.y, 0});
      ut = dot(u, toward);
      return dot(u, u) - ut * ut / tt;  // squared radius in the silhouette, 1 on its rim
    };
    Extent box;
    box.add(flat(f.head_centre), radius * 1.02F);
    for (const size_t side : {0U, 1U}) {
      if (f.joint[left_ear + side].z <= f.head_centre.z) ear(side);
    }
    // In profile, and a little beyond, the nose is still visible behind the cheek.
    const auto paint_nose = [&] {
      const Vec3 bridge = f.head_centre + (b * 0.12F + c * 0.97F);
      bare(head, bridge, f.joint[nose], 0.006F, 0.0125F, mix(f.look.skin, {190, 90, 70}, 0.22F));
    };
    if (f.faces[nose] <= 0.02F) paint_nose();
    const float mean = 0.9F * radius;
    paint(
        canvas, box, owner(head),
        [&](float x, float y) {
          Vec3 u;
          float ut = 0;
          return (std::sqrt(std::max(axial(x, y, u, ut), 0.0F)) - 1) * mean;
        },
        [&](float x, float y) {
          Vec3 u;
          float ut = 0;
          const float rim = std::min(axial(x, y, u, ut), 1.0F);
          const float z = (-ut + std::sqrt((1 - rim) * tt)) / tt;
          const Vec3 on{u.x + toward.x * z, u.y + toward.y * z, u.z + toward.z * z};
          const float lit = 0.70F + 0.30F * std::sqrt(1 - rim);
          return head_color(on, soft) * lit;
        });
    for (const size_t side : {0U, 1U}) {
      if (f.joint[left_ear + side].z > f.head_centre.z) ear(side);
    }
    if (f.faces[nose] > 0.02F) paint_nose();
  }
};

// The parts are painted from back to front, by the depth of each part's middle. Offsets decide between parts of the
// same depth, as clothes and bodies do.
struct Layers {
  struct Layer {
    float depth;
    int part;
  };
  std::array<Layer, 17> layer{};
  size_t count = 0;
};

Layers layers_of(const Figure& f) {
  Layers out;
  const auto add = [&](int part, float depth, float offset) {
    out.layer[out.count++] = {depth + offset * f.stature, part};
  };
  const auto middle = [](Vec3 a, Vec3 b) { return (a.z + b.z) / 2; };
  add(torso, middle(f.spine_top, f.spine_bottom), 0.012F);
  add(pelvis, f.spine_bottom.z, -0.012F);
  add(neck, f.neck.z, f.torso.forward.z > 0 ? 0.016F : -0.016F);
  add(head, f.head_centre.z, 0.03F);
  if (f.look.long_hair) add(hair, f.head_centre.z, f.head.forward.z > -0.15F ? -0.055F : 0.05F);
  for (int s = 0; s < 2; ++s) {
    const auto i = static_cast<size_t>(s);
    const std::array<Joint, 2> arm{static_cast<Joint>(left_shoulder + s), static_cast<Joint>(left_elbow + s)};
    const Vec3 wrist = f.joint[left_wrist + i], ankle = f.joint[left_ankle + i];
    add(left_upper_arm + s, middle(f.joint[arm[0]], f.joint[arm[1]]), 0.020F);
    add(left_forearm + s, middle(f.joint[arm[1]], wrist), 0.022F);
    add(left_hand + s, middle(wrist, f.fingertips[i]), 0.022F);
    add(left_thigh + s, middle(f.joint[left_hip + i], f.joint[left_knee + i]), 0.004F);
    add(left_shin + s, middle(f.joint[left_knee + i], ankle), 0);
    add(left_foot + s, middle(f.heels[i], f.toes[i]), 0.010F);
  }
  std::stable_sort(out.layer.begin(), out.layer.begin() + static_cast<ptrdiff_t>(out.count),
                   [](const Layers::Layer& a, const Layers::Layer& b) { return a.depth < b.depth; });
  return out;
}

}  // namespace

void paint_figure(Canvas& canvas, const Figure& f, int who) {
  const Painter p{canvas, f, who};
  const Look& look = f.look;
  const Layers layers = layers_of(f);

  // Sleeves and trouser legs end at a part of the length of upper arm and forearm, or of thigh and shin.
  const auto upper = [](float covered) { return covered >= 0.5F ? 1.0F : covered * 2; };
  const auto lower = [](float covered) { return covered >= 1 ? 1.0F : std::max(covered * 2 - 1, -1.0F); };
  for (size_t n = 0; n < layers.count; ++n) {
    const int part = layers.layer[n].part;
    const auto s = static_cast<size_t>(part >= left_upper_arm ? (part - left_upper_arm) % 2 : 0);
    const Vec3 wrist = f.joint[left_wrist + s], ankle = f.joint[left_ankle + s];
    const auto id = static_cast<Part>(part);
    switch (id) {
      case torso:
        p.paint_torso();
        break;
      case pelvis:
        p.limb(pelvis, f.joint[left_hip], f.joint[right_hip], 0.060F, 0.060F, {look.trousers.base, look.trousers.base},
               1);
        break;
      case neck:
        p.bare(neck, f.spine_top + (f.neck - f.spine_top) * 0.1F, f.head_centre, 0.034F, 0.030F, look.skin * 0.9F);
        break;
      case head:
        p.paint_head();
        break;
      case hair: {
        const float size = look.head * f.stature;
        const Vec3 back{-f.head.forward.x * 0.035F * size, f.head.forward.y * 0.035F * size, 0};
        const Vec3 fall{-f.head.up.x * 0.11F * size, f.head.up.y * 0.11F * size, 0};
        p.bare(hair, f.head_centre + back, f.head_centre + back + fall, 0.060F, 0.052F, look.hair);
        break;
      }
      case left_upper_arm:
      case right_upper_arm:
        p.limb(id, f.joint[left_shoulder + s], f.joint[left_elbow + s], 0.037F, 0.028F, look.shirt, upper(look.sleeve));
        break;
      case left_forearm:
      case right_forearm:
        p.limb(id, f.joint[left_elbow + s], wrist, 0.028F, 0.020F, look.shirt, lower(look.sleeve));
        break;
      case left_hand:
      case right_hand:
        p.bare(id, wrist, f.fingertips[s], 0.021F, 0.017F, look.skin);
        break;
      case left_thigh:
      case right_thigh:
        p.limb(id, f.joint[left_hip + s], f.joint[left_knee + s], 0.056F, 0.041F, look.trousers,
               upper(look.trouser_leg));
        break;
      case left_shin:
      case right_shin:
        p.limb(id, f.joint[left_knee + s], ankle, 0.040F, 0.026F, look.trousers, lower(look.trouser_leg));
        break;
      case left_foot:
      case right_foot:
        p.bare(id, f.heels[s], f.toes[s], 0.026F, 0.021F, look.shoes);
        break;
    }
  }
}

std::array<int, kJoints> visibility(const Canvas& canvas, const Figure& f, int who) {
  std::array<int, kJoints> v{};
  for (size_t k = 0; k < kJoints; ++k) {
    const int x = static_cast<int>(std::lround(f.joint[k].x)), y = static_cast<int>(std::lround(f.joint[k].y));
    if (x < 0 || y < 0 || x >= canvas.image.width || y >= canvas.image.height) continue;
    // Annotators leave out a point of the face that is behind the head, and mark one just beyond the silhouette as
    // hidden.
    if (k <= right_ear && f.faces[k] < -0.30F) continue;
    const uint16_t owner = canvas.owner_at(x, y);
    const int part = owner & 0xff;
    bool shown = owner >> 8 == who && (kShownBy[k] & bit(part)) != 0;
    if (k <= right_ear && f.faces[k] < -0.02F) shown = false;
    if (k == left_ear || k == right_ear) shown = shown && !f.look.long_hair;
    // If somebody is seen from the side, the far shoulder or hip is behind the trunk.
    if (shown && (part == torso || part == pelvis)) {
      const bool is_shoulder = k <= right_shoulder;
      const float trunk = is_shoulder ? f.spine_top.z : f.spine_bottom.z;
      shown = f.joint[k].z > trunk - (is_shoulder ? 0.095F : 0.053F) * f.stature;  // about 55 degrees of turn
    }
    v[k] = shown ? 2 : 1;
  }
  return v;
}

}  // namespace hr::synth_detail

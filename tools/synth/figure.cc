#include "tools/synth/figure.h"

#include <numbers>

namespace hr::synth_detail {
namespace {

constexpr float kDegree = std::numbers::pi_v<float> / 180;

float uniform(Philox& rng, double lo, double hi) { return static_cast<float>(rng.uniform(lo, hi)); }
// Normal, but never beyond two standard deviations: joints have stops.
float around(Philox& rng, double mean, double deviation) {
  return static_cast<float>(mean + deviation * std::clamp(rng.normal(), -2.0, 2.0));
}
bool chance(Philox& rng, double p) { return rng.uniform() < p; }

// Degrees. Positive pitch bows forward, positive yaw turns towards the person's left, positive roll tips to the right.
Frame pitch(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{1, 0, 0}, {0, c, s}, {0, -s, c}};
}
Frame yaw(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{c, 0, -s}, {0, 1, 0}, {s, 0, c}};
}
Frame roll(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
}

Vec3 unit(Vec3 v) {
  const float length = std::sqrt(dot(v, v));
  return length > 0 ? v * (1 / length) : v;
}

// ---- pose -------------------------------------------------------------------------------------------------------

struct Arm {
  float away = 10;        // upper arm from hanging down, degrees
  float azimuth = 0;      // of that swing: 0 sideways, 90 forward, -90 back
  float elbow = 15;       // bend
  Vec3 towards{0, 0, 1};  // where the forearm bends to, in the torso's frame with x outward
};
struct Leg {
  float flex = 0, abduct = 4, knee = 4, turn_out = 8, toes_down = 8;  // degrees
};
struct Stance {
  std::array<Arm, 2> arm;  // left, right
  std::array<Leg, 2> leg;
  float lean = 2, side = 0, twist = 0;  // torso against the pelvis
  float pelvis = 0;                     // pelvis pitch
  bool seated = false;
};

enum class ArmMode { down, hip, raised, side, forward, folded, face };

Arm make_arm(Philox& rng, ArmMode mode) {
  switch (mode) {
    case ArmMode::down:
      return {uniform(rng, 4, 24), uniform(rng, -30, 60), uniform(rng, 3, 40), {0, 0, 1}};
    case ArmMode::hip:
      return {uniform(rng, 32, 52), uniform(rng, -35, -5), uniform(rng, 80, 112), {-1, 0, 0.35F}};
    case ArmMode::raised:
      return {uniform(rng, 115, 174), uniform(rng, -15, 45), uniform(rng, 0, 75), {-0.6F, 1, 0.2F}};
    case ArmMode::side: {
      const float up = uniform(rng, -1, 1);
      return {uniform(rng, 62, 105), uniform(rng, -10, 35), uniform(rng, 0, 95), {0, up, 0.6F}};
    }
    case ArmMode::forward:
      return {uniform(rng, 45, 100), uniform(rng, 55, 100), uniform(rng, 0, 85), {-0.4F, uniform(rng, -0.2, 1), 0.2F}};
    case ArmMode::folded:
      return {uniform(rng, 22, 45), uniform(rng, 45, 85), uniform(rng, 85, 122), {-1, 0.35F, 0.3F}};
    case ArmMode::face:
      return {uniform(rng, 25, 65), uniform(rng, 25, 90), uniform(rng, 115, 142), {-0.2F, 1, 0.3F}};
  }
  return {};
}

// Forward (positive) or back, as when walking.
Arm swung(Philox& rng, float degrees, float elbow) {
  return {std::abs(degrees) + 4, degrees > 0 ? uniform(rng, 60, 85) : uniform(rng, -85, -60), elbow, {-0.15F, 0.1F, 1}};
}

ArmMode any_arm(Philox& rng) {
  constexpr std::array<ArmMode, 12> modes{ArmMode::down, ArmMode::down,    ArmMode::down,   ArmMode::hip,
                                          ArmMode::hip,  ArmMode::raised,  ArmMode::raised, ArmMode::side,
                                          ArmMode::side, ArmMode::forward, ArmMode::folded, ArmMode::face};
  return modes[rng.below(modes.size())];
}

void both_arms(Philox& rng, Stance& pose) {
  const ArmMode first = any_arm(rng);
  const ArmMode second = chance(rng, 0.45) ? first : any_arm(rng);
  pose.arm = {make_arm(rng, first), make_arm(rng, second)};
}

Stance make_pose(Philox& rng) {
  Stance pose;
  pose.side = around(rng, 0, 4);
  pose.twist = around(rng, 0, 7);
  pose.lean = around(rng, 2, 4);
  for (Leg& leg : pose.leg) leg = {around(rng, 0, 4), uniform(rng, 1, 9), uniform(rng, 1, 9), uniform(rng, 0, 25), 6};
  both_arms(rng, pose);
  const size_t front = rng.below(2), rear = 1 - front;
  const double kind = rng.uniform();
  if (kind < 0.22) {  // standing, sometimes with the weight on one leg
    if (chance(rng, 0.5)) {
      pose.leg[front].flex = uniform(rng, 5, 28);
      pose.leg[front].knee = uniform(rng, 15, 50);
      pose.leg[front].abduct = uniform(rng, 3, 16);
    }
  } else if (kind < 0.30) {  // legs apart
    for (Leg& leg : pose.leg) leg.abduct = uniform(rng, 12, 30);
  } else if (kind < 0.48) {  // walking
    const float step = uniform(rng, 12, 32);
    pose.leg[front].flex = step;
    pose.leg[front].knee = uniform(rng, 2, 22);
    pose.leg[rear].flex = -0.8F * step;
    pose.leg[rear].knee = uniform(rng, 8, 48);
    pose.leg[rear].toes_down = uniform(rng, 10, 40);
    if (chance(rng, 0.75)) {
      pose.arm[front] = swung(rng, -step, uniform(rng, 5, 35));
      pose.arm[rear] = swung(rng, step, uniform(rng, 10, 50));
    }
  } else if (kind < 0.58) {  // running
    const float step = uniform(rng, 28, 52);
    pose.lean = uniform(rng, 6, 20);
    pose.leg[front].flex = step + 12;
    pose.leg[front].knee = uniform(rng, 45, 105);
    pose.leg[rear].flex = -0.6F * step;
    pose.leg[rear].knee = uniform(rng, 15, 95);
    pose.leg[rear].toes_down = uniform(rng, 20, 45);
    pose.arm[front] = swung(rng, -step, uniform(rng, 60, 110));
    pose.arm[rear] = swung(rng, step, uniform(rng, 70, 115));
  } else if (kind < 0.70) {  // arms up
    pose.arm = {make_arm(rng, ArmMode::raised), make_arm(rng, ArmMode::raised)};
    for (Leg& leg : pose.leg) leg.abduct = uniform(rng, 1, 20);
  } else if (kind < 0.82) {  // sitting
    pose.seated = true;
    pose.lean = uniform(rng, -12, 22);
    for (Leg& leg : pose.leg) {
      leg = {uniform(rng, 72, 98), uniform(rng, 2, 20), uniform(rng, 62, 105), uniform(rng, -5, 15), 4};
    }
  } else if (kind < 0.90) {  // bending down
    const float bow = uniform(rng, 35, 85);
    pose.lean = 0.65F * bow;
    pose.pelvis = 0.35F * bow;
    for (size_t s = 0; s < 2; ++s) {
      pose.leg[s].flex = pose.pelvis + around(rng, 3, 5);
      pose.leg[s].knee = uniform(rng, 2, 30);
      const float reach = bow + uniform(rng, -15, 25);  // arms hang or reach down
      pose.arm[s] = {std::min(reach, 115.0F), uniform(rng, 75, 95), uniform(rng, 0, 35), {-0.1F, 0.3F, 1}};
    }
  } else if (kind < 0.95) {  // squatting
    pose.lean = uniform(rng, 10, 40);
    for (Leg& leg : pose.leg) {
      leg = {uniform(rng, 75, 112), uniform(rng, 8, 28), uniform(rng, 92, 135), uniform(rng, 0, 20), 10};
    }
    if (chance(rng, 0.6)) pose.arm = {make_arm(rng, ArmMode::forward), make_arm(rng, ArmMode::forward)};
  } else {  // a kick or a lunge
    pose.leg[front].flex = uniform(rng, 25, 85);
    pose.leg[front].knee = uniform(rng, 0, 70);
    pose.leg[front].abduct = uniform(rng, 0, 30);
    pose.leg[rear].flex = uniform(rng, -25, 5);
    pose.lean = uniform(rng, -12, 12);
  }
  return pose;
}

float make_heading(Philox& rng) {
  const double kind = rng.uniform();
  const float turn = chance(rng, 0.5) ? 1.0F : -1.0F;
  if (kind < 0.66) return around(rng, 0, 24);
  if (kind < 0.80) return 180 + around(rng, 0, 24);
  if (kind < 0.93) return turn * around(rng, 50, 14);  // three-quarter
  if (kind < 0.98) return turn * around(rng, 88, 12);  // from the side
  return uniform(rng, -180, 180);
}

// ---- clothes ----------------------------------------------------------------------------------------------------

Rgb varied(Philox& rng, Rgb c, double spread) {
  const float gain = uniform(rng, 1 - spread, 1 + spread);
  return {std::clamp(c.r * gain + uniform(rng, -6, 6), 0.0F, 255.0F),
          std::clamp(c.g * gain + uniform(rng, -6, 6), 0.0F, 255.0F),
          std::clamp(c.b * gain + uniform(rng, -6, 6), 0.0F, 255.0F)};
}

float distance(Rgb a, Rgb b) { return std::abs(a.r - b.r) + std::abs(a.g - b.g) + std::abs(a.b - b.b); }

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
  } while (distance(look.hair, look.skin) < 90);  // the hairline tells front from back
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

// ---- painting ---------------------------------------------------------------------------------------------------

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
// The parts that show a joint when they are on top of it.
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

// The head is an ellipsoid; its surface is addressed by unit vectors (left, up, forward).
constexpr Vec3 kHeadSize{0.060F, 0.079F, 0.068F};  // semi-axes, parts of the stature
constexpr std::array<Vec3, 5> kFacePoint{{{0, -0.10F, 1.14F},
                                          {0.38F, 0.13F, 0.915F},
                                          {-0.38F, 0.13F, 0.915F},
                                          {1.02F, -0.02F, -0.08F},
                                          {-1.02F, -0.02F, -0.08F}}};

Point flat(Vec3 v) { return {v.x, v.y}; }

struct Painter {
  Canvas& canvas;
  const Figure& figure;
  int who;

  uint16_t owner(Part part) const { return static_cast<uint16_t>(who << 8 | part); }
  float px(float of_stature) const { return std::max(of_stature * figure.stature, 0.9F); }

  // A limb: cloth up to `covered` of its length, skin beyond.
  void limb(Part part, Vec3 from, Vec3 to, float radius_a, float radius_b, const Cloth& cloth, float covered) const {
    const float girth = figure.look.girth;
    const float hem = covered >= 1 ? 0 : 0.003F;  // cloth stands off the skin a little
    const CapsuleShape shape(flat(from), flat(to), px((radius_a + hem) * girth), px(radius_b * girth));
    const float length = std::sqrt(dot(to - from, to - from));
    const float edge = 1 / std::max(length, 1.0F);  // one pixel, for a soft hem
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
  // A cylinder under a light from above and the side; dark towards the edge, so that a limb stands out on its like.
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

  // Colour of the head's surface at u; soft is one pixel in units of u.
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
    // Hair: the crown above the hairline, the back of the head down to the nape, the sides in front of the ears.
    const float crown = u.y - look.hairline - 0.18F * (1 - ax) * (u.z > 0 ? 1.0F : 0.0F);
    const float nape = look.long_hair ? -2.0F : -0.62F;
    const float back = std::min(-0.16F - u.z + (look.long_hair ? 0.38F : 0.0F), u.y - nape);
    const float sides = std::min({ax - 0.80F, u.y + 0.05F, 0.45F - u.z});
    return mix(color, look.hair, step(std::max({crown, back, sides})));
  }

  void ear(size_t side) const {
    if (figure.look.long_hair) return;  // below the hair
    const Vec3 at = figure.joint[left_ear + side];
    const float drop = 0.014F * figure.stature * figure.look.head;
    const Vec3 up = figure.head.up;
    const Vec3 half{up.x * drop, -up.y * drop, 0};
    bare(head, at + half, at - half, 0.019F, 0.014F, figure.look.skin * 0.94F);
  }

  void paint_head() const {
    const Figure& f = figure;
    // Columns of the ellipsoid in pixels, y down; u = inverse * (pixel offset).
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
    // In profile and a little beyond, the nose still sticks out behind the cheek.
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

}  // namespace

Rgb random_color(Philox& rng) {
  // Hue, saturation, value: cloth is rarely grey, rarely neon.
  const float hue = uniform(rng, 0, 6),
              saturation = chance(rng, 0.22) ? uniform(rng, 0, 0.12) : uniform(rng, 0.25, 0.9);
  const float value = uniform(rng, 45, 245);
  const auto channel = [&](float offset) {
    const float k = std::fmod(offset + hue, 6.0F);
    return value * (1 - saturation * std::clamp(std::min(k, 4 - k), 0.0F, 1.0F));
  };
  return {channel(5), channel(3), channel(1)};
}

Figure make_figure(Philox& rng, float stature) {
  Figure f;
  f.look = make_look(rng);
  f.stature = stature;
  const Stance pose = make_pose(rng);
  f.seated = pose.seated;

  // Lengths as parts of the stature, near Drillis and Contini's segment lengths (1966), each person's own.
  const float legs = around(rng, 1, 0.035), arms = around(rng, 1, 0.035), trunk = around(rng, 1, 0.03);
  const float thigh = 0.245F * legs, shin = 0.246F * legs, upper_arm = 0.183F * arms, forearm = 0.150F * arms,
              hand = 0.070F;
  const float spine = 0.288F * trunk, shoulder = 0.118F * around(rng, 1, 0.06), hip = 0.066F * around(rng, 1, 0.07);

  const float tilt = around(rng, 0, 5), height = around(rng, 4, 5);
  const Frame camera = roll(tilt) * pitch(height);
  const Frame facing = camera * yaw(make_heading(rng));
  const Frame pelvis_frame = facing * pitch(pose.pelvis);
  f.torso = pelvis_frame * (pitch(pose.lean) * roll(pose.side)) * yaw(pose.twist);

  std::array<Vec3, kJoints>& j = f.joint;
  const Vec3 origin{};
  f.spine_bottom = origin;
  f.spine_top = f.torso.up * spine;
  for (size_t s = 0; s < 2; ++s) {
    const float out = s == 0 ? 1.0F : -1.0F;
    // Leg: swing the thigh forward and outward, turn the knee out, bend the knee back, the foot at a right angle.
    const Leg& leg = pose.leg[s];
    const float flex = leg.flex * kDegree, abduct = leg.abduct * kDegree, knee = leg.knee * kDegree;
    const Vec3 down{out * std::sin(abduct), -std::cos(abduct) * std::cos(flex), std::cos(abduct) * std::sin(flex)};
    const Vec3 ahead{0, std::sin(flex), std::cos(flex)};
    const float turn = leg.turn_out * kDegree * out;
    const Vec3 front = ahead * std::cos(turn) + cross(ahead, down) * -std::sin(turn);
    const Vec3 lower = down * std::cos(knee) - front * std::sin(knee);
    const Vec3 toe_front = front * std::cos(knee) + down * std::sin(knee);
    const float drop = leg.toes_down * kDegree;
    const Vec3 toe = toe_front * std::cos(drop) + lower * std::sin(drop);
    j[left_hip + s] = pelvis_frame * Vec3{out * hip, 0, 0};
    j[left_knee + s] = j[left_hip + s] + pelvis_frame * (down * thigh);
    j[left_ankle + s] = j[left_knee + s] + pelvis_frame * (lower * shin);
    f.heels[s] = j[left_ankle + s] + pelvis_frame * (lower * 0.020F - toe * 0.022F);
    f.toes[s] = j[left_ankle + s] + pelvis_frame * (lower * 0.026F + toe * 0.105F);
    // Arm.
    const Arm& arm = pose.arm[s];
    const float away = arm.away * kDegree, azimuth = arm.azimuth * kDegree, elbow = arm.elbow * kDegree;
    const Vec3 upper{out * std::sin(away) * std::cos(azimuth), -std::cos(away), std::sin(away) * std::sin(azimuth)};
    Vec3 bend{out * arm.towards.x, arm.towards.y, arm.towards.z};
    bend = unit(bend - upper * dot(bend, upper));
    const Vec3 fore = upper * std::cos(elbow) + bend * std::sin(elbow);
    // A raised arm lifts its shoulder.
    const float lift = 0.03F * std::clamp((arm.away - 70) / 100, 0.0F, 1.0F);
    j[left_shoulder + s] = f.spine_top + f.torso * Vec3{out * shoulder * (1 - lift * 3), lift, 0};
    j[left_elbow + s] = j[left_shoulder + s] + f.torso * (upper * upper_arm);
    j[left_wrist + s] = j[left_elbow + s] + f.torso * (fore * forearm);
    f.fingertips[s] = j[left_wrist + s] + f.torso * (fore * hand);
  }

  const float turn = around(rng, 0, 20), nod = around(rng, 3, 9), tip = around(rng, 0, 6);
  f.head = f.torso * yaw(turn) * pitch(nod - 0.45F * pose.lean) * roll(tip);
  f.neck = f.spine_top + f.torso * Vec3{0, 0.045F, 0.012F};
  f.head_centre = f.neck + (f.torso.up + f.head.up) * (0.5F * 0.066F * f.look.head) + f.head.forward * 0.014F;
  const Vec3 size = kHeadSize * f.look.head;
  for (size_t k = 0; k < kFacePoint.size(); ++k) {
    const Vec3 u = kFacePoint[k];
    j[k] = f.head_centre + f.head * Vec3{u.x * size.x, u.y * size.y, u.z * size.z};
    f.faces[k] = (f.head * unit({u.x / size.x, u.y / size.y, u.z / size.z})).z;
  }

  // To pixels; the picture's y points down.
  const auto project = [stature](Vec3& v) { v = {v.x * stature, -v.y * stature, v.z * stature}; };
  for (Vec3& v : j) project(v);
  for (Vec3* v : {&f.neck, &f.head_centre, &f.spine_top, &f.spine_bottom, &f.fingertips[0], &f.fingertips[1],
                  &f.toes[0], &f.toes[1], &f.heels[0], &f.heels[1]}) {
    project(*v);
  }
  return f;
}

void Figure::move(float dx, float dy) {
  const auto shift = [&](Vec3& v) {
    v.x += dx;
    v.y += dy;
  };
  for (Vec3& v : joint) shift(v);
  for (Vec3* v : {&neck, &head_centre, &spine_top, &spine_bottom, &fingertips[0], &fingertips[1], &toes[0], &toes[1],
                  &heels[0], &heels[1]}) {
    shift(*v);
  }
}

Extent Figure::extent() const {
  Extent e;
  for (const Vec3& v : joint) e.add(flat(v), 0.035F * stature);
  for (size_t s = 0; s < 2; ++s) {
    e.add(flat(fingertips[s]), 0.02F * stature);
    e.add(flat(toes[s]), 0.022F * stature);
    e.add(flat(heels[s]), 0.025F * stature);
  }
  e.add(flat(head_centre), kHeadSize.y * look.head * stature);
  return e;
}

void paint_figure(Canvas& canvas, const Figure& f, int who) {
  const Painter p{canvas, f, who};
  const Look& look = f.look;
  // Back to front by the depth of each part's middle; the offsets settle ties as clothes and bodies do.
  struct Layer {
    float depth;
    int part;
  };
  std::array<Layer, 17> layers{};
  size_t count = 0;
  const auto add = [&](int part, float depth, float offset) { layers[count++] = {depth + offset * f.stature, part}; };
  const auto middle = [](Vec3 a, Vec3 b) { return (a.z + b.z) / 2; };
  add(torso, middle(f.spine_top, f.spine_bottom), 0.012F);
  add(pelvis, f.spine_bottom.z, -0.012F);
  add(neck, f.neck.z, f.torso.forward.z > 0 ? 0.016F : -0.016F);
  add(head, f.head_centre.z, 0.03F);
  if (look.long_hair) add(hair, f.head_centre.z, f.head.forward.z > -0.15F ? -0.055F : 0.05F);
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
  std::stable_sort(layers.begin(), layers.begin() + static_cast<ptrdiff_t>(count),
                   [](const Layer& a, const Layer& b) { return a.depth < b.depth; });

  // Sleeves and trouser legs end somewhere along upper arm + forearm and thigh + shin.
  const auto upper = [](float covered) { return covered >= 0.5F ? 1.0F : covered * 2; };
  const auto lower = [](float covered) { return covered >= 1 ? 1.0F : std::max(covered * 2 - 1, -1.0F); };
  for (size_t n = 0; n < count; ++n) {
    const int part = layers[n].part;
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
    // Annotators leave out what is round the back of the head; just beyond the rim they mark it as hidden.
    if (k <= right_ear && f.faces[k] < -0.30F) continue;
    const uint16_t owner = canvas.owner_at(x, y);
    const int part = owner & 0xff;
    bool shown = owner >> 8 == who && (kShownBy[k] & bit(part)) != 0;
    if (k <= right_ear && f.faces[k] < -0.02F) shown = false;
    if (k == left_ear || k == right_ear) shown = shown && !f.look.long_hair;
    // The far shoulder or hip of somebody seen from the side is behind the trunk.
    if (shown && (part == torso || part == pelvis)) {
      const bool is_shoulder = k <= right_shoulder;
      const float trunk = is_shoulder ? f.spine_top.z : f.spine_bottom.z;
      shown = f.joint[k].z > trunk - (is_shoulder ? 0.095F : 0.053F) * f.stature;  // some 55 degrees of turn
    }
    v[k] = shown ? 2 : 1;
  }
  return v;
}

}  // namespace hr::synth_detail

// Shared by the files that make a synthetic person (tools/synth/figure.h).
#pragma once
#include <array>
#include <cmath>
#include <numbers>

#include "tools/synth/figure.h"

namespace hr::synth_detail {

inline constexpr float kDegree = std::numbers::pi_v<float> / 180;

// Angles are in degrees. Positive pitch bows forward, positive yaw turns towards the person's left, positive roll tips
// to the right.
inline Frame pitch(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{1, 0, 0}, {0, c, s}, {0, -s, c}};
}
inline Frame yaw(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{c, 0, -s}, {0, 1, 0}, {s, 0, c}};
}
inline Frame roll(float degrees) {
  const float c = std::cos(degrees * kDegree), s = std::sin(degrees * kDegree);
  return {{c, s, 0}, {-s, c, 0}, {0, 0, 1}};
}

inline Vec3 unit(Vec3 v) {
  const float length = std::sqrt(dot(v, v));
  return length > 0 ? v * (1 / length) : v;
}

struct Arm {
  float away = 10;        // upper arm from hanging down, degrees
  float azimuth = 0;      // of that swing: 0 sideways, 90 forward, -90 back
  float elbow = 15;       // bend
  Vec3 towards{0, 0, 1};  // direction in which the forearm bends, in the torso's frame with x outward
};
struct Leg {
  float flex = 0, abduct = 4, knee = 4, turn_out = 8, toes_down = 8;  // degrees
};
struct Stance {
  std::array<Arm, 2> arm;  // left, right
  std::array<Leg, 2> leg;
  float lean = 2, side = 0, twist = 0;  // torso relative to the pelvis
  float pelvis = 0;                     // pelvis pitch
  bool seated = false;
};

Stance make_pose(Philox& rng);
float make_heading(Philox& rng);  // degrees; 0 faces the camera
Look make_look(Philox& rng);

// The head is an ellipsoid. Points of its surface are given as unit vectors (left, up, forward).
inline constexpr Vec3 kHeadSize{0.060F, 0.079F, 0.068F};  // semi-axes, parts of the stature
inline constexpr std::array<Vec3, 5> kFacePoint{{{0, -0.10F, 1.14F},
                                                 {0.38F, 0.13F, 0.915F},
                                                 {-0.38F, 0.13F, 0.915F},
                                                 {1.02F, -0.02F, -0.08F},
                                                 {-1.02F, -0.02F, -0.08F}}};

inline Point flat(Vec3 v) { return {v.x, v.y}; }

}  // namespace hr::synth_detail

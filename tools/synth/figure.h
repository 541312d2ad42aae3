// A synthetic person: proportions, clothes, a 3-D pose, its projection, and how it is painted.
#pragma once
#include <array>

#include "core/philox.h"
#include "tools/synth/canvas.h"

namespace hr::synth_detail {

struct Vec3 {
  float x = 0, y = 0, z = 0;
};
inline Vec3 operator+(Vec3 a, Vec3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
inline Vec3 operator-(Vec3 a, Vec3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
inline Vec3 operator*(Vec3 a, float s) { return {a.x * s, a.y * s, a.z * s}; }
inline float dot(Vec3 a, Vec3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
inline Vec3 cross(Vec3 a, Vec3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }

// The columns are the person's left, up and forward. Seen from the front these are right, up and towards the camera.
struct Frame {
  Vec3 left{1, 0, 0}, up{0, 1, 0}, forward{0, 0, 1};
  Vec3 operator*(Vec3 v) const { return left * v.x + up * v.y + forward * v.z; }
  Frame operator*(const Frame& f) const { return {*this * f.left, *this * f.up, *this * f.forward}; }
};

// COCO's joints, in COCO's order.
enum Joint : uint8_t {
  nose,
  left_eye,
  right_eye,
  left_ear,
  right_ear,
  left_shoulder,
  right_shoulder,
  left_elbow,
  right_elbow,
  left_wrist,
  right_wrist,
  left_hip,
  right_hip,
  left_knee,
  right_knee,
  left_ankle,
  right_ankle
};
constexpr size_t kJoints = 17;

struct Cloth {
  Rgb base, second;
  float stripe = 0;    // stripe period as a part of the stature; 0: plain
  bool along = false;  // stripes run along the limb rather than around it
};

struct Look {
  Cloth shirt, trousers;
  Rgb skin, hair, shoes, iris;
  float sleeve = 1;       // part of the arm that is covered: 0.12 top, 0.35 T-shirt, 1 long
  float trouser_leg = 1;  // part of the leg that is covered: 0.42 shorts, 1 long
  float hairline = 0.5F;  // height on the head, 1 = crown
  bool long_hair = false, beard = false;
  float girth = 1, head = 1, light = -0.4F;  // light: from the left (-1) or right (+1)
};

// Points in pixels: x right, y down, z towards the camera. Until the figure is placed, the origin is the projection of
// the pelvis.
struct Figure {
  Look look;
  float stature = 0;  // pixels, standing upright
  std::array<Vec3, kJoints> joint{};
  std::array<float, 5> faces{};  // nose, eyes, ears: cosine between outward normal and view, 1 = towards the camera
  Vec3 neck, head_centre, spine_top, spine_bottom;
  std::array<Vec3, 2> fingertips, toes, heels;  // left, right
  Frame head, torso;                            // camera frame, y up
  bool seated = false;

  void move(float dx, float dy);
  Extent extent() const;  // of everything that is painted, approximately
};

Figure make_figure(Philox& rng, float stature);
// Paints the person from back to front; `who` is its number in Canvas::owner.
void paint_figure(Canvas& canvas, const Figure& figure, int who);
// Returns v of each joint after everything has been painted: 2 visible, 1 hidden, 0 outside the picture or (face)
// turned away.
std::array<int, kJoints> visibility(const Canvas& canvas, const Figure& figure, int who);

Rgb random_color(Philox& rng);

}  // namespace hr::synth_detail

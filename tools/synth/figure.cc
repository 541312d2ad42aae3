#include "tools/synth/figure.h"

#include "tools/synth/figure_detail.h"
#include "tools/synth/random.h"

namespace hr::synth_detail {

Figure make_figure(Philox& rng, float stature) {
  Figure f;
  f.look = make_look(rng);
  f.stature = stature;
  const Stance pose = make_pose(rng);
  f.seated = pose.seated;

  // Lengths are parts of the stature, near Drillis and Contini's segment lengths (1966), and vary between people.
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
    // For a leg: swing the thigh forward and outward, turn the knee out, bend the knee back, put the foot at a right
    // angle.
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

  // Converts to pixels; the picture's y points down.
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

}  // namespace hr::synth_detail

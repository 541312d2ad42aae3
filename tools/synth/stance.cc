// How a synthetic person stands, sits and turns.
#include "tools/synth/figure_detail.h"
#include "tools/synth/random.h"

namespace hr::synth_detail {
namespace {

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

// Swings the arm forward (positive) or back, as when walking.
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

}  // namespace

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

}  // namespace hr::synth_detail

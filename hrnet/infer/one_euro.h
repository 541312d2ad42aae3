// The one-euro filter (Casiez, Roussel, Vogel 2012): a low-pass filter whose cutoff frequency rises with the speed, so
// that a joint at rest is stable and a fast one does not lag. It filters points, so that the result does not depend on
// the axes.
//   alpha(f, dt) = 1 / (1 + 1 / (2 pi f dt)),   v += alpha(f_v, dt) ((x - x_last) / dt - v)
//   x_hat += alpha(f_min + beta |v|, dt) (x - x_hat)
#pragma once
#include <cmath>
#include <numbers>

namespace hr {

struct OneEuro {
  double x = 0, y = 0;    // The smoothed point.
  double vx = 0, vy = 0;  // Its smoothed velocity, in pixels per second.
  bool started = false;

  // Filters the next point. `unit` is the number of pixels that beta counts as 1. dt is the time in seconds since the
  // last point; if it is 0 the point stays.
  void step(double to_x, double to_y, double dt, double unit, double min_cutoff, double beta, double speed_cutoff) {
    if (!started) {
      *this = {to_x, to_y, 0, 0, true};
      return;
    }
    if (dt <= 0) return;
    const auto alpha = [&](double cutoff) {
      const double angle = 2 * std::numbers::pi * cutoff * dt;
      return angle / (1 + angle);
    };
    const double a_speed = alpha(speed_cutoff);
    vx += a_speed * ((to_x - x) / dt - vx);
    vy += a_speed * ((to_y - y) / dt - vy);
    const double a = alpha(min_cutoff + beta * std::hypot(vx, vy) / unit);
    x += a * (to_x - x);
    y += a * (to_y - y);
  }
};

}  // namespace hr

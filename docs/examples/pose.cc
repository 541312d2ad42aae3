// The joints of the people in a picture: pose WEIGHTS DETECTOR_WEIGHTS PICTURE
#include <hrnet/hrnet.h>

#include <cstdio>

int main(int, char** argv) {
  hr::PoseEstimator pose(argv[1]);
  hr::PersonDetector people(argv[2]);
  const hr::Image picture = hr::read_image(argv[3]);
  for (const hr::Pose& p : pose(picture, people(picture))) {
    for (const hr::Joint& j : p.joints) std::printf("%s %.1f %.1f %.2f\n", j.name, j.x, j.y, j.score);
  }
}

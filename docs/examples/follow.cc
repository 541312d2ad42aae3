// Follows the people in a video and draws them: follow WEIGHTS DETECTOR_WEIGHTS VIDEO OUTPUT.mp4
#include <hrnet/hrnet.h>

#include <cstdio>

int main(int, char** argv) {
  hr::PoseEstimator pose(argv[1]);
  hr::PersonDetector people(argv[2]);
  hr::VideoReader video(argv[3]);  // a file, camera:0, or an address such as rtsp://...
  hr::VideoWriter output(argv[4], video.info().width, video.info().height, {.fps = video.info().fps});
  hr::Tracker tracker({.high_score = 0.1, .new_score = 0.2, .sigmas = pose.skeleton().sigmas});
  for (hr::VideoFrame frame; video.next(frame);) {
    const std::vector<hr::DetectedBox> boxes = people(frame.image);
    std::vector<hr::Pose> found = pose(frame.image, boxes);
    // A tracker's thresholds are about the detector's scores, not about the joints'.
    for (size_t i = 0; i < found.size(); ++i) found[i].score = boxes[i].score;
    for (const hr::TrackedPerson& p : tracker.update(frame.seconds, found)) {
      std::printf("%.3f s: person %d at %.0f %.0f\n", frame.seconds, static_cast<int>(p.track), p.box.x, p.box.y);
      hr::draw_person(frame.image, p);
    }
    output.write(frame.image, frame.seconds);
  }
  output.finish();
}

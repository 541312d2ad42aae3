#include "tools/programs/track.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.h"
#include "data/formats/mot.h"
#include "tools/cli/cli.h"

namespace hr {

void add_track_options(CLI::App& app, TrackArguments& a) {
  describe(app,
           "Tracks people through a video: gives ids to detected boxes. Both files are MOT text with one box per line: "
           "frame, id, left, top, width, height (pixels), score, -1, -1, -1; frames count from 1.",
           "track --detections det.txt --output tracks.txt --fps 25");
  app.add_option("--detections", a.detections,
                 "file of detected boxes; ids are ignored, a score of -1 (not given) counts as 1")
      ->required()
      ->type_name("FILE");
  app.add_option("--output", a.output, "file of tracks to write")->required()->type_name("FILE");
  app.add_option("--fps", a.fps, "frames per second of the video")->type_name("N")->check(CLI::Range(1e-3, 1e6));
  app.add_option("--high-score", a.tracker.high_score, "detections from this score on are associated first")
      ->type_name("S");
  app.add_option("--low-score", a.tracker.low_score, "detections with this score or a lower one are ignored")
      ->type_name("S");
  app.add_option("--new-score", a.tracker.new_score, "detections from this score on may start a track")->type_name("S");
  app.add_option("--max-lost", a.tracker.max_lost_seconds,
                 "seconds for which a person may be out of sight and keep the id")
      ->type_name("S")
      ->check(CLI::NonNegativeNumber);
}

void run_track(const TrackArguments& a) {
  const std::vector<MotBox> boxes = read_mot(a.detections, MotKind::detections);
  for (const MotBox& b : boxes) {
    check(b.box.w > 0 && b.box.h > 0, "{}:{}: the box has {} x {} pixels and thus no area; remove the line",
          a.detections, b.line, b.box.w, b.box.h);
  }
  Tracker tracker(a.tracker);
  std::vector<MotBox> tracks;
  std::vector<Pose> detections;
  std::set<int64_t> ids;
  const auto time = [&](int frame) { return (frame - 1) / a.fps; };
  int frame = 1;
  for (size_t at = 0; at < boxes.size(); ++frame) {
    // A frame that the file lacks is a frame without people. When no track is alive such frames change nothing, so they
    // are passed over.
    if (boxes[at].frame != frame && tracker.alive() == 0 && frame > 1) frame = boxes[at].frame;
    detections.clear();
    for (; at < boxes.size() && boxes[at].frame == frame; ++at) {
      detections.push_back({boxes[at].box, boxes[at].score == -1 ? 1 : boxes[at].score, {}});
    }
    for (const TrackedPerson& p : tracker.update(time(frame), detections)) {
      tracks.push_back({.frame = frame, .id = p.track, .box = p.box, .score = p.score});
      ids.insert(p.track);
    }
  }
  write_file(a.output, mot_text(tracks));
  if (boxes.empty()) fmt::print(stderr, "note: {} has no boxes, so there are no tracks\n", a.detections);
  const auto odd = std::count_if(boxes.begin(), boxes.end(),
                                 [](const MotBox& b) { return b.score != -1 && (b.score < 0 || b.score > 1); });
  if (odd > 0) {
    fmt::print(stderr,
               "note: {} of {} scores are not within 0 to 1; --high-score, --low-score and --new-score are compared "
               "with them unchanged\n",
               odd, boxes.size());
  }
  fmt::print(stderr, "wrote {}: {} boxes of {} people\n", a.output, tracks.size(), ids.size());
}

}  // namespace hr

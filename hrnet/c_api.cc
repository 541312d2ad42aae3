#include "hrnet/c_api.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "core/error.h"
#include "core/threads.h"
#include "eval/coco_eval.h"
#include "eval/coco_files.h"
#include "hrnet/infer/pose_estimator.h"

struct hrnet_pose {
  hr::PoseEstimator estimator;
};

namespace {

thread_local std::string last_error;

hrnet_status failed(hrnet_status status, const char* why) noexcept {
  try {
    last_error = why;
  } catch (const std::bad_alloc&) {
    last_error.clear();  // There is no memory for the text, so the caller gets only the status.
  }
  return status;
}

// Runs `body` and turns an exception into a status and the text of hrnet_last_error().
template <class Body>
hrnet_status guarded(const Body& body) noexcept {
  try {
    return body();
  } catch (const hr::Error& error) {
    return failed(HRNET_ERROR, error.what());
  } catch (const std::bad_alloc&) {
    return failed(HRNET_NO_MEMORY, "out of memory");
  } catch (const std::system_error& error) {  // Such as std::filesystem::filesystem_error.
    return failed(HRNET_ERROR, error.what());
  } catch (const std::exception& error) {
    return failed(HRNET_INTERNAL, error.what());
  } catch (...) {
    return failed(HRNET_INTERNAL, "an exception of an unknown type");
  }
}

// Copies a caller's struct, whose `size` tells how many members it has. An older struct lacks the last members, which
// then have their defaults.
template <class Struct>
Struct filled_in(const Struct* given, const char* name) {
  Struct complete{};
  if (given == nullptr) return complete;
  hr::check(given->size >= sizeof(size_t), "{}: `size` is {}; set it to sizeof({})", name, given->size, name);
  std::memcpy(&complete, given, std::min(given->size, sizeof complete));
  return complete;
}

hrnet_status find(hrnet_pose* pose, const hr::Picture& picture, const hrnet_box* boxes, size_t box_count,
                  hrnet_joint* joints, double* scores, size_t capacity, size_t* found) {
  hr::check(pose != nullptr, "hrnet_pose_find: the estimator is NULL");
  hr::check(boxes != nullptr || box_count == 0, "hrnet_pose_find: {} boxes, but the pointer to them is NULL",
            box_count);
  const size_t needed = std::max<size_t>(box_count, 1);
  if (found != nullptr) *found = needed;
  if (capacity < needed)
    return failed(
        HRNET_TOO_SMALL,
        "hrnet_pose_find: there are more poses than the buffers have room for; *found is the capacity that is needed");
  hr::check(joints != nullptr, "hrnet_pose_find: the pointer to the joints is NULL");
  std::vector<hr::Box> people;
  for (size_t i = 0; i < box_count; ++i) people.push_back({boxes[i].x, boxes[i].y, boxes[i].width, boxes[i].height});
  if (found != nullptr) *found = 0;
  const std::vector<hr::Pose> poses = pose->estimator(picture, people);
  for (size_t i = 0; i < poses.size(); ++i) {
    for (const hr::Joint& joint : poses[i].joints) *joints++ = {joint.x, joint.y, joint.score};
    if (scores != nullptr) scores[i] = poses[i].score;
  }
  if (found != nullptr) *found = poses.size();
  return HRNET_OK;
}

}  // namespace

extern "C" {

const char* hrnet_version(void) { return HRNET_VERSION; }
int hrnet_version_number(void) { return HRNET_VERSION_NUMBER; }
const char* hrnet_last_error(void) { return last_error.c_str(); }

hrnet_status hrnet_pose_open(const char* weights, const hrnet_pose_options* options, hrnet_pose** pose) {
  return guarded([&] {
    hr::check(pose != nullptr && weights != nullptr, "hrnet_pose_open: `weights` or `pose` is NULL");
    *pose = nullptr;
    const hrnet_pose_options o = filled_in(options, "hrnet_pose_options");
    *pose = new hrnet_pose{hr::PoseEstimator(weights, {.device = o.device != nullptr ? o.device : "cpu",
                                                       .bf16 = o.bf16 != 0,
                                                       .flip_test = o.no_flip_test == 0,
                                                       .batch_size = o.batch_size != 0 ? o.batch_size : 16})};
    return HRNET_OK;
  });
}

void hrnet_pose_close(hrnet_pose* pose) { delete pose; }

int hrnet_pose_joints(const hrnet_pose* pose) { return pose != nullptr ? pose->estimator.skeleton().joints() : 0; }

const char* hrnet_pose_joint_name(const hrnet_pose* pose, int joint) {
  if (joint < 0 || joint >= hrnet_pose_joints(pose)) return nullptr;
  return pose->estimator.skeleton().names[static_cast<size_t>(joint)].c_str();
}

hrnet_status hrnet_pose_find(hrnet_pose* pose, const hrnet_picture* picture, const hrnet_box* boxes, size_t box_count,
                             hrnet_joint* joints, double* scores, size_t capacity, size_t* found) {
  return guarded([&] {
    hr::check(picture != nullptr, "hrnet_pose_find: the picture is NULL");
    const hrnet_picture p = filled_in(picture, "hrnet_picture");
    return find(pose, {p.width, p.height, p.rgb, p.stride}, boxes, box_count, joints, scores, capacity, found);
  });
}

hrnet_status hrnet_pose_find_in_file(hrnet_pose* pose, const char* file, const hrnet_box* boxes, size_t box_count,
                                     hrnet_joint* joints, double* scores, size_t capacity, size_t* found) {
  return guarded([&] {
    hr::check(file != nullptr, "hrnet_pose_find_in_file: the file's name is NULL");
    return find(pose, file, boxes, box_count, joints, scores, capacity, found);
  });
}

hrnet_status hrnet_evaluate_coco(const char* truth, const char* results, double stats[HRNET_COCO_STATS]) {
  return guarded([&] {
    hr::check(truth != nullptr && results != nullptr && stats != nullptr,
              "hrnet_evaluate_coco: `truth`, `results` or `stats` is NULL");
    const hr::CocoEvalResult result =
        hr::evaluate_coco(hr::read_truth(truth), hr::read_results(results), {.detections_name = results});
    std::copy(result.stats.begin(), result.stats.end(), stats);
    return HRNET_OK;
  });
}

}  // extern "C"

/* The joints of a person who fills a picture, and COCO's AP: pose WEIGHTS PICTURE [TRUTH.json RESULTS.json] */
#include <hrnet/c_api.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(void) {
  fprintf(stderr, "pose: %s\n", hrnet_last_error());
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) {
    fprintf(stderr, "usage: pose WEIGHTS PICTURE [TRUTH.json RESULTS.json]\n");
    return 2;
  }
  hrnet_pose* pose = NULL;
  if (hrnet_pose_open(argv[1], NULL, &pose) != HRNET_OK) return fail();
  const int count = hrnet_pose_joints(pose);
  hrnet_joint* joints = calloc((size_t)count, sizeof *joints);
  double score = 0;
  if (hrnet_pose_find_in_file(pose, argv[2], NULL, 0, joints, &score, 1, NULL) != HRNET_OK) return fail();
  for (int k = 0; k < count; ++k) {
    printf("%s %.1f %.1f %.2f\n", hrnet_pose_joint_name(pose, k), joints[k].x, joints[k].y, joints[k].score);
  }
  free(joints);
  hrnet_pose_close(pose);
  if (argc == 5) {
    double stats[HRNET_COCO_STATS];
    if (hrnet_evaluate_coco(argv[3], argv[4], stats) != HRNET_OK) return fail();
    printf("AP %.3f\n", stats[0]);
  }
  return 0;
}

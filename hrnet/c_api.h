/* The library for C and for whatever speaks C (Python's ctypes, Rust, ...): poses of people in pictures, and COCO's
   evaluation. Plain C99.

     hrnet_pose* pose;
     if (hrnet_pose_open("pose_hrnet_w32_256x192.pth", NULL, &pose) != HRNET_OK) puts(hrnet_last_error());

   Every function that can fail returns a status; hrnet_last_error() then says why, in one sentence. No exception leaves
   the library. All memory that is written to is the caller's. Structs begin with their size, so that they can grow:
   set it with sizeof, and what a caller's older struct lacks has its default. */
#ifndef HRNET_C_API_H
#define HRNET_C_API_H

#include <stddef.h>
#include <stdint.h>

#include "hrnet/version.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hrnet_status {
  HRNET_OK = 0,
  HRNET_ERROR = 1,     /* a file, a picture, a box or an option cannot be used; hrnet_last_error() names it */
  HRNET_NO_MEMORY = 2, /* of the host or of the GPU */
  HRNET_TOO_SMALL = 3, /* the caller's buffer has no room for the result; nothing was computed */
  HRNET_INTERNAL = 4   /* a mistake of the library: please report it */
} hrnet_status;

/* "0.2.0", and 0 * 10000 + 2 * 100 + 0: of the library that is loaded; HRNET_VERSION is that of the header. */
const char* hrnet_version(void);
int hrnet_version_number(void);

/* Why the last call on this thread that did not return HRNET_OK failed; "" if none has. Valid until the next call on
   this thread. */
const char* hrnet_last_error(void);

/* ---- Poses ---------------------------------------------------------------------------------------------------------
   A pose estimator may be used by several threads, whose calls take turns. */
typedef struct hrnet_pose hrnet_pose;

typedef struct hrnet_pose_options {
  size_t size;        /* sizeof(hrnet_pose_options) */
  const char* device; /* "cpu", "cuda" or "cuda:N"; NULL: "cpu" */
  int bf16;           /* not 0: bf16 activations */
  int no_flip_test;   /* not 0: without the mirrored picture, half the work */
  int batch_size;     /* people per run of the network; 0: 16 */
} hrnet_pose_options;

typedef struct hrnet_picture {
  size_t size;        /* sizeof(hrnet_picture) */
  int width, height;  /* pixels */
  const uint8_t* rgb; /* R, G, B, 8 bits each; stays the caller's */
  size_t stride;      /* bytes from row to row; 0: width * 3 */
} hrnet_picture;

typedef struct hrnet_box {
  double x, y, width, height; /* pixels; x, y: the top left corner */
} hrnet_box;

typedef struct hrnet_joint {
  float x, y;  /* pixels of the picture */
  float score; /* 0 to 1 */
} hrnet_joint;

/* Loads weights (PyTorch's .pth or safetensors). options: NULL for the defaults. *pose is NULL unless HRNET_OK. */
hrnet_status hrnet_pose_open(const char* weights, const hrnet_pose_options* options, hrnet_pose** pose);
/* Waits for nobody: no other call on this estimator may be under way. NULL is allowed. */
void hrnet_pose_close(hrnet_pose* pose);

/* Joints of the network, and their names ("left_knee"), which live as long as the estimator. A number out of range
   gives NULL. */
int hrnet_pose_joints(const hrnet_pose* pose);
const char* hrnet_pose_joint_name(const hrnet_pose* pose, int joint);

/* The poses of the people in `boxes`, in their order; with box_count 0 the whole picture is one person.
   joints: room for `capacity` poses of hrnet_pose_joints() joints each. scores: for `capacity` numbers, or NULL.
   *found (may be NULL): poses written; with HRNET_TOO_SMALL the capacity that is needed. */
hrnet_status hrnet_pose_find(hrnet_pose* pose, const hrnet_picture* picture, const hrnet_box* boxes, size_t box_count,
                             hrnet_joint* joints, double* scores, size_t capacity, size_t* found);
/* The same for a picture's file (JPEG, PNG, BMP, GIF, PNM), turned as its camera says. */
hrnet_status hrnet_pose_find_in_file(hrnet_pose* pose, const char* file, const hrnet_box* boxes, size_t box_count,
                                     hrnet_joint* joints, double* scores, size_t capacity, size_t* found);

/* ---- Evaluation ----------------------------------------------------------------------------------------------------
   COCO's keypoint evaluation of a result file against a person_keypoints file. stats: AP, AP .50, AP .75, AP medium,
   AP large, AR, AR .50, AR .75, AR medium, AR large; -1 where there is nothing to find. */
#define HRNET_COCO_STATS 10
hrnet_status hrnet_evaluate_coco(const char* truth, const char* results, double stats[HRNET_COCO_STATS]);

#ifdef __cplusplus
}
#endif

#endif

/* The library's interface for C, and for languages that can call C (Python's ctypes, Rust, ...): poses of people in
   pictures, and COCO's evaluation. Plain C99.

     hrnet_pose* pose;
     if (hrnet_pose_open("pose_hrnet_w32_256x192.pth", NULL, &pose) != HRNET_OK) puts(hrnet_last_error());

   Every function that can fail returns a status; hrnet_last_error() then gives the reason in one sentence. No exception
   leaves the library. The caller owns all buffers that the functions fill. Structs begin with their size, which the
   caller sets with sizeof, so that later versions can add members: a member that an older struct lacks has its
   default. */
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
  HRNET_INTERNAL = 4   /* a bug in the library: please report it */
} hrnet_status;

/* The version of the loaded library, as "0.2.0" and as 0 * 10000 + 2 * 100 + 0. HRNET_VERSION is that of the header. */
const char* hrnet_version(void);
int hrnet_version_number(void);

/* The reason why the last failed call on this thread failed; "" if none has failed. The text is valid until the next
   call on this thread. */
const char* hrnet_last_error(void);

/* ---- Poses ---------------------------------------------------------------------------------------------------------
   An estimator is thread-safe; calls from several threads take turns. */
typedef struct hrnet_pose hrnet_pose;

typedef struct hrnet_pose_options {
  size_t size;        /* sizeof(hrnet_pose_options) */
  const char* device; /* "cpu", "cuda" or "cuda:N"; NULL means "cpu" */
  int bf16;           /* 1: bf16 activations */
  int no_flip_test;   /* 1: do not average with the mirrored picture, which is half the work */
  int batch_size;     /* people per forward pass; 0 means 16 */
} hrnet_pose_options;

typedef struct hrnet_picture {
  size_t size;        /* sizeof(hrnet_picture) */
  int width, height;  /* pixels */
  const uint8_t* rgb; /* R, G, B, 8 bits each; read only during the call */
  size_t stride;      /* bytes from one row to the next; 0 means width * 3 */
} hrnet_picture;

typedef struct hrnet_box {
  double x, y, width, height; /* pixels; x, y is the top left corner */
} hrnet_box;

typedef struct hrnet_joint {
  float x, y;  /* pixels of the picture */
  float score; /* 0 to 1 */
} hrnet_joint;

/* Creates an estimator from a weight file (PyTorch's .pth or safetensors). `options` may be NULL for the defaults.
 *pose is NULL unless HRNET_OK is returned. Free it with hrnet_pose_close(). */
hrnet_status hrnet_pose_open(const char* weights, const hrnet_pose_options* options, hrnet_pose** pose);
/* Frees an estimator; NULL is allowed. No other call on this estimator may be running, since this does not wait. */
void hrnet_pose_close(hrnet_pose* pose);

/* The number of joints of the network, and their names ("left_knee"), which are valid as long as the estimator. The
   name is NULL if `joint` is out of range. */
int hrnet_pose_joints(const hrnet_pose* pose);
const char* hrnet_pose_joint_name(const hrnet_pose* pose, int joint);

/* Finds the poses of the people in `boxes`, in the order of the boxes. With box_count 0 the whole picture is one
   person.
   - joints: room for `capacity` poses of hrnet_pose_joints() joints each.
   - scores: room for `capacity` numbers, or NULL.
   - *found: the number of poses written, or with HRNET_TOO_SMALL the capacity that is needed; found may be NULL. */
hrnet_status hrnet_pose_find(hrnet_pose* pose, const hrnet_picture* picture, const hrnet_box* boxes, size_t box_count,
                             hrnet_joint* joints, double* scores, size_t capacity, size_t* found);
/* The same for a picture file (JPEG, PNG, BMP, GIF, PNM), which is turned as its EXIF orientation says. */
hrnet_status hrnet_pose_find_in_file(hrnet_pose* pose, const char* file, const hrnet_box* boxes, size_t box_count,
                                     hrnet_joint* joints, double* scores, size_t capacity, size_t* found);

/* ---- Evaluation ----------------------------------------------------------------------------------------------------
   Evaluates a result file against a person_keypoints file, as COCO does. stats: AP, AP .50, AP .75, AP medium, AP
   large, AR, AR .50, AR .75, AR medium, AR large. A value is -1 if the truth has no people for this measure. */
#define HRNET_COCO_STATS 10
hrnet_status hrnet_evaluate_coco(const char* truth, const char* results, double stats[HRNET_COCO_STATS]);

#ifdef __cplusplus
}
#endif

#endif

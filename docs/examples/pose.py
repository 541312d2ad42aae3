"""Finds the joints of a person who fills a picture, through the C interface: pose.py WEIGHTS PICTURE

The library is searched for where the system keeps libraries. HRNET_LIBRARY=/path/libhrnet.so.0 selects another one.
"""
import ctypes
import os
import sys


class Joint(ctypes.Structure):
    _fields_ = [("x", ctypes.c_float), ("y", ctypes.c_float), ("score", ctypes.c_float)]


hrnet = ctypes.CDLL(os.environ.get("HRNET_LIBRARY", "libhrnet.so.0"))
hrnet.hrnet_last_error.restype = ctypes.c_char_p
hrnet.hrnet_version.restype = ctypes.c_char_p
hrnet.hrnet_pose_joint_name.restype = ctypes.c_char_p
hrnet.hrnet_pose_joint_name.argtypes = [ctypes.c_void_p, ctypes.c_int]
hrnet.hrnet_pose_joints.argtypes = [ctypes.c_void_p]
hrnet.hrnet_pose_close.argtypes = [ctypes.c_void_p]
hrnet.hrnet_pose_find_in_file.argtypes = [
    ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Joint),
    ctypes.POINTER(ctypes.c_double), ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]


def check(status):
    if status != 0:
        sys.exit(f"pose.py: {hrnet.hrnet_last_error().decode()}")


class PoseEstimator:
    def __init__(self, weights):
        self.handle = ctypes.c_void_p()
        check(hrnet.hrnet_pose_open(os.fsencode(weights), None, ctypes.byref(self.handle)))
        count = hrnet.hrnet_pose_joints(self.handle)
        self.names = [hrnet.hrnet_pose_joint_name(self.handle, k).decode() for k in range(count)]

    def __del__(self):
        hrnet.hrnet_pose_close(self.handle)

    def __call__(self, picture):
        joints = (Joint * len(self.names))()
        check(hrnet.hrnet_pose_find_in_file(self.handle, os.fsencode(picture), None, 0, joints, None, 1, None))
        return joints


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: pose.py WEIGHTS PICTURE")
    pose = PoseEstimator(sys.argv[1])
    for name, joint in zip(pose.names, pose(sys.argv[2])):
        print(f"{name} {joint.x:.1f} {joint.y:.1f} {joint.score:.2f}")

"""Makes resized.safetensors: generated pictures, resized by OpenCV (INTER_LINEAR, 8 bits). Needs opencv-python."""
import os

import cv2
import numpy as np
from safetensors.numpy import save_file

out = {}
for w, h, to_w, to_h in ((17, 13, 29, 22), (40, 30, 13, 9), (16, 12, 8, 6), (64, 48, 41, 31), (1, 1, 5, 4), (5, 40, 3, 7)):
    i = np.arange(w * h * 3, dtype=np.uint64)
    picture = ((i * np.uint64(2654435761)) >> np.uint64(7)).astype(np.uint8).reshape(h, w, 3)
    out[f"{w}x{h}_{to_w}x{to_h}"] = cv2.resize(picture, (to_w, to_h), interpolation=cv2.INTER_LINEAR)
save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "resized.safetensors"))

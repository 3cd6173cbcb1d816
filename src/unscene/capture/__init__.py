"""From photos or a video to a scene: features, matches, poses, undistorted photos (COLMAP, through pycolmap)."""

import cv2 as _cv2  # noqa: F401  before pycolmap: loaded after it, OpenCV's PNG writer gets pycolmap's zlib and aborts

"""Remove whatever a rule of your own marks: here, everything of about one colour.

python examples/03_bring_your_own_masks.py captures/desk runs/desk 0.2 0.3 0.8
"""

import sys

import torch

import unscene


def main(capture: str, out: str, color: tuple[float, float, float], effort: float = 1.0) -> None:
    scene = unscene.load_scene(capture, scale=1, holdout=0)
    distance = (scene.images.float() / 255 - torch.tensor(color)).norm(dim=-1)
    scene = scene.with_masks(distance < 0.25)
    unscene.remove(scene, out, unscene.RemoveOptions(prior="exemplar", effort=effort, video_frames=0))


if __name__ == "__main__":
    red, green, blue = (float(value) for value in sys.argv[3:6])
    main(sys.argv[1], sys.argv[2], (red, green, blue))

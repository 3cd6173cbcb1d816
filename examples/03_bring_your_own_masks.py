"""Remove whatever a rule of your own marks: here, everything nearer than a given depth in a fitted field.

python examples/03_bring_your_own_masks.py captures/desk runs/desk 1.2
"""

import sys

import torch

import unscene
from unscene.fields.field import render_view


def main(capture: str, out: str, nearest: float, effort: float = 1.0) -> None:
    scene = unscene.load_scene(capture, scale=4, holdout=0)
    fitted = unscene.fit(scene, f"{out}-fit", unscene.FitOptions(fit=unscene.FitConfig(steps=1000).scaled(effort)))
    depths = [render_view(fitted.field, scene.cameras, view).depth for view in range(len(scene))]
    scene = scene.with_masks(torch.stack(depths) < nearest)
    unscene.remove(scene, out, unscene.RemoveOptions(prior="exemplar", effort=effort, video_frames=0))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))

"""Quality inside the object mask of runs of a bundled scene: where training views saw the surface, and where not.

python benchmarks/seen_and_unseen.py [--scene still-life|room] runs/demo [runs/another ...]

A pixel counts as seen if at least two training views see its true surface outside their masks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.masks import VisibilityConfig, dilate, unseen_by_all
from unscene.scenes.room import room
from unscene.scenes.room import true_depth as room_depth
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.scenes.still_life import true_depth as still_life_depth


def unseen_regions(scene: Scene, true_depth: Callable[[int], Tensor]) -> dict[int, Tensor]:
    """For each test view, H W bool: masked pixels whose true surface fewer than two training views see."""
    config = VisibilityConfig(views=2, observers=len(scene))
    assert scene.masks is not None
    blind = torch.ones(scene.masks.shape[1:], dtype=torch.bool)  # other test views do not count as observers
    regions = {}
    for view in scene.test.tolist():
        masks = dilate(scene.masks, 2)
        masks[scene.test] = blind
        masks[view] = scene.masks[view]
        depths = torch.stack([true_depth(v) for v in range(len(scene))])
        full = F.interpolate(depths[view][None, None], size=blind.shape)[0, 0]
        regions[view] = unseen_by_all(view, full[masks[view]], masks, depths, scene.cameras, config)
    return regions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--scene", choices=("still-life", "room"), default="still-life")
    options = parser.parse_args()
    scene, true_depth = (room(), room_depth) if options.scene == "room" else (still_life(), still_life_depth)
    regions = unseen_regions(scene, true_depth)
    assert scene.masks is not None
    for run in options.runs:
        seen, unseen = [], []
        for view, region in regions.items():
            image = cv2.imread(str(Path(run) / "renders" / f"{Path(scene.names[view]).stem}.png"))
            assert image is not None, f"{run}: expected the renders of a finished run of the scene"
            error = (torch.from_numpy(image[..., ::-1].copy()).float() / 255 - scene.image(view)).square().mean(-1)
            seen.append(error[scene.masks[view] & ~region])
            unseen.append(error[region])
        parts = {"seen": torch.cat(seen), "unseen": torch.cat(unseen), "all": torch.cat(seen + unseen)}
        share = len(parts["seen"]) / len(parts["all"])
        figures = ", ".join(f"{name} {-10 * math.log10(errors.mean()):.2f} dB" for name, errors in parts.items())
        print(f"{run}: {share:.0%} of the masked pixels seen; {figures}")


if __name__ == "__main__":
    main()

"""Quality inside the object mask of runs of the still life: where training views saw the surface, and where not.

python benchmarks/seen_and_unseen.py runs/demo [runs/another ...]

A pixel counts as seen if at least two training views see its true surface outside their masks.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.masks import VisibilityConfig, dilate, unseen_by_all
from unscene.scenes.still_life import still_life, true_depth


def unseen_regions() -> dict[int, Tensor]:
    """For each test view, H W bool: masked pixels whose true surface fewer than two training views see."""
    scene, config = still_life(), VisibilityConfig(views=2, observers=len(still_life()))
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


def main(runs: list[str]) -> None:
    scene, regions = still_life(), unseen_regions()
    assert scene.masks is not None
    for run in runs:
        seen, unseen = [], []
        for view, region in regions.items():
            image = cv2.imread(str(Path(run) / "renders" / f"{Path(scene.names[view]).stem}.png"))
            assert image is not None, f"{run}: expected the renders of a finished run of the still life"
            error = (torch.from_numpy(image[..., ::-1].copy()).float() / 255 - scene.image(view)).square().mean(-1)
            seen.append(error[scene.masks[view] & ~region])
            unseen.append(error[region])
        parts = {"seen": torch.cat(seen), "unseen": torch.cat(unseen), "all": torch.cat(seen + unseen)}
        share = len(parts["seen"]) / len(parts["all"])
        figures = ", ".join(f"{name} {-10 * math.log10(errors.mean()):.2f} dB" for name, errors in parts.items())
        print(f"{run}: {share:.0%} of the masked pixels seen; {figures}")


if __name__ == "__main__":
    main(sys.argv[1:])

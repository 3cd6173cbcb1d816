"""How white ELA's noise stays and how well it follows the scene, on a finished run of the still life.

python benchmarks/noise_alignment.py runs/demo

Carries the noise of one view to another through the run's field for 50 pairs of views and prints, inside the object
masks: mean and deviation per channel, correlation of neighbouring cells, correlation with the base view's noise at true
correspondences (from the scene's true depth, where both views see the point) and at cells that do not correspond.
"""

from __future__ import annotations

import json
import sys

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.masks import surface_points
from unscene.results.run import Run, open_run
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life, true_depth
from unscene.stages.aligned_inpainting import aligned_noise

CHANNELS, DOWNSCALE, PAIRS = 4, 4, 50


def measure(run: Run, scene: Scene, generator: torch.Generator) -> dict[str, object]:
    """The figures of ``PAIRS`` pairs of training views, in view order at random distances."""
    assert scene.masks is not None
    height, width = scene.cameras.height // DOWNSCALE, scene.cameras.width // DOWNSCALE
    carried_inside, neighbours, matched, unmatched = [], [], [], []
    for _ in range(PAIRS):
        base, view = scene.train[torch.randperm(len(scene.train), generator=generator)[:2]].tolist()
        noise = torch.randn(CHANNELS, height, width, generator=generator)
        carried = aligned_noise(run.field, scene.cameras, view, base, noise, DOWNSCALE, generator)
        inside = F.adaptive_max_pool2d(scene.masks[view][None].float(), (height, width))[0] > 0
        carried_inside.append(carried[:, inside])
        pairs = inside[:, 1:] & inside[:, :-1]
        neighbours.append((carried[:, :, 1:][:, pairs], carried[:, :, :-1][:, pairs]))
        cells, rows, columns = true_correspondences(scene, view, base, inside)
        matched.append((carried[:, rows, columns], noise.flatten(1)[:, cells]))
        elsewhere = cells[torch.randperm(len(cells), generator=generator)]
        unmatched.append((carried[:, rows, columns], noise.flatten(1)[:, elsewhere]))
    values = torch.cat(carried_inside, 1)
    return {
        "pairs": PAIRS,
        "values per channel": values.shape[1],
        "mean per channel": [round(v, 4) for v in values.mean(1).tolist()],
        "deviation per channel": [round(v, 4) for v in values.std(1).tolist()],
        "correlation of neighbours": correlation(neighbours),
        "correlation at true correspondences": correlation(matched),
        "correlation elsewhere": correlation(unmatched),
    }


def true_correspondences(scene: Scene, view: int, base: int, inside: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Latent cells of ``view`` (rows, columns) inside the mask whose surface ``base`` sees too, and its cells there."""
    height, width = inside.shape
    latent = scene.cameras.resized(width, height)
    depth = F.interpolate(true_depth(view)[None, None], size=(height, width), mode="nearest")[0, 0]
    there = F.interpolate(true_depth(base)[None, None], size=(height, width), mode="nearest")[0, 0]
    rows, columns = inside.nonzero(as_tuple=True)
    points = surface_points(latent, view, depth)[rows, columns]
    xy, z = latent.project(torch.full((len(points),), base), points)
    x, y = xy.floor().long().unbind(-1)
    visible = (z > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    visible &= (there[y, x] - z).abs() < 0.03 * z
    return (y * width + x)[visible], rows[visible], columns[visible]


def correlation(pairs: list[tuple[Tensor, Tensor]]) -> float:
    """Pearson correlation of all pairs of values."""
    a, b = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
    return round(float(torch.corrcoef(torch.stack([a, b]))[0, 1]), 4)


if __name__ == "__main__":
    print(json.dumps(measure(open_run(sys.argv[1]), still_life(), torch.Generator().manual_seed(0)), indent=2))

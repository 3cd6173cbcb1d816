"""How long iNVS takes: a partial view with its masks, one novel view, a turn of 24 frames.

    python benchmarks/orbit_speed.py [--turns 9]

On the package's own example with the bundled model. Median, fastest and slowest of some turns after one that does not
count; the turn of 24 frames is measured once, through `unscene.orbit`, reading of photo and model, video and report
included.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import unscene
from unscene.geometry.partial_view import partial_view
from unscene.geometry.turntable import RelativePose
from unscene.methods.invs import InvsConfig, invs_view
from unscene.objects import example
from unscene.objects.photo import read_object_photo
from unscene.priors.depth.completion import Estimate
from unscene.priors.novel_views.view_inpainter import BUNDLED, load_view_inpainter
from unscene.stages.object_source import SourceView, place_object

ASIDE = RelativePose(30.0, 10.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=9)
    turns = parser.parse_args().turns
    large, model = photo(256), load_view_inpainter(BUNDLED)
    target = large.target(ASIDE)
    small, noise = photo(model.size), torch.randn(model.latent_shape, generator=torch.Generator().manual_seed(0))

    def partial() -> None:
        seen = partial_view(large.color, large.depth, large.camera, target)
        _ = seen.soft_mask, seen.epipolar_mask

    met = [show("partial view and masks, 256 px", timed(partial, turns), 0.15)]
    aside = small.target(ASIDE)
    one = timed(lambda: invs_view(small, aside, model, InvsConfig(), noise=noise), turns)
    met.append(show(f"one novel view, {model.size} px", one, 4.0))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        unscene.orbit(Path("example"), Path(folder) / "run")
        met.append(show("a turn of 24 frames, all in all", [time.perf_counter() - started], 120.0))
    sys.exit(not all(met))


def photo(size: int) -> SourceView:
    read = read_object_photo(example.PHOTO, size=size, field_of_view=example.FIELD_OF_VIEW, depth=example.DEPTH)
    assert read.depth is not None
    return place_object(read, Estimate(read.depth, False, "rendered"), elevation=example.ELEVATION, contamination=0.0)


def timed(action: Callable[[], object], turns: int) -> list[float]:
    action()
    seconds = []
    for _ in range(turns):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return seconds


def show(name: str, seconds: list[float], aim: float) -> bool:
    """Print a line; whether the aim is met."""
    spread = f" ({min(seconds):.3f} to {max(seconds):.3f})" if len(seconds) > 1 else ""
    print(f"{name:<34}{statistics.median(seconds):8.3f} s{spread}, the aim is {aim:g} s", flush=True)
    return statistics.median(seconds) <= aim


if __name__ == "__main__":
    main()

"""Where a fit step's time goes: CPU milliseconds of its parts on one thread, medians over steps.

    python benchmarks/fit_step.py [SCENE] [--scale 4] [--rays 4608] [--steps 60]

Parts in order; native functions (fields/native) are listed under the part that calls them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import unscene
from unscene.fields import native_field, native_proposal
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.processor import Arguments
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.training.pixels import (
    PixelSampler,
    RegularizerConfig,
    hash_decay_term,
    reconstruction_terms,
    training_pixels,
)

WARM_UP_STEPS = 250  # the first 200 teach the proposal at every step, later ones at every third


class Clock:
    """CPU time of named parts, of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def start_step(self) -> None:
        self.steps.append(defaultdict(float))

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        started = time.thread_time()
        yield
        self.steps[-1][part] += (time.thread_time() - started) * 1e3

    def watch(self, launch: Callable[[str, Arguments, int], None]) -> Callable[[str, Arguments, int], None]:
        """``launch`` of native functions, each a part of its own."""

        def watched(function: str, arguments: Arguments, tasks: int) -> None:
            with self(f"  {function}"):
                launch(function, arguments, tasks)

        return watched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?", help="scene folder; default: the bundled still life")
    parser.add_argument("--scale", type=int, default=1, help="down-scaling of the photos (the statue: 4)")
    parser.add_argument("--rays", type=int, default=4608, help="rays per step")
    parser.add_argument("--steps", type=int, default=60, help="steps that count")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    scene = load_scene(arguments.scene, scale=arguments.scale) if arguments.scene else unscene.still_life()
    clock = Clock()
    for module in (native_field, native_proposal):
        module.launch = clock.watch(module.launch)
    _take_steps(clock, scene, arguments.rays, WARM_UP_STEPS + arguments.steps)
    _print(clock.steps[-arguments.steps :], arguments.rays)


def _take_steps(clock: Clock, scene: Scene, rays_per_step: int, steps: int) -> None:
    """The loop of training/fit.py with the objective of training/pixels.py, taken apart."""
    generator = torch.Generator().manual_seed(0)
    nerf = Nerf.around(scene.cameras[scene.train], NerfConfig(), generator)
    pixels, regularizer = PixelSampler(scene, training_pixels(scene)), RegularizerConfig()
    optimizer = torch.optim.Adam(nerf.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-15, fused=True)
    for step in range(steps):
        clock.start_step()
        with clock("whole step"):
            with clock("pixels and rays"):
                batch = pixels.sample(rays_per_step, generator)
                rays = scene.cameras.rays(batch.view, batch.xy)
                jitter = torch.rand(len(rays), generator=generator)
            with clock("render"):
                render = nerf.render(rays, jitter=jitter)
            with clock("losses"):
                terms = reconstruction_terms(render, batch.color, step, regularizer)
                terms |= hash_decay_term(nerf, step, regularizer)
                loss = torch.stack(list(terms.values())).sum()
            with clock("backward"):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with clock("Adam"):
                optimizer.step()


def _print(steps: list[dict[str, float]], rays: int) -> None:
    parts = dict.fromkeys(part for step in steps for part in step)
    print(f"CPU ms of a step of {rays} rays, one thread{'':10}mean   median")
    for part in parts:
        times = [step.get(part, 0.0) for step in steps]
        print(f"{part:46}{statistics.mean(times):8.2f} {statistics.median(times):8.2f}")


if __name__ == "__main__":
    sys.exit(main())

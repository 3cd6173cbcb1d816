"""How fast the field learns: training rays per second, and the hash encoding against the least it could take.

    python benchmarks/fit_speed.py [SCENE] [--scale 4] [--json FILE]

Measures our field against nerfstudio's nerfacto (its torch implementation) where nerfstudio is importable, and against
our own field with the plain torch encoding of the tests. All take turns in one run, so that a busy machine slows all
alike; medians over the turns count, with the slowest and the fastest turn beside them.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.fields.reference_hash_grid import ReferenceHashGrid

import unscene
from unscene.fields.hash_grid import HashGrid, HashGridConfig
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.fit import FitConfig, fit
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, unmasked_training_pixels

POINTS = 32_768  # of the encoding's own measurement
PAST_WARM_UP = 10_000  # both fields teach their proposals at every step at first, later at every third or fifth
Measure = Callable[[], float]


@dataclass(frozen=True)
class Result:
    """Turns of one contestant. unit: rays/s (higher is better) or ms (lower is better)."""

    name: str
    unit: str
    turns: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)


def our_field(scene: Scene, rays: int, steps: int, *, reference_encoding: bool = False) -> Measure:
    """Rays per second of the product's own loop."""
    nerf = Nerf.around(scene.cameras[scene.train], NerfConfig(), torch.Generator().manual_seed(0))
    if reference_encoding:
        nerf.grid, nerf.proposal_grid = ReferenceHashGrid(nerf.grid), ReferenceHashGrid(nerf.proposal_grid)
    pixels = PixelSampler(scene, unmasked_training_pixels(scene))
    objective = PixelReconstruction(nerf, scene.cameras, pixels, RegularizerConfig(), rays=rays)

    def past_warm_up(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        return objective(step + PAST_WARM_UP, progress, generator)

    def measure() -> float:
        started, config = time.perf_counter(), FitConfig(steps=steps)
        events = fit(
            "speed", nerf, past_warm_up, config, Checkpoints(None, 0), rays_per_step=rays, native=nerf.is_native
        )
        list(events)
        return steps * rays / (time.perf_counter() - started)

    return measure


def nerfacto(scene: Scene, rays: int, steps: int) -> Measure:
    """Rays per second of nerfstudio's nerfacto on the same pixels: forward, losses, backward and Adam."""
    from nerfstudio.cameras.camera_optimizers import CameraOptimizerConfig
    from nerfstudio.cameras.rays import RayBundle
    from nerfstudio.data.scene_box import SceneBox
    from nerfstudio.engine.callbacks import TrainingCallbackAttributes, TrainingCallbackLocation
    from nerfstudio.models.nerfacto import NerfactoModelConfig
    from torchmetrics.image import lpip

    # The evaluation metric would fetch its weights over the network; training does not use it.
    lpip.LearnedPerceptualImagePatchSimilarity = lambda **_: nn.Identity()
    config = NerfactoModelConfig(
        implementation="torch", camera_optimizer=CameraOptimizerConfig(mode="off"), predict_normals=False
    )
    box = SceneBox(aabb=torch.tensor([[-1.0, -1, -1], [1, 1, 1]]))
    model = config.setup(scene_box=box, num_train_data=len(scene)).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-15, fused=True)
    ours = Nerf.around(scene.cameras[scene.train], NerfConfig(), torch.Generator().manual_seed(0))
    pixels, generator = PixelSampler(scene, unmasked_training_pixels(scene)), torch.Generator().manual_seed(0)

    before, after = TrainingCallbackLocation.BEFORE_TRAIN_ITERATION, TrainingCallbackLocation.AFTER_TRAIN_ITERATION
    attributes = TrainingCallbackAttributes(optimizers=None, grad_scaler=None, pipeline=None, trainer=None)
    callbacks = model.get_training_callbacks(attributes)
    numbers = itertools.count(PAST_WARM_UP)

    def step() -> None:
        number = next(numbers)
        batch = pixels.sample(rays, generator)
        world = scene.cameras.rays(batch.view, batch.xy)
        ones = torch.ones(rays, 1)
        bundle = RayBundle(
            origins=(world.origins - ours.center) / ours.radius,
            directions=world.directions,
            pixel_area=ones * 1e-6,
            camera_indices=batch.view[:, None],
            metadata={"directions_norm": ones},
        )
        for callback in callbacks:
            callback.run_callback_at_location(number, before)
        outputs = model(bundle)
        known = {"image": batch.color}
        losses = model.get_loss_dict(outputs, known, model.get_metrics_dict(outputs, known))
        loss = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        for callback in callbacks:
            callback.run_callback_at_location(number, after)

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * rays / (time.perf_counter() - started)

    return measure


def encoding(grid: nn.Module, points: Tensor) -> Measure:
    """Milliseconds of one forward and backward pass, table gradient only, as in fitting."""

    def measure() -> float:
        started = time.perf_counter()
        encoded = grid(points)
        encoded.backward(torch.ones_like(encoded))
        grid.get_parameter("table").grad = None
        return (time.perf_counter() - started) * 1e3

    return measure


def encoding_floor(grid: HashGrid) -> Measure:
    """Milliseconds it takes this machine to move the bytes that the encoding's two passes must touch.

    Eight corners of every level read, then read and written for their gradients; the points read twice; the encoding
    written once and its gradient read once; the table's gradient zeroed. Moved by copying memory of that size.
    """
    row = 4 * grid.config.features
    corners = POINTS * grid.config.levels * 8 * row
    bytes_moved = 3 * corners + 2 * POINTS * 12 + 2 * POINTS * grid.config.levels * row + 4 * grid.table.numel()
    source = torch.zeros(bytes_moved // 8, dtype=torch.float32)  # a copy reads and writes: half the floats
    target = torch.empty_like(source)

    def measure() -> float:
        started = time.perf_counter()
        target.copy_(source)
        return (time.perf_counter() - started) * 1e3

    return measure


def take_turns(contestants: dict[str, Measure], unit: str, turns: int) -> list[Result]:
    """Measure all in turns after one turn each that does not count."""
    results = {name: Result(name, unit, []) for name in contestants}
    for turn in range(turns + 1):
        for name, measure in contestants.items():
            value = measure()
            if turn:
                results[name].turns.append(value)
    return list(results.values())


def print_table(title: str, results: list[Result]) -> None:
    base = results[0].median
    print(f"\n{title}\n{'':34}{'median':>12}{'min':>12}{'max':>12}  ratio to ours")
    for result in results:
        numbers = "".join(f"{value:12,.1f}" for value in (result.median, min(result.turns), max(result.turns)))
        print(f"{result.name:34}{numbers}  {result.median / base:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?", help="scene folder; default: the bundled still life")
    parser.add_argument("--scale", type=int, default=1, help="down-scaling of the photos (the statue: 4)")
    parser.add_argument("--rays", type=int, default=4096, help="rays per batch, for all alike")
    parser.add_argument("--turns", type=int, default=3, help="turns that count")
    parser.add_argument("--json", type=Path, help="also write the results here")
    arguments = parser.parse_args()
    scene = load_scene(arguments.scene, scale=arguments.scale) if arguments.scene else unscene.still_life()

    contestants = {"unscene": our_field(scene, arguments.rays, steps=60)}
    if importlib.util.find_spec("nerfstudio"):
        contestants["nerfacto (torch)"] = nerfacto(scene, arguments.rays, steps=5)
    contestants["unscene, plain torch encoding"] = our_field(scene, arguments.rays, steps=2, reference_encoding=True)
    fitting = take_turns(contestants, "rays/s", arguments.turns)
    print_table(f"training rays per second, batches of {arguments.rays} (higher is better)", fitting)

    grid = HashGrid(HashGridConfig(), torch.Generator().manual_seed(0))
    points = torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(1))
    encodings = {
        "Warp kernels": encoding(grid, points),
        "plain torch": encoding(ReferenceHashGrid(grid), points),
        "floor: moving the bytes": encoding_floor(grid),
    }
    passes = take_turns(encodings, "ms", arguments.turns)
    print_table(f"hash encoding of {POINTS:,} points, forward + backward, ms (lower is better)", passes)

    if arguments.json:
        record = {
            "scene": scene.name,
            "rays_per_batch": arguments.rays,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "results": [asdict(result) | {"median": result.median} for result in fitting + passes],
        }
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How fast Gaussians are drawn, and gradients come back, on a processor or a card.

    python benchmarks/splat_speed.py [--device cuda] [--json FILE]

Gaussians of random places and shapes fill the view, in depth too, a pixel or two in size; all of them are seen. Each
row is measured after a turn that does not count; the median of the turns counts, with the quickest and slowest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from unscene.fields.splat_raster import SplatCamera, rasterise
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians
from unscene.threads import torch_on_one_thread


@dataclass(frozen=True)
class Case:
    """What is drawn, and the milliseconds on two cores within which: forward, and forward with backward."""

    count: int
    width: int
    height: int
    degree: int
    forward: float | None
    both: float | None


CASES = {
    "cpu": [Case(100_000, 252, 189, 0, 15, 40), Case(1_000_000, 1008, 756, 3, 350, None)],
    "cuda": [Case(1_000_000, 1008, 756, 3, None, 30)],
}


def scene(case: Case, device: str) -> tuple[Gaussians, SplatCamera]:
    generator = torch.Generator().manual_seed(0)
    focal, size = case.width * 0.9, torch.tensor([case.width, case.height])
    depth = 2 + 4 * torch.rand(case.count, 1, generator=generator)
    across = (torch.rand(case.count, 2, generator=generator) - 0.5) * size / focal * depth
    pixels = 0.4 + 1.2 * torch.rand(case.count, 3, generator=generator)
    gaussians = Gaussians(
        torch.cat([across, depth], 1),
        (depth / focal * pixels).log(),
        torch.randn(case.count, 4, generator=generator),
        torch.randn(case.count, generator=generator),
        torch.randn(case.count, (case.degree + 1) ** 2, 3, generator=generator) * 0.3,
    )
    cameras = Cameras(
        torch.eye(4)[None, :3], torch.full((1, 2), focal), size[None] / 2, torch.zeros(1, 5), case.width, case.height
    )
    return gaussians.to(device), SplatCamera.of(cameras, 0)


def milliseconds(work: Callable[[], object], turns: int, device: str) -> list[float]:
    found = []
    for _ in range(turns + 1):
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        found.append(1e3 * (time.perf_counter() - started))
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=list(CASES))
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for case in CASES[options.device]:
        gaussians, camera = scene(case, options.device)
        learnt = Gaussians(*(tensor.clone().requires_grad_() for tensor in gaussians.tensors))
        weights = torch.randn(case.height, case.width, 3, generator=torch.Generator().manual_seed(1)).to(options.device)

        def both(learnt: Gaussians = learnt, camera: SplatCamera = camera, weights: torch.Tensor = weights) -> None:
            torch.autograd.grad(rasterise(learnt, camera).image, learnt.tensors, weights)

        forward = lambda gaussians=gaussians, camera=camera: rasterise(gaussians, camera)  # noqa: E731
        with torch_on_one_thread():
            for name, work, gate in (("forward", forward, case.forward), ("forward + backward", both, case.both)):
                turns = milliseconds(work, options.turns, options.device)
                what = f"{case.count:,} of degree {case.degree}, {case.width}x{case.height}, {name}"
                median = statistics.median(turns)
                bar = "" if gate is None else f", gate {gate:g}: {'held' if median <= gate else 'MISSED'}"
                print(f"{what}: {median:.1f} ms ({min(turns):.1f} to {max(turns):.1f}{bar})")
                rows.append({"what": what, "milliseconds": turns, "gate": gate})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()

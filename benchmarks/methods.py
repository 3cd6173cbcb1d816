"""Every removal method on the still life: the same field, prior and number of steps.

    python benchmarks/methods.py --out runs/methods [--seeds 3] [--steps 1500] [--field nerf|splats]
        [--methods NAME ...] [--json FILE]

One run a method and seed with the bundled prior and each method's own settings of the laptop; its fits are shortened or
stretched alike, so that all of its steps together are --steps. What was finished is not computed again, and an --out
made with other settings is refused. Columns, inside the object mask of the twenty test views, all without the object:
PSNR, distance in the features of the bundled autoencoder (which taught nothing), sharpness (variance of the Laplacian,
relative to the truth's), inconsistency (each render warped into the next by true depth, mean absolute difference; blur
lowers it); of the inpainted views before the field sees them, `views`: the same difference between neighbouring first
inpaintings, inside what was inpainted, where a method inpaints several; and `seconds`, of the whole command.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tables import QUALITY, claim, disagreement, print_table, removal_figures
from torch import Tensor

import unscene
from unscene.files import write_json
from unscene.jobs.remove_options import RemoveOptions
from unscene.methods import METHODS
from unscene.scenes.scene import Scene
from unscene.screen import Screen
from unscene.training.events import Event, ViewInpainted, ViewUpdated
from unscene.training.fit import FitConfig

VIEWS = 16  # inpainted at most, where a method has such a setting


def options_of(method: str, steps: int, seed: int, field: Any) -> RemoveOptions:
    """A method's settings, its fits of ``steps`` steps in all; of splats those that learn the photos come besides."""
    chosen: Any = method
    plain = RemoveOptions(method=chosen, field=field, prior="bundled", video_frames=0, seed=seed)
    settings = plain.settings
    if hasattr(settings, "most_views"):
        settings = dataclasses.replace(settings, most_views=VIEWS)
    fits = [getattr(settings, part.name) for part in dataclasses.fields(settings)]
    total = sum(fit.steps or 0 for fit in fits if isinstance(fit, FitConfig))
    return dataclasses.replace(plain, effort=steps / total, **{method.replace("-", "_"): settings})


def run(method: str, seed: int, out: Path, steps: int, field: str) -> dict[str, float | None]:
    """Remove the teapot by one method; its figures."""
    folder = out / f"seed-{seed}" / method
    done = folder / "figures.json"
    if done.is_file():
        return json.loads(done.read_text())
    scene, options, inpainted = unscene.still_life(), options_of(method, steps, seed, field), dict[str, Tensor]()
    shutil.rmtree(folder, ignore_errors=True)  # what was begun does not tell its inpainted views again
    with Screen() as screen:

        def watch(event: Event) -> None:
            screen(event)
            if isinstance(event, ViewInpainted) or (isinstance(event, ViewUpdated) and not event.update):
                inpainted[event.view] = event.image

        finished = unscene.remove(scene, folder, options, watch=watch)
    figures: dict[str, float | None] = dict(removal_figures(scene, finished.field, folder))
    figures["views"] = inpainted_disagreement(scene, inpainted)
    figures["seconds"] = finished.metrics["seconds"]
    write_json(done, figures)
    return figures


def inpainted_disagreement(scene: Scene, inpainted: dict[str, Tensor]) -> float | None:
    """Of neighbouring inpainted views, by name, H W 3, inside what differs from their photos; None of a single one."""
    if len(inpainted) < 2:
        return None
    order = [view for view in scene.train.tolist() if scene.names[view] in inpainted]
    pictures = [inpainted[scene.names[view]].cpu() for view in order]
    changed = [
        (picture - scene.image(view)).abs().amax(-1) > 1 / 255 for picture, view in zip(pictures, order, strict=True)
    ]
    return disagreement(scene, torch.tensor(order), pictures, torch.stack(changed))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--field", choices=("nerf", "splats"), default="nerf")
    parser.add_argument("--methods", nargs="+", default=sorted(METHODS), choices=sorted(METHODS))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    claim(arguments.out, {"steps": arguments.steps, "views": VIEWS, "field": arguments.field})
    table: dict[str, list[dict[str, float | None]]] = {method: [] for method in arguments.methods}
    for seed in range(arguments.seeds):
        for method in arguments.methods:
            figures = run(method, seed, arguments.out, arguments.steps, arguments.field)
            table[method].append(figures)
            print(
                f"seed {seed}, {method}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items() if v is not None),
                flush=True,
            )
    print_table(table, {**QUALITY, "views": 4, "seconds": 0})
    if arguments.json:
        write_json(arguments.json, table)


if __name__ == "__main__":
    main()

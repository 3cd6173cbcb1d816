"""Novel views of held-out objects by rotation angle: iNVS, Zero-1-to-3 and the plain partial view.

    python benchmarks/novel_views.py --invs RUN [RUN ...] --zero123 RUN [RUN ...] --out runs/novel-views

Runs are folders that `unscene train invs` and `unscene train zero123` wrote, one for every seed (--paper: those that
were trained with --no-told-photo --no-told-symmetry); unlike budgets (steps, pairs per step, shards, weights) and
objects that the shards of training may hold are refused. --weights takes models without such a record, like the
bundled one, src/unscene/priors/bundled_views. Objects are procedural; every one is seen from one source view and one
target view in each range of rotation angles. Depth is the renderer's. PSNR, SSIM and the distance in the bundled
autoencoder's features are those of whole views on white, PSNR also that inside the object's true outline: means over
objects, then mean and standard deviation over the models. A second table and a picture show lettered objects turned by
30 degrees. iNVS stands there twice: as it is, and without the pixels of the photo and of a symmetric object over what
the model made of them; Zero-1-to-3 too, with the paper's guidance of 3 and without. Beside them stands what no model
has touched: the partial view, and it with what a symmetric object would show in its holes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.metrics import psnr, ssim
from unscene.evaluation.report import Report, write_report
from unscene.files import write_json, write_png
from unscene.geometry.cameras import Cameras
from unscene.geometry.partial_view import partial_view
from unscene.geometry.turntable import object_cameras, pose_between, pose_numbers, rotation_angle
from unscene.losses.perceptual import perceptual_distance
from unscene.methods.invs import InvsConfig, invs_view, with_known_pixels
from unscene.objects.lettering import lettering
from unscene.objects.mesh import TexturedMesh, normalized, rotation, transformed
from unscene.objects.parts import Paint, bottle, can, mug, parcel
from unscene.objects.procedural import procedural_object
from unscene.pretraining.object_shards import read_index
from unscene.pretraining.render_objects import FIELD_OF_VIEW, object_views
from unscene.pretraining.view_pairs import on_background
from unscene.priors.diffusion.architecture import DOWNSCALE, LATENT_CHANNELS
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.priors.diffusion.checkpoints import check_safetensors
from unscene.priors.novel_views.view_inpainter import load_view_inpainter
from unscene.priors.novel_views.zero123 import load_zero123
from unscene.stages.novel_view import NovelView
from unscene.stages.object_source import SourceView

RANGES = ((0, 30), (30, 60), (60, 90), (90, 180))  # degrees
LETTERED = (parcel, mug, can, bottle)
LETTERED_TURN = 30.0
SHOWN = 8

View = Callable[["Case"], Tensor]
BUDGET = ("steps", "batch", "processes", "size", "shards", "initial", "learning_rate", "noise_bias")
BUDGET += ("noise_centre", "noise_spread")  # which runs have that began before there was a bias


@dataclass(frozen=True)
class Case:
    """A source view, a target camera and what really is there, H W 3, and where, H W; noise: the initial latent."""

    source: SourceView
    target: Cameras
    truth: Tensor
    outline: Tensor
    angle: float
    noise: Tensor


class LetteredPaint(Paint):
    """Letters on every largest face."""

    def main(self) -> np.ndarray:
        return lettering(self.size, self.rng)


def main() -> None:
    arguments = parse()
    check_budgets([*arguments.invs, *arguments.paper, *arguments.zero123], arguments.seed)
    methods: dict[str, list[View]] = {"partial view": [seen_only], "symmetric guess": [symmetric_guess]}
    if arguments.invs:
        both = [invs(run / "model", arguments.steps) for run in arguments.invs]
        methods["iNVS"] = [pasted for pasted, _ in both]
        methods["iNVS, none pasted"] = [alone for _, alone in both]
    if arguments.weights:
        methods["iNVS, by its weights"] = [invs(folder, arguments.steps)[0] for folder in arguments.weights]
    if arguments.paper:
        methods["iNVS, told as in the paper"] = [invs(run / "model", arguments.steps)[0] for run in arguments.paper]
    if arguments.zero123:
        for guidance, name in ((3.0, "Zero-1-to-3"), (1.0, "Zero-1-to-3, unguided")):
            methods[name] = [zero123(run / "model", arguments.steps, guidance) for run in arguments.zero123]
    features = AutoencoderFeatures()
    cases = [case for index in range(arguments.objects) for case in object_cases(index, arguments)]
    lettered = [lettered_case(index, arguments) for index in range(arguments.lettered)]
    results = {}
    for name, views in methods.items():
        results[name] = table(views, cases, features)
        results[name][f"lettered, {LETTERED_TURN:g}"] = aggregated([scores(view, lettered, features) for view in views])
        print_rows(name, results[name])
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "results.json", results)
    report(arguments.out, methods, cases, lettered, results)
    print(arguments.out / "report.html")


def check_budgets(runs: list[Path], seed: int) -> None:
    """Refuse to compare what was not trained alike, or on these very objects."""
    if not runs:
        return
    settings = [json.loads((run / "settings.json").read_text()) for run in runs]
    for run, one in zip(runs, settings, strict=True):
        differing = [name for name in BUDGET if one.get(name) != settings[0].get(name)]
        if differing:
            raise SystemExit(f"{run}: expected the budget of {runs[0]}, got other values for {', '.join(differing)}.")
        done = int((run / "losses.jsonl").read_text().splitlines()[-1].split('"step": ')[1].split(",")[0])
        if done < one["steps"]:
            raise SystemExit(f"{run}: expected all of its {one['steps']} steps, got {done}; train it to the end.")
    if any(f"-{seed}-" in name for name in read_index(Path(settings[0]["shards"]))):
        raise SystemExit(f"--seed: expected objects that training has not seen, got {seed}, the seed of its shards.")
    for kind in ("unet", "image_encoder"):
        # a model that is not told the photo has no encoder for it
        files = [file for run in runs for file in (run / "model" / kind).glob("*.safetensors")]
        if not files:
            continue
        counts = [sum(math.prod(shape) for shape in check_safetensors(file).values()) for file in files]
        if max(counts) > 1.001 * min(counts):
            raise SystemExit(f"{kind}: expected models of one size, got {min(counts):,} to {max(counts):,} weights.")
        print(f"{kind}: {min(counts):,} to {max(counts):,} weights", flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--invs", type=Path, nargs="*", default=[])
    parser.add_argument("--paper", type=Path, nargs="*", default=[])
    parser.add_argument(
        "--weights", type=Path, nargs="*", default=[], help="iNVS models whose training is not on record"
    )
    parser.add_argument("--zero123", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=32)
    parser.add_argument("--lettered", type=int, default=SHOWN)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of the objects; the shards of training have seed 0")
    return parser.parse_args()


def object_cases(index: int, arguments: argparse.Namespace) -> list[Case]:
    """One object from one source view and a target view in each range."""
    rng = np.random.default_rng([arguments.seed, index, 1])
    mesh = procedural_object(np.random.default_rng([arguments.seed, index]))
    cameras = [camera(rng.uniform(0, 360), rng.uniform(0, 35), arguments.size)]
    for low, high in RANGES:
        while True:
            drawn = camera(rng.uniform(0, 360), rng.uniform(-10, 50), arguments.size)
            if low < rotation_angle(cameras[0], drawn) <= high:
                cameras.append(drawn)
                break
    return rendered_cases(mesh, cameras, rng)


def lettered_case(index: int, arguments: argparse.Namespace) -> Case:
    """A lettered object seen from the front, to be turned a little."""
    rng = np.random.default_rng([arguments.seed, index, 2])
    part = LETTERED[index % len(LETTERED)](rng, LetteredPaint(rng, 256))
    mesh = normalized(transformed(part, rotation(2, np.radians(-20 if index % len(LETTERED) == 0 else 75))))
    sign = 1 if index % 2 else -1
    cameras = [camera(-90, 15, arguments.size), camera(-90 + sign * LETTERED_TURN, 15, arguments.size)]
    return rendered_cases(mesh, cameras, rng)[0]


def camera(azimuth: float, elevation: float, size: int) -> Cameras:
    values = (torch.tensor([float(value)]) for value in (azimuth, elevation, 3.0))
    return object_cameras(*values, field_of_view=FIELD_OF_VIEW, size=size)


def rendered_cases(mesh: TexturedMesh, cameras: list[Cameras], rng: np.random.Generator) -> list[Case]:
    """The first camera is the source's."""
    together = Cameras(
        torch.cat([one.T_world_camera for one in cameras]), cameras[0].focal.repeat(len(cameras), 1),
        cameras[0].principal.repeat(len(cameras), 1), torch.zeros(len(cameras), 5), cameras[0].width, cameras[0].height,
    )  # fmt: skip
    sample = object_views(mesh, together, rng, samples=3, key="")
    color = sample.colors[0].float() / 255
    source = SourceView(color[..., :3], color[..., 3], sample.depths[0], cameras[0])
    side = cameras[0].width // DOWNSCALE
    noise = torch.from_numpy(rng.standard_normal((LATENT_CHANNELS, side, side), dtype=np.float32))
    return [
        Case(source, target, on_background(truth), truth[..., 3] > 127, rotation_angle(cameras[0], target), noise)
        for target, truth in zip(cameras[1:], sample.colors[1:], strict=True)
    ]


def seen_only(case: Case) -> Tensor:
    """What the photo shows, on white."""
    source = case.source
    return partial_view(source.color, source.depth, source.camera, case.target).image(hole=1.0)


def symmetric_guess(case: Case) -> Tensor:
    """What the photo shows, and where it shows nothing what a symmetric object would show, on white."""
    source = case.source
    return partial_view(source.color, source.depth, source.camera, case.target).symmetric_image(hole=1.0)


def invs(folder: Path, steps: int) -> tuple[View, View]:
    """The view with the photo's own pixels over it, and what the model made of it, computed once for both."""
    model, config = load_view_inpainter(folder), InvsConfig(steps=steps, reuse_angle=0.0)
    made: dict[int, NovelView] = {}

    def alone(case: Case) -> Tensor:
        if id(case) not in made:
            made[id(case)] = invs_view(case.source, case.target, model, config, noise=case.noise)
        return made[id(case)].image

    def pasted(case: Case) -> Tensor:
        image, partial = alone(case), made[id(case)].partial
        assert partial is not None
        return with_known_pixels(image, partial, InvsConfig())

    return pasted, alone


def zero123(folder: Path, steps: int, guidance: float) -> View:
    model = load_zero123(folder)

    def view(case: Case) -> Tensor:
        poses = pose_numbers(*pose_between(case.source.camera, case.target))
        source, noise = case.source.on_background[None], case.noise[None]
        return model.generate(source, poses, noise=noise, steps=steps, guidance=guidance)[0]

    return view


def table(views: list[View], cases: list[Case], features: AutoencoderFeatures) -> dict[str, dict[str, list[float]]]:
    """Range -> metric -> mean and standard deviation over the models."""
    rows = {}
    for low, high in RANGES:
        inside = [case for case in cases if low < case.angle <= high]
        rows[f"{low}-{high}"] = aggregated([scores(view, inside, features) for view in views])
    return rows


@torch.no_grad()
def scores(view: View, cases: list[Case], features: AutoencoderFeatures) -> dict[str, float]:
    """Means over the cases."""
    values = []
    for case in cases:
        image = view(case)
        pair = (picture.permute(2, 0, 1)[None] for picture in (image, case.truth))
        inside = psnr(image, case.truth, case.outline)
        distance = float(perceptual_distance(features, *pair))
        values.append((psnr(image, case.truth), inside, ssim(image, case.truth), distance))
    return dict(zip(("psnr", "psnr_inside", "ssim", "perceptual"), np.mean(values, 0).tolist(), strict=True))


def aggregated(runs: list[dict[str, float]]) -> dict[str, list[float]]:
    values = {name: [run[name] for run in runs] for name in runs[0]}
    return {name: [statistics.mean(v), statistics.stdev(v) if len(v) > 1 else 0.0] for name, v in values.items()}


def print_rows(name: str, rows: dict[str, dict[str, list[float]]]) -> None:
    for degrees, metrics in rows.items():
        text = "  ".join(f"{metric} {mean:.3f} ± {spread:.3f}" for metric, (mean, spread) in metrics.items())
        print(f"{name:<14}{degrees:>14} degrees  {text}", flush=True)


def report(out: Path, methods: dict[str, list[View]], cases: list[Case], lettered: list[Case], results: dict) -> None:
    """Pictures of the first model of each method, and the tables."""
    gallery = []
    spread = [case for start in range(len(RANGES)) for case in cases[start :: len(RANGES)][:2]]
    for title, chosen in (("lettered objects, 30 degrees", lettered[:SHOWN]), ("0 to more than 90 degrees", spread)):
        rows = [[case.source.on_background for case in chosen]]
        with torch.no_grad():
            rows += [[views[0](case) for case in chosen] for views in methods.values()]
        rows.append([case.truth for case in chosen])
        picture = torch.cat([torch.cat(row, 1) for row in rows], 0)
        gallery.append((f"{title}: photo, {', '.join(methods)}, truth", picture))
        write_png(out / f"{title.split(',')[0].replace(' ', '-')}.png", (picture * 255).round().byte().numpy())
    metrics = {
        f"{name}, {degrees} degrees": {metric: round(mean, 4) for metric, (mean, _) in row.items()}
        for name, rows in results.items()
        for degrees, row in rows.items()
    }
    seeds = ", ".join(f"{name}: {len(views)}" for name, views in methods.items() if views != [seen_only])
    page = Report(
        title="Novel views of held-out objects",
        summary={"objects": str(len(cases) // len(RANGES)), "models": seeds or "none"},
        comparisons=[],
        gallery=gallery,
        metrics=metrics,
        losses={},
        timings=[],
        notes=[],
    )
    write_report(out / "report.html", page)


if __name__ == "__main__":
    main()

"""How well the views of a turn agree, and what they show from behind: agreeing turns beside independent ones.

    python benchmarks/turns.py [--weights FOLDER] [--objects 8] [--frames 24] [--steps 20] --out runs/turns

Held-out procedural objects, one source view each, depth the renderer's. Disagreement is the mean difference of each
view and the next, warped onto it by the true depth, over the object; that of the true renders, which light and
resampling leave, stands beside it. Views that agree on another shape than the true one count as disagreeing; optical
flow, which knows nothing of the truth, cannot tell: it finds every blob in every other. From behind, at 120 degrees and
more, PSNR inside the true outline and the distance in the bundled autoencoder's features. The picture shows each
object's turn: true, agreeing, independent.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unscene.evaluation.consistency import view_consistency
from unscene.evaluation.metrics import psnr
from unscene.files import write_json, write_png
from unscene.geometry.cameras import Cameras
from unscene.geometry.partial_view import BACKGROUND, partial_view
from unscene.geometry.turntable import RelativePose, object_cameras, turntable
from unscene.losses.perceptual import perceptual_distance
from unscene.methods.invs import InvsConfig, invs_turn, invs_view
from unscene.objects.procedural import procedural_object
from unscene.pretraining.object_shards import ObjectSample
from unscene.pretraining.render_objects import FIELD_OF_VIEW, object_views
from unscene.pretraining.view_pairs import on_background
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.priors.novel_views.view_inpainter import BUNDLED, ViewInpainter, load_view_inpainter
from unscene.stages.object_source import SourceView

BACK = 120.0  # degrees from the photo on
ELEVATION, DISTANCE = 15.0, 3.0
SHOWN = 8  # views of a turn in the picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--steps", type=int, default=InvsConfig().steps)
    parser.add_argument("--seed", type=int, default=1, help="of the objects; the shards of training have seed 0")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model, config = load_view_inpainter(arguments.weights), InvsConfig(steps=arguments.steps)
    poses, features = turntable(arguments.frames), AutoencoderFeatures()
    rows: dict[str, list[dict[str, float]]] = {}
    pictures = []
    for index in range(arguments.objects):
        sample = true_turn(index, poses, model.size, arguments.seed)
        truth = [on_background(color) for color in sample.colors]
        made = {"true": truth} | turns(sample, poses, model, config, index)
        for kind, images in made.items():
            rows.setdefault(kind, []).append(measures(images, truth, sample, poses, features))
        step = max(1, len(poses) // SHOWN)
        pictures += [torch.cat(images[::step], 1) for images in made.values()]
        print_rows(rows, index + 1)
    means = {
        kind: {name: statistics.mean(row[name] for row in found) for name in found[0]} for kind, found in rows.items()
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "turns.json", means)
    write_png(arguments.out / "turns.png", (torch.cat(pictures).clamp(0, 1) * 255).round().byte().numpy())
    print(arguments.out / "turns.png")


def true_turn(index: int, poses: list[RelativePose], size: int, seed: int) -> ObjectSample:
    """The true views of all poses; the first is the photo's own."""
    rng = np.random.default_rng([seed, index, 3])
    mesh = procedural_object(np.random.default_rng([seed, index]))
    azimuth = rng.uniform(0, 360) + torch.tensor([pose.azimuth for pose in poses])
    even = torch.ones(len(poses))
    cameras = object_cameras(azimuth, ELEVATION * even, DISTANCE * even, field_of_view=FIELD_OF_VIEW, size=size)
    return object_views(mesh, cameras, rng, samples=3, key="")


def turns(
    sample: ObjectSample, poses: list[RelativePose], model: ViewInpainter, config: InvsConfig, seed: int
) -> dict[str, list[Tensor]]:
    """The turn's views made in every way, from equal noise."""
    color = sample.colors[0].float() / 255
    source = SourceView(color[..., :3], color[..., 3], sample.depths[0], sample.cameras[[0]])
    noise = torch.randn(model.latent_shape, generator=torch.Generator().manual_seed(seed))
    agreeing = dict(invs_turn(source, poses, model, config, noise=noise))
    targets = [source.target(pose) for pose in poses]
    independent = [invs_view(source, target, model, config, noise=noise) for target in targets]
    from_noise = dataclasses.replace(config, strength=1.0)
    paper = [invs_view(source, target, model, from_noise, noise=noise) for target in targets]
    shown = [partial_view(source.color, source.depth, source.camera, target) for target in targets]
    return {
        "agreeing": [agreeing[index].image for index in range(len(poses))],
        "independent": [view.image for view in independent],
        "from noise": [view.image for view in paper],
        "symmetric": [view.symmetric_image(hole=BACKGROUND) for view in shown],
    }


@torch.no_grad()
def measures(
    images: list[Tensor], truth: list[Tensor], sample: ObjectSample, poses: list[RelativePose],
    features: AutoencoderFeatures,
) -> dict[str, float]:  # fmt: skip
    outlines = sample.colors[..., 3] > 127
    # once around: the first view follows the last
    around = [*range(len(images)), 0]
    cameras: Cameras = sample.cameras[around]
    depths = [torch.where(outlines[view], sample.depths[view], 1e3) for view in around]
    behind = [index for index, pose in enumerate(poses) if BACK <= pose.azimuth <= 360 - BACK]
    pairs = [[image.permute(2, 0, 1)[None] for image in (images[index], truth[index])] for index in behind]
    return {
        "disagreement": view_consistency(cameras, [images[v] for v in around], depths, outlines[around]),
        "back_psnr_inside": statistics.mean(psnr(images[i], truth[i], outlines[i]) for i in behind),
        "back_perceptual": statistics.mean(float(perceptual_distance(features, *pair)) for pair in pairs),
    }


def print_rows(rows: dict[str, list[dict[str, float]]], count: int) -> None:
    for kind, found in rows.items():
        means = {name: statistics.mean(row[name] for row in found) for name in found[0]}
        text = "  ".join(f"{name} {value:.4f}" for name, value in means.items())
        print(f"{count} objects  {kind:<12}  {text}", flush=True)


if __name__ == "__main__":
    main()

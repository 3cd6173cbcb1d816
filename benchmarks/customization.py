"""What teaching a prior the scene changes: inpainting loss on held-out views, and how alike independent fills become.

    python benchmarks/customization.py [SCENE] [--scale 4] [--prior bundled] [--seeds 3] [--json FILE]

Every eighth view is held out. The loss is the denoising error inside random rectangles of the held-out views, the
object's mask left out; crops, rectangles, noise levels and noise are the same before and after. Agreement is measured
on eight views, their object masks filled from independent noise: the mean similarity of the fills' perceptual hashes
(higher is better), and the mean difference of the fills shrunk to 16 x 16 pixels (lower is better).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import unscene
from unscene.priors.choose import load_prior
from unscene.priors.diffusion.customize import SceneCustomization, draw_crops, draw_rectangles
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene
from unscene.stages.customization import CustomizationConfig, customize_prior, photo_and_object
from unscene.stages.view_choice import hash_similarity, perceptual_hash
from unscene.training.checkpoints import Checkpoints

CROPS, BATCH, VIEWS, SMALL = 96, 8, 8, 16


def validation_loss(customization: SceneCustomization, scene: Scene) -> float:
    """Inpainting loss on crops of the held-out views."""
    generator, side, losses = torch.Generator().manual_seed(1234), customization.crop, []
    for _ in range(CROPS // BATCH):
        photos, objects = draw_crops(
            lambda view: photo_and_object(scene, view), BATCH, scene.test.tolist(), side, 0.5, generator
        )
        holes = draw_rectangles(BATCH, side, side, generator)
        losses.append(customization.validation_loss(photos, objects, holes, generator))
    return statistics.mean(losses)


def agreement(model: LatentDiffusionInpainter, scene: Scene) -> tuple[float, float]:
    """Similarity and difference of independent fills of the object's mask, over all pairs of views."""
    assert scene.masks is not None
    chosen = scene.train[torch.linspace(0, len(scene.train) - 1, VIEWS).round().long()]
    generator, fills = torch.Generator().manual_seed(99), []
    for view in chosen.tolist():
        image, mask = scene.image(view)[None], scene.masks[view][None]
        size = model.latent_size(*image.shape[1:3])
        noise = torch.randn(1, model.latent_channels, *size, generator=generator)
        fills.append((model.inpaint_latent(image, mask, noise=noise, steps=20)[0], mask[0]))
    hashes = [perceptual_hash(image, mask) for image, mask in fills]
    small = [_box_of(image, mask) for image, mask in fills]
    pairs = list(itertools.combinations(range(VIEWS), 2))
    alike = statistics.mean(float(hash_similarity(hashes[a], hashes[b])) for a, b in pairs)
    apart = statistics.mean(float((small[a] - small[b]).abs().mean()) for a, b in pairs)
    return alike, apart


def _box_of(image: Tensor, mask: Tensor) -> Tensor:
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].permute(2, 0, 1)[None]
    return F.interpolate(box, (SMALL, SMALL), mode="area")


def measure(scene: Scene, prior: str, seed: int) -> dict[str, float]:
    """One customisation and all figures before and after it."""
    fresh = load_prior(prior)
    assert isinstance(fresh, LatentDiffusionInpainter), f"{prior} is no diffusion prior"
    before = agreement(fresh, scene)
    untaught = SceneCustomization(fresh, CustomizationConfig().model, torch.Generator().manual_seed(seed))
    loss_before = validation_loss(untaught, scene)
    model = load_prior(prior)
    assert isinstance(model, LatentDiffusionInpainter)
    started = time.monotonic()
    events = customize_prior(model, scene, CustomizationConfig(), Checkpoints(None, seed), strongest=1.0)
    while True:
        try:
            next(events)
        except StopIteration as finished:
            taught: SceneCustomization = finished.value
            break
    seconds = time.monotonic() - started
    loss_after = validation_loss(taught, scene)
    after = agreement(taught.finish(), scene)
    return {
        "loss before": loss_before, "loss after": loss_after, "similarity before": before[0],
        "similarity after": after[0], "difference before": before[1], "difference after": after[1], "seconds": seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path, nargs="?", help="scene folder; default: the bundled still life")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--prior", default="bundled")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.scene:
        scene = load_scene(arguments.scene, scale=arguments.scale, holdout=8)
    else:
        life = unscene.still_life()
        scene = life.subset(life.train).with_holdout(8)  # its test views show what is behind the object
    runs = []
    for seed in range(arguments.seeds):
        runs.append(measure(scene, arguments.prior, seed))
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.4f}" for name, value in runs[-1].items()), flush=True)
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:20}{statistics.mean(values):10.4f}   {min(values):.4f} to {max(values):.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(runs, indent=2))


if __name__ == "__main__":
    main()

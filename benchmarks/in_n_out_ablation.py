"""In-N-Out's ablation on the still life: what ELA, ILA and the patch losses are worth here.

    python benchmarks/in_n_out_ablation.py --out runs/in-n-out [--seeds 3] [--effort 0.35] [--json FILE]

The paper's rows, at two strengths of the bundled model, which is taught the scene first: 0.5 and 1, from noise. Rows of
a seed share its reconstruction and its taught prior; rows of a strength the base view and the field that knows it; rows
of the same alignment its inpainted views. What was finished is not computed again, and an --out made with other
settings is refused. Columns, inside the object mask: of the twenty test views, all without the object, PSNR, distance
in the features of the bundled autoencoder (which taught nothing), sharpness (variance of the Laplacian, relative to the
truth's) and inconsistency (each render warped into the next by true depth, mean absolute difference); and of the
inpainted views before the field sees them, `views`: the same difference between neighbouring inpainted views, inside
what was inpainted.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path

import torch
from tables import QUALITY, claim, disagreement, finish, print_table, removal_figures
from torch import Tensor

from unscene.files import write_json
from unscene.geometry.masks import dilate
from unscene.losses.oriented_energies import OrientedEnergies
from unscene.methods.in_n_out import InNOutConfig, in_n_out
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.stages.customization import CustomizationConfig, customize_prior
from unscene.stages.view_choice import spread, views_with_holes
from unscene.training.checkpoints import Checkpoints
from unscene.training.fit import FitConfig

STRENGTHS = (0.5, 1.0)
PATCH = InNOutConfig().patch
ROWS: dict[str, dict] = {
    "full": {},
    "no ELA": {"ela": False},
    "no ILA": {"ila": False},
    "no ELA, no ILA": {"ela": False, "ila": False},
    "no patch loss": {"patch_loss": False},
    "no perceptual": {"patch": dataclasses.replace(PATCH, perceptual=False)},
    "no adversary": {"patch": dataclasses.replace(PATCH, adversarial=False)},
}
BASE = InNOutConfig(reconstruction=FitConfig(steps=1700, final_learning_rate=3e-3), most_views=16)
OF_SEED = ("reconstruction.safetensors", "customise-the-prior.safetensors")
OF_STRENGTH = ("base-view.safetensors", "single-view-prior.safetensors")
OF_ALIGNMENT = ("aligned-inpainting.safetensors",)


def run_row(name: str, strength: float, seed: int, out: Path, effort: float) -> dict[str, float]:
    """Remove the object under one row's flags; its figures."""
    folder = out / f"seed-{seed}" / f"strength-{strength:g}" / name.replace(" ", "-").replace(",", "")
    done = folder / "figures.json"
    if done.is_file():
        return json.loads(done.read_text())
    started, scene = time.monotonic(), still_life()
    assert scene.masks is not None
    grown = scene.with_masks(dilate(scene.masks, 2))
    config = dataclasses.replace(BASE, **ROWS[name])
    scaled = {stage: getattr(config, stage).scaled(effort) for stage in ("reconstruction", "prior", "joint")}
    config = dataclasses.replace(config, **scaled)
    alignment = folder.parent / f"ela-{config.ela}-ila-{config.ila}"
    shared = {
        folder.parent.parent: OF_SEED,
        folder.parent: OF_STRENGTH,
        alignment: OF_ALIGNMENT,
    }
    _copy(shared, folder / "checkpoint", back=False)
    checkpoints = Checkpoints(folder / "checkpoint", seed)
    prior = LatentDiffusionInpainter.load()
    taught = customize_prior(prior, grown, CustomizationConfig(), checkpoints, strongest=1.0)
    prior = finish(taught).finish().with_settings(strength=strength)
    removal = finish(in_n_out(grown, prior, OrientedEnergies(), config, checkpoints))
    _copy(shared, folder / "checkpoint", back=True)
    figures = removal_figures(scene, removal.field, folder)
    figures["views"] = inpainted_disagreement(grown, removal.filled, folder / "checkpoint")
    figures["seconds"] = time.monotonic() - started
    write_json(done, figures)
    return figures


def inpainted_disagreement(scene: Scene, region: Tensor, checkpoint: Path) -> float:
    """Of neighbouring inpainted views, the base view among them, before any field has seen them."""
    saved = Checkpoints(checkpoint, 0)
    base, aligned = saved.product("base view"), saved.product("aligned inpainting")
    assert base is not None and aligned is not None
    base_view = int(base["view"])
    views = spread(views_with_holes(region, scene.train[scene.train != base_view]), BASE.most_views)
    pictures = {view: image.float() / 255 for view, image in zip(views.tolist(), aligned["images"], strict=True)}
    pictures[base_view] = base["image"]
    order = torch.tensor(sorted(pictures))
    return disagreement(scene, order, [pictures[view] for view in order.tolist()], region[order])


def _copy(shared: dict[Path, tuple[str, ...]], checkpoint: Path, *, back: bool) -> None:
    """Bring shared stages to a row's checkpoint, or back from it; what is there stays."""
    for folder, names in shared.items():
        for name in names:
            source, target = (checkpoint, folder) if back else (folder, checkpoint)
            if (source / name).is_file() and not (target / name).is_file():
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(source / name, target / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--effort", type=float, default=0.35)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    claim(arguments.out, {"base": dataclasses.asdict(BASE), "effort": arguments.effort})
    table: dict[str, list[dict[str, float]]] = {
        f"{name}, strength {strength:g}": [] for strength in STRENGTHS for name in ROWS
    }
    for seed in range(arguments.seeds):
        for strength in STRENGTHS:
            for name in ROWS:
                figures = run_row(name, strength, seed, arguments.out, arguments.effort)
                row = f"{name}, strength {strength:g}"
                table[row].append(figures)
                print(f"seed {seed}, {row}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
    print_table(table, {**QUALITY, "views": 4})
    if arguments.json:
        write_json(arguments.json, table)


if __name__ == "__main__":
    main()

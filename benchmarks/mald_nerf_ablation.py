"""MALD-NeRF's ablation on the still life: what its losses and its customisation are worth here.

    python benchmarks/mald_nerf_ablation.py --out runs/ablation [--seeds 3] [--effort 0.35] [--json FILE]

The paper's six rows, each on the same seeds. Rows of a seed share its reconstruction, its customised prior and that
one's first inpaintings, which no flag of theirs changes; what was finished is not computed again, and an --out made
with other settings is refused. Measured on the twenty test views, all without the object: PSNR inside the mask,
distance in the features of the bundled autoencoder, sharpness (variance of the Laplacian, relative to the truth's), and
inconsistency (each render warped into the next by true depth, mean absolute difference inside the masks; the truth's
own is printed; blur lowers it too).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import statistics
import time
from pathlib import Path

from tables import QUALITY, claim, disagreement, finish, print_table, removal_figures

from unscene.files import write_json
from unscene.geometry.masks import dilate
from unscene.losses.oriented_energies import OrientedEnergies
from unscene.methods.mald_nerf import MaldNerfConfig, mald_nerf
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.scenes.still_life import still_life
from unscene.stages.customization import CustomizationConfig, customize_prior
from unscene.stages.dataset_update import noise_bounds
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, GameHealth, Note
from unscene.training.fit import FitConfig

ROWS: dict[str, dict] = {
    "no adversarial + L1": {"adversarial": False, "pixel_loss": "l1"},
    "no adversarial + perceptual": {"adversarial": False, "pixel_loss": "perceptual"},
    "full + L1": {"pixel_loss": "l1"},
    "full + perceptual": {"pixel_loss": "perceptual"},
    "no customisation": {"customize": False},
    "full": {},
}
BASE = MaldNerfConfig(reconstruction=FitConfig(steps=1700, final_learning_rate=3e-3), most_views=16)
SHARED = ("reconstruction.safetensors", "customise-the-prior.safetensors", "inpaint-every-view.safetensors")


def run_row(name: str, flags: dict, seed: int, folder: Path, effort: float) -> dict[str, float]:
    """Remove the object under one row's flags; its figures."""
    done = folder / "figures.json"
    if done.is_file():
        return json.loads(done.read_text())
    started = time.monotonic()
    scene = still_life()
    assert scene.masks is not None
    grown = scene.with_masks(dilate(scene.masks, 2))
    config = dataclasses.replace(BASE, **flags)
    config = dataclasses.replace(
        config, reconstruction=config.reconstruction.scaled(effort), training=config.training.scaled(effort)
    )
    (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
    sharing = SHARED if config.customize else SHARED[:1]
    for shared in sharing:
        if (folder.parent / shared).is_file() and not (folder / "checkpoint" / shared).is_file():
            shutil.copy(folder.parent / shared, folder / "checkpoint" / shared)
    checkpoints = Checkpoints(folder / "checkpoint", seed)
    prior = LatentDiffusionInpainter.load()
    if config.customize:
        strongest = max(prior.strength, noise_bounds(prior, config.update)[0])
        taught = customize_prior(prior, grown, CustomizationConfig(), checkpoints, strongest=strongest)
        prior = finish(taught).finish()
    events: list[Event] = []
    removal = finish(mald_nerf(grown, prior, OrientedEnergies(), config, checkpoints), events.append)
    for shared in sharing:
        if (folder / "checkpoint" / shared).is_file() and not (folder.parent / shared).is_file():
            shutil.copy(folder / "checkpoint" / shared, folder.parent / shared)

    health = [event for event in events if isinstance(event, GameHealth)]
    figures = removal_figures(scene, removal.field, folder) | {
        "accuracy": statistics.mean(e.accuracy for e in health) if health else float("nan"),
        "rollbacks": sum("back to step" in e.text for e in events if isinstance(e, Note)),
        "seconds": time.monotonic() - started,
    }
    write_json(done, figures)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--effort", type=float, default=0.35)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    claim(arguments.out, {"base": dataclasses.asdict(BASE), "effort": arguments.effort})
    scene = still_life()
    assert scene.masks is not None
    photos = [scene.image(view) for view in scene.test.tolist()]
    own = disagreement(scene, scene.test, photos, scene.masks[scene.test])
    print(f"the true images' own inconsistency: {own:.4f}", flush=True)
    table: dict[str, list[dict[str, float]]] = {name: [] for name in ROWS}
    for seed in range(arguments.seeds):
        for name, flags in reversed(ROWS.items()):  # the full method first: its customised prior serves the others
            folder = arguments.out / f"seed-{seed}" / name.replace(" ", "-")
            figures = run_row(name, flags, seed, folder, arguments.effort)
            table[name].append(figures)
            print(f"seed {seed}, {name}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
    print_table(table, QUALITY)
    if arguments.json:
        write_json(arguments.json, table)


if __name__ == "__main__":
    main()

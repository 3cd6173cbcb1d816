"""What `--clean` changes of a field fitted to a bundled scene: PSNR of test views outside the object's mask.

python benchmarks/cleaning.py [--scene still-life|room] [--every N] [--seed S] [--further N]

Each row is measured with and without: right after the reconstruction, and after some further steps of it, as removals
go on from there.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch

from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.jobs.running import drain, with_grown_masks
from unscene.methods.in_n_out import InNOutConfig
from unscene.scenes.room import room
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.stages.cleaning import drop_unsupported
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, ignore
from unscene.training.fit import fit

MARGIN = 2  # pixels, the default --mask-margin


def outside_masks(nerf: Nerf, scene: Scene) -> float:
    """Mean PSNR of the test views outside their masks, dB."""
    assert scene.masks is not None
    values = []
    for view in scene.test.tolist():
        error = (render_view(nerf, scene.cameras, view).color - scene.image(view))[~scene.masks[view]]
        values.append(-10 * error.square().mean().log10())
    return float(torch.stack(values).mean())


def tell(event: Event) -> None:
    if isinstance(event, Note):
        print(event.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", choices=("still-life", "room"), default="room")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--further", type=int, default=300)
    options = parser.parse_args()
    whole = room() if options.scene == "room" else still_life()
    scene, config = with_grown_masks(whole.thinned(options.every), MARGIN), InNOutConfig()
    checkpoints = Checkpoints(None, options.seed)
    nerf = Nerf.around(scene.cameras[scene.train], config.nerf, checkpoints.generator("field"))
    unmasked = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays, error=config.pixel_error)
    drain(reconstruct(unmasked, config.reconstruction, checkpoints), ignore)
    fitted = {name: tensor.clone() for name, tensor in nerf.state_dict().items()}
    further = replace(config.reconstruction, steps=options.further, learning_rate=5e-3, final_learning_rate=2e-3)
    rows: dict[str, list[float]] = {}
    for name in ("as it is", "cleaned"):
        nerf.confine(None)
        nerf.load_state_dict(fitted)
        if name == "cleaned":
            drain(drop_unsupported(nerf, scene, checkpoints), tell)
        rows[name] = [outside_masks(nerf, scene)]
        drain(fit("further", nerf, unmasked, further, checkpoints, rays_per_step=config.rays, native=True), ignore)
        rows[name].append(outside_masks(nerf, scene))
    print(f"{options.scene}, {len(scene.train)} photos, seed {options.seed}: test views outside masks, dB")
    for name, (first, last) in rows.items():
        print(f"{name:10} {first:.2f}   after {options.further} further steps {last:.2f}")


if __name__ == "__main__":
    main()

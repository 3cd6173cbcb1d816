"""How well a removal knows what other photos show behind the object, against the bundled scenes' true depth.

python benchmarks/known_surfaces.py [--scene still-life|room] [--every N] [--seed S] [--steps N] [--field nerf|splats]

A masked pixel of a training photo is truly known if two other training photos see its true surface outside their masks.
Precision: of what is taken to be known; recall: of what is known. Also how exact the field's depth is, as the share of
unmasked pixels whose error is below 4 %.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.fields.splats import Splats
from unscene.geometry.masks import VisibilityConfig, unseen_by_all
from unscene.jobs.running import drain
from unscene.methods.in_n_out import InNOutConfig
from unscene.scenes.room import room
from unscene.scenes.room import true_depth as room_depth
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import still_life
from unscene.scenes.still_life import true_depth as still_life_depth
from unscene.stages.reconstruction import UnmaskedReconstruction, reconstruct
from unscene.stages.splat_learner import SplatRemovalConfig, visible_gaussians
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import ignore

WITNESSES, SAME = 2, 0.02  # photos that must see a surface, and up to which relative difference of true depth they do


def truly_known(scene: Scene, depths: Tensor) -> Tensor:
    """The masked pixels of the training views that other ones see, T H W bool. depths: T h w, true."""
    assert scene.masks is not None
    cameras, masks = scene.cameras[scene.train], scene.masks[scene.train]
    full = F.interpolate(depths[:, None], masks.shape[1:])[:, 0]
    rule = VisibilityConfig(views=WITNESSES, depth_tolerance=SAME, observers=len(cameras))
    unseen = [unseen_by_all(view, full[view][mask], masks, depths, cameras, rule) for view, mask in enumerate(masks)]
    return masks & ~torch.stack(unseen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", choices=("still-life", "room"), default="room")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=InNOutConfig().reconstruction.steps)
    parser.add_argument("--field", choices=("nerf", "splats"), default="nerf")
    options = parser.parse_args()
    whole, true_depth = (room(), room_depth) if options.scene == "room" else (still_life(), still_life_depth)
    scene, config = whole.thinned(options.every), InNOutConfig()
    assert scene.masks is not None
    depths = torch.stack([true_depth(whole.names.index(scene.names[view])) for view in scene.train.tolist()])

    checkpoints = Checkpoints(None, options.seed)
    nerf = Nerf.around(scene.cameras[scene.train], config.nerf, checkpoints.generator("field"))
    unmasked = UnmaskedReconstruction(nerf, scene, config.regularizer, rays=config.rays, error=config.pixel_error)
    drain(reconstruct(unmasked, replace(config.reconstruction, steps=options.steps), checkpoints), ignore)
    field = nerf
    if options.field == "splats":
        learnt = drain(visible_gaussians(nerf, scene, SplatRemovalConfig(), checkpoints), ignore)
        field = Splats.around(scene.cameras[scene.train], learnt.gaussians)
    _, _, region = drain(look_behind(field, scene, config.visibility, "unseen"), ignore)

    masks, known = scene.masks[scene.train], truly_known(scene, depths)
    told = masks & ~region[scene.train]
    half = scene.cameras[scene.train].resized(depths.shape[2], depths.shape[1])
    rendered = torch.stack([render_view(field, half, view).depth for view in range(len(half))])
    visible = (F.max_pool2d(masks[:, None].float(), 2)[:, 0] == 0) & (depths > 0)
    exact = ((rendered / depths - 1).abs() < 0.04)[visible].float().mean()
    right, taken = (told & known).sum(), told.sum().clamp_min(1)
    print(
        f"{options.scene}, {len(scene.train)} photos, {options.field}, seed {options.seed}: "
        f"{known.sum() / masks.sum():.0%} of the masked pixels are known, {told.sum() / masks.sum():.0%} taken to be; "
        f"precision {right / taken:.3f}, recall {right / known.sum():.3f}; unmasked depth exact to 4 %: {exact:.0%}"
    )


if __name__ == "__main__":
    main()

"""The surfaces that photos show, from a field that is fitted to all of them in a minute."""

from __future__ import annotations

from collections.abc import Generator

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.scenes.scene import Scene
from unscene.segmentation.full_size import reduced
from unscene.segmentation.surfaces import Surfaces, median_depths
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event
from unscene.training.fit import FitConfig, fit
from unscene.training.photo_depths import depth_term_of_few
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels

QUICK_FIT, RAYS = FitConfig(steps=800, learning_rate=2e-2), 4608  # enough for depths


def fit_surfaces(
    scene: Scene, nerf: NerfConfig, config: FitConfig, rays: int, checkpoints: Checkpoints, *, stage: str = "fit"
) -> Generator[Event, None, Surfaces]:
    """What the photos show, objects and all, from a field fitted to them; its depths are kept with the checkpoints.

    config: how long it learns, by so many ``rays`` a step; stage: what that is called.
    """
    small = reduced(scene)
    if (kept := checkpoints.product("depths")) is None:
        field = Nerf.around(scene.cameras[scene.train], nerf, checkpoints.generator("field"))
        field = field.to(scene.device)
        pixels = PixelSampler(scene, training_pixels(scene))
        told = yield from depth_term_of_few(scene.with_masks(None), checkpoints)
        objective = PixelReconstruction(
            field, scene.cameras, pixels, RegularizerConfig(), rays=rays, depth_term=told
        )  # fmt: skip
        yield from fit(stage, field, objective, config, checkpoints, rays_per_step=rays, native=field.is_native)
        kept = {"depths": (yield from median_depths(field, small.cameras)).cpu()}
        checkpoints.save("depths", kept, finished=True)
    return Surfaces.of(small, kept["depths"].numpy())

"""Gaussians as all methods teach them: what photos show around the masks, then what is behind the object.

A radiance field first tells where surfaces are; Gaussians begin there and learn the photos. New ones begin at the
surfaces behind the object, and learn what a method says of patches and pixels while those around the hole are told on.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from unscene.fields.field import Window
from unscene.fields.nerf import Nerf, NerfConfig
from unscene.fields.splats import Splats, TracedGaussians
from unscene.geometry.masks import bounding_box
from unscene.losses.rays import PixelError
from unscene.scenes.scene import Scene
from unscene.stages.hidden_surfaces import complete_surfaces
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.patches import Patch
from unscene.stages.reconstruction import Shown, UnmaskedReconstruction, reconstruct
from unscene.stages.splat_filling import SplatFilling, SplatFillingConfig, learn, slices
from unscene.stages.splat_planting import KnownSpace, Wanted, mend, plant
from unscene.stages.splat_reconstruction import SplatConfig, learn_photos
from unscene.stages.splat_start import gaussians_at_depths
from unscene.stages.splat_surroundings import at_the_hole
from unscene.stages.view_choice import views_with_holes
from unscene.stages.views_between import with_views_between
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import Companion, FitConfig, Objective
from unscene.training.photo_depths import are_few
from unscene.training.pixels import PixelSampler, RegularizerConfig, unmasked_training_pixels
from unscene.training.splats import keep_in_range


@dataclass(frozen=True)
class SplatRemovalConfig:
    """A removal's settings where the field is made of Gaussians; those that are not about rays are the method's own."""

    gaussians: SplatConfig = field(default_factory=SplatConfig)
    """How many there are, and how they learn photos."""
    photos: FitConfig = field(
        default_factory=lambda: FitConfig(steps=700, learning_rate=8e-2, final_learning_rate=8e-3)
    )
    """Stage 1: the photos around the masks, from the depths of the method's reconstruction on."""
    surroundings: FitConfig = field(
        default_factory=lambda: FitConfig(steps=300, learning_rate=2e-2, final_learning_rate=1e-3)
    )
    """Of a given splat: what the object's Gaussians showed beside it."""
    filling: SplatFillingConfig = field(default_factory=SplatFillingConfig)
    """How the inpainted views are learnt."""
    prior: FitConfig = field(default_factory=lambda: FitConfig(steps=300, learning_rate=2e-2, final_learning_rate=5e-3))
    """In-N-Out's stage 1, with the base views; of other methods the step sizes, as their own are a radiance field's."""
    joint: FitConfig = field(default_factory=lambda: FitConfig(steps=300, learning_rate=8e-3, final_learning_rate=1e-3))
    """In-N-Out's stage 3."""
    settling: FitConfig = field(
        default_factory=lambda: FitConfig(steps=700, learning_rate=1.6e-2, final_learning_rate=5e-4)
    )
    """Of a given splat, at the end: what it showed outside the masks."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "the field is Gaussian splats, which learn views or windows of them, not scattered rays",
        "new Gaussians are put on the surfaces behind the object, which the inpainted views' depths tell",
        "Gaussians that have learnt the photos stay as they are while the hole is filled, but for those at its border",
    )
    """What a run on Gaussians does otherwise than the paper besides."""


def reconstruct_visible(
    scene: Scene, nerf: NerfConfig, regularizer: RegularizerConfig, fitting: FitConfig, checkpoints: Checkpoints, *,
    rays: int, error: PixelError = "charbonnier", clean: bool = False, splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Learner]:  # fmt: skip
    """A field of what photos show around the masks: a radiance field, or, with ``splats``, Gaussians that begin at its
    depths. clean: drop density that no photo supports."""
    field = Nerf.around(scene.cameras[scene.train], nerf, checkpoints.generator("field"))
    known = UnmaskedReconstruction(field, scene, regularizer, rays=rays, error=error)
    yield from reconstruct(known, fitting, checkpoints, clean=clean)
    if splats is None:
        return known
    return SplatLearner(scene, (yield from visible_gaussians(field, scene, splats, checkpoints)), splats)


def visible_gaussians(
    nerf: Nerf, scene: Scene, config: SplatRemovalConfig, checkpoints: Checkpoints
) -> Generator[Event, None, TracedGaussians]:
    """Gaussians that have learnt the unmasked pixels, from the depths of a radiance field on."""
    known, photos = unmasked_training_pixels(scene), len(scene)
    count, generator = min(config.gaussians.count, config.gaussians.most), checkpoints.generator("splat start")
    start = gaussians_at_depths(nerf, scene, count, config.gaussians.degree, generator, known)
    if are_few(scene):
        scene, known = yield from with_views_between(scene, nerf, known)
        more = len(scene) - photos
        yield Note(f"few photos: Gaussians learn {more} views between them, too, as the radiance field has them")
    learnt = yield from learn_photos(scene, start, config.gaussians, config.photos, checkpoints, known)
    return TracedGaussians(learnt.still, torch.full((len(learnt.still),), -1))


def begin_at_surfaces(
    traced: TracedGaussians, scene: Scene, region: Tensor, depths: Tensor, wanted: Sequence[Wanted], surfaces: Tensor
) -> Generator[Event, None, tuple[TracedGaussians, Tensor]]:
    """Gaussians with new ones for what a region (N H W bool) hides, and which of them learn what that is, M bool: the
    new ones and those at its border.

    depths: T h w, of the training views; wanted: inpainted views with their depths; surfaces: N h w, where these show
    nothing, see `complete_surfaces`.
    """
    assert scene.masks is not None
    around, train = scene.cameras[scene.train], scene.train
    cleared, border = at_the_hole(traced, scene, region)
    space = KnownSpace(around, ~scene.masks[train], depths)
    planted = plant(cleared, scene.cameras, wanted, space)
    planted = mend(planted, scene.cameras, views_with_holes(region, train), region, surfaces, space)
    new = len(planted) - len(cleared)
    yield Note(f"{new:,} new Gaussians begin at the surfaces behind the object")
    return planted, torch.cat([border, border.new_ones(new)])


class SplatLearner:
    """Gaussians that know what photos show around the masks; the counterpart of `UnmaskedReconstruction`, which they
    answer like. ``begin_behind`` makes them ready to learn what is behind the object.

    A step looks at one window around a view's mask, where rays would be scattered over all views.
    """

    def __init__(
        self, scene: Scene, traced: TracedGaussians, config: SplatRemovalConfig, learns: Tensor | None = None,
        region: Tensor | None = None,
    ):  # fmt: skip
        """learns: M bool, those of the Gaussians that learn what is hidden in ``region`` (N H W bool)."""
        self.scene, self.traced, self.config, self.region = scene, traced, config, region
        self.field = Splats.around(scene.cameras[scene.train], traced.gaussians, learns)
        if region is not None:
            self.filling = self.filling_with([])

    def filling_with(self, inpainted: Sequence[InpaintedView]) -> SplatFilling:
        """The objective that inpainted views and what is known around the hole are."""
        assert self.scene.masks is not None and self.region is not None
        masks = self.scene.masks
        return SplatFilling(self.field, self.scene, ~masks, masks, self.region, inpainted, self.config.filling)

    def terms_and_patches(
        self, step: int, generator: torch.Generator, count: int, patches: Sequence[Patch], where: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Shown]:
        """The terms of one step on what is known, and what patches show: all of their pixels, one patch after the other
        and row by row, or those of them at ``where``. count: of rays, which there are none of."""
        terms = self._known_terms(step, generator)
        shown = [self.field.show(self.scene.cameras, patch.view, patch.part) for patch in patches]
        color = torch.cat([window.color.flatten(0, 1) for window in shown])
        depth = torch.cat([window.depth.flatten() for window in shown])
        return terms, Shown(color, depth) if where is None else Shown(color[where], depth[where])

    def terms_and_hidden(
        self, step: int, generator: torch.Generator, count: int, hidden: PixelSampler, hidden_count: int
    ) -> tuple[dict[str, Tensor], Shown, Tensor]:
        """The same, and those of other pixels that one view shows; which of them they are."""
        terms = self._known_terms(step, generator)
        shown, places = self._shown(hidden, generator, learns_geometry=True)
        return terms, shown, places

    def colors_of_hidden(
        self, hidden: PixelSampler, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Colours of those of the pixels that one view shows, C 3, from which geometry does not learn; which, C."""
        shown, places = self._shown(hidden, generator, learns_geometry=False)
        return shown.color, places

    def _known_terms(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        keep_in_range(self.field)  # what compares features of patches would have colours that there are not
        return self.filling(step, 0.0, generator)

    def _shown(
        self, hidden: PixelSampler, generator: torch.Generator, *, learns_geometry: bool
    ) -> tuple[Shown, Tensor]:  # fmt: skip
        places = hidden.of_a_view(generator)
        pixels = hidden.index[places].long()
        view, where = int(pixels[0]) // hidden.pixels, torch.zeros(hidden.pixels, dtype=torch.bool)
        where[pixels.cpu() % hidden.pixels] = True
        where = where.view(hidden.height, hidden.width)
        top, left, bottom, right = bounding_box(where)
        window = Window(left, top, right - left, bottom - top)
        render = self.field.show(self.scene.cameras, view, window, learns_geometry=learns_geometry)
        seen = where[slices(window)].to(render.depth.device)
        return Shown(render.color[seen], render.depth[seen]), places

    def begin_behind(
        self, scene: Scene, region: Tensor, depths: Tensor, wanted: Sequence[Wanted], checkpoints: Checkpoints
    ) -> Generator[Event, None, SplatLearner]:
        """The same with new Gaussians at the surfaces behind the object, see `begin_at_surfaces`; of all only those and
        the ones at the hole's border learn from then on. scene: photos with what is known behind the object."""
        surfaces = yield from complete_surfaces(scene, region, depths, checkpoints)
        planted, learns = yield from begin_at_surfaces(self.traced, scene, region, depths, wanted, surfaces)
        return SplatLearner(scene, planted, self.config, learns, region)

    def learn(
        self, stage: str, objective: Objective, config: FitConfig, checkpoints: Checkpoints, *, known: int, more: int,
        companion: Companion | None = None,
    ) -> Generator[Event, None, None]:  # fmt: skip
        """Fit the Gaussians for as many steps as the method has, at their own step sizes; an objective that looks at
        what is known and at ``more`` pixels besides."""
        rates = self.config.prior
        schedule = replace(
            config, learning_rate=rates.learning_rate, final_learning_rate=rates.final_learning_rate
        )  # fmt: skip
        pixels = self.filling.pixels + more
        yield from learn(stage, self.field, objective, schedule, checkpoints, pixels=pixels, companion=companion)

    @property
    def whole(self) -> Splats:
        """All Gaussians with what they have learnt, none of them kept apart."""
        return Splats.around(self.scene.cameras[self.scene.train], self.field.still)


Learner = UnmaskedReconstruction | SplatLearner
"""A field that knows what photos show around the masks, and learns what a method says of what is behind them."""

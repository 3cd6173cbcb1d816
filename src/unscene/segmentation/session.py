"""Selecting an object by pointing at it: opened once for a scene, then prompted, edited and painted at leisure.

    session = Session(Surfaces.of(scene, depths))
    selection = session.select(Click(view, x, y))             # what it is in 3D
    session.rough_masks(selection, [view])                    # shown at once
    selection = session.edit(selection, Click(5, 80, 60, wanted=False))
    masks = session.masks(selection)                          # of all views, along the photos' edges

Selections are values: to undo is to keep the one before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np

from unscene.segmentation.minimum_cut import minimum_cut
from unscene.segmentation.outlines import tidied
from unscene.segmentation.photo_segmenter import GrabCutSegmenter, PhotoSegmenter
from unscene.segmentation.prompts import Box, Click, PromptError, check_prompts
from unscene.segmentation.scales import STARTS, Scale, offered_scales, starts, walk_and_sweep
from unscene.segmentation.shadows import with_shadow
from unscene.segmentation.support_planes import support_planes
from unscene.segmentation.surface_cut import Constraints, Region, cut_surface, in_one_piece
from unscene.segmentation.surface_graph import build_graph
from unscene.segmentation.surfaces import Surfaces
from unscene.segmentation.sweep_cut import random_walk
from unscene.segmentation.voxels import voxelise

SEED_REACH = 3.0  # pixels in 3D: seeds farther from a click spill over edges
BALL = 0.96  # of the region's radius: what lies farther out is not the object
LEAST_BOX_FIT = 0.5  # intersection over union of a box and the box around a set that may be what is in it
EDIT_GROWTH, LARGEST_EDIT = 0.25, 0.5  # how far, in object sizes, and how much of the object one click may change
SMALLEST_EDIT = 6.0  # pixels around a click that change in any case
SAME_REGION, SAME_SIZE = 0.3, 1.3  # of its radius, and ratio of pixels, within which a region serves another click
KEPT_REGIONS = 4  # some 100 MB each
FEWEST_VOXELS = 100
HAND_MADE = 4.0  # weight of masks made by hand against colours
DRAWING_THREADS = 4
GLIMPSE, GLIMPSED = 2, 1  # pixels apart that a first look takes, and sets that it cuts out: the likeliest


@dataclass(frozen=True)
class Selection:
    """An object as far as it is told.

    labels: M bool on the region's voxels. prompts: in order. scales: what the first prompt may have meant, clearest
    first; chosen: which of them it is. taught: masks of views that were made by hand, H W bool each.
    """

    region: Region
    prompts: tuple[Click | Box, ...]
    labels: np.ndarray
    scales: tuple[Scale, ...] = ()
    chosen: int = 0
    taught: Mapping[int, np.ndarray] = field(default_factory=dict)


class Session:
    """A scene in which objects are selected. It keeps the surfaces around what has been clicked, nothing else."""

    def __init__(self, surfaces: Surfaces, segmenter: PhotoSegmenter | None = None):
        self.surfaces = surfaces
        self.segmenter = segmenter or GrabCutSegmenter()
        self._regions: list[Region] = []
        self._coarse: Session | None = None

    def glimpse(self, prompt: Click | Box) -> np.ndarray:
        """A first mask of the photo with the prompt, H W bool, in a fraction of the time that `select` takes: on a
        quarter of the pixels."""
        self._check(prompt)
        if self._coarse is None:
            self._coarse = Session(self.surfaces.thinned(GLIMPSE), self.segmenter)
        selection = self._coarse.select(prompt.scaled(1 / GLIMPSE), most=GLIMPSED)
        mask = self._coarse.rough_masks(selection, [prompt.view])[0]
        height, width = self.surfaces.depth.shape[1:]
        return cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR) > 0.5

    def select(
        self, prompt: Click | Box | None, taught: Mapping[int, np.ndarray] | None = None, *, most: int = STARTS
    ) -> Selection:
        """The object under a click or in a box, or what masks of some views, made by hand, show (H W bool each).

        most: how many sets to cut out, from the likeliest on, that may be meant.
        Raises PromptError for a prompt that shows nothing to select.
        """
        if prompt is not None:
            self._check(prompt)
            if isinstance(prompt, Click) and not prompt.wanted:
                raise PromptError("expected a first click on the object itself; say what must stay after that.")
        taught = taught or {}
        region = self._region(_middle(prompt, taught))
        selection = Selection(region, (prompt,) if prompt else (), np.zeros(len(region), bool), taught=taught)
        known, evidence = self._known(selection), _evidence(region, taught)
        candidates = [evidence > 0] if taught else self._candidates(region, prompt, known)
        scales = offered_scales(region, candidates[:most], known, evidence)
        if isinstance(prompt, Box):
            scales = tuple(sorted(scales, key=lambda scale: -round(4 * _box_fit(region, prompt, scale.labels))))
        return dataclasses.replace(selection, scales=scales, labels=scales[0].labels)

    def masked(self, masks: Mapping[int, np.ndarray], point: Click) -> Selection:
        """The object at a point of a photo as most of the masks that see it have it, in one piece. masks: of views, H W
        bool each. Raises PromptError where hardly any photo shows a surface."""
        region = self._region(point)
        labels = in_one_piece(region.graph, _evidence(region, masks) > 0, self._seeds(region, point))
        return Selection(region, (), labels, taught=masks)

    def choose(self, selection: Selection, scale: int) -> Selection:
        """Another of the scales that the first prompt may have meant; edits are forgotten."""
        if not 0 <= scale < len(selection.scales):
            raise PromptError(f"expected one of {len(selection.scales)} scales, got number {scale + 1}.")
        first, labels = selection.prompts[:1], selection.scales[scale].labels
        return dataclasses.replace(selection, prompts=first, chosen=scale, labels=labels)

    def edit(self, selection: Selection, click: Click) -> Selection:
        """The selection with the part under the click added, or taken away.

        The part is the set of least conductance around the click that avoids clicks of the other kind and changes at
        most half of the object. Solving anew from all clicks together does worse.
        """
        self._check(click)
        region, before = selection.region, selection.labels
        if np.linalg.norm(self.surfaces.point(click)[0] - region.voxels.centre) > region.voxels.radius:
            raise PromptError(
                f"expected a click near the object, but what is at ({click.x:g}, {click.y:g}) of view {click.view} is "
                "too far from it to be a part; select it as an object of its own."
            )
        selection = dataclasses.replace(selection, prompts=(*selection.prompts, click))
        known = self._known(selection)
        if not known.inside.any():
            known = dataclasses.replace(known, inside=self._boxed(selection) & before & ~known.outside)
        part = self._part(selection, click, known)
        start = before | part if click.wanted else before & ~part | known.inside
        both = known.inside.any() and known.apart.any()
        evidence = self._nearness(selection, known) if both else 0.0
        evidence = evidence + _evidence(region, selection.taught)
        labels = cut_surface(region, start, known, growth=EDIT_GROWTH, evidence=evidence)
        return dataclasses.replace(selection, labels=labels)

    def rough_masks(self, selection: Selection, views: Sequence[int]) -> np.ndarray:
        """Masks of some views as the voxels have them, V H W bool: at once."""
        return np.stack([tidied(selection.region.voxels.paint(selection.labels, view)) for view in views])

    def masks(self, selection: Selection, done: Callable[[int], None] = lambda count: None) -> np.ndarray:
        """Masks of all views as far as the photos' outlines agree in 3D, N H W bool.

        Each view's mask is drawn along its edges; the voxels take the vote of all of these, and are painted again. What
        one photo's colours say wrongly is outvoted. done: is told how many views are drawn. Views that were masked by
        hand keep their masks.
        """
        every = range(len(self.surfaces))
        drawn = self._drawn(self.rough_masks(selection, every), done)
        for view, mask in selection.taught.items():
            drawn[view] = mask
        agreed = dataclasses.replace(selection, labels=self._agreed(selection, drawn))
        masks = self.rough_masks(agreed, every)
        for view, mask in selection.taught.items():
            masks[view] = mask
        return masks

    def shadows(self, selection: Selection) -> np.ndarray:
        """Where the object darkens what it stands on, with the object, N H W bool."""
        labels = with_shadow(selection.region, selection.labels)
        return self.rough_masks(dataclasses.replace(selection, labels=labels), range(len(self.surfaces)))

    def _drawn(self, masks: np.ndarray, done: Callable[[int], None]) -> np.ndarray:
        with ThreadPoolExecutor(DRAWING_THREADS) as threads:  # OpenCV lets go of the interpreter
            drawn = list[np.ndarray]()
            for mask in threads.map(self.segmenter.refine, self.surfaces.images, masks):
                drawn.append(mask)
                done(len(drawn))
        return np.stack(drawn)

    def _agreed(self, selection: Selection, masks: np.ndarray) -> np.ndarray:
        """The voxels that most of the views which see them have in their masks, M bool."""
        region, known = selection.region, self._known(selection)
        inside, outside = region.voxels.votes(list(masks), range(len(masks)))
        gain = 2 * np.log((inside + 0.5) / (outside + 0.5)) / np.log(3)
        gain = np.where(inside + outside == 0, -1, gain.clip(-6, 6))
        graph = region.graph
        labels = minimum_cut(
            gain, graph.first, graph.second, graph.contrast, inside=known.inside, outside=known.outside
        )
        return in_one_piece(graph, labels, known.inside)

    def _check(self, prompt: Click | Box) -> None:
        _, height, width = self.surfaces.depth.shape
        check_prompts([prompt], len(self.surfaces), width, height)

    def _region(self, click: Click) -> Region:
        """The region around a click, one of before if it lies well within that."""
        point, depth = self.surfaces.point(click)
        pixel = self.surfaces.pixel_size(click.view, depth)
        for region in self._regions:
            apart = np.linalg.norm(region.voxels.centre - point)
            if apart < SAME_REGION * region.voxels.radius and 1 / SAME_SIZE < pixel / region.voxels.pixel < SAME_SIZE:
                return region
        voxels = voxelise(self.surfaces, point, pixel)
        if len(voxels) < FEWEST_VOXELS:
            raise PromptError(
                f"expected a surface that several photos see under ({click.x:g}, {click.y:g}) of view {click.view}, "
                "found next to none; click where more photos see the object."
            )
        graph = build_graph(voxels, self.surfaces)
        region = Region(voxels, graph, support_planes(voxels, graph, np.random.default_rng(0)))
        self._regions = [region, *self._regions[: KEPT_REGIONS - 1]]
        return region

    def _seeds(self, region: Region, click: Click) -> np.ndarray:
        point, depth = self.surfaces.point(click)
        reach = SEED_REACH * max(self.surfaces.pixel_size(click.view, depth), region.voxels.spacing / 2)
        return region.voxels.near(point, reach)

    def _known(self, selection: Selection) -> Constraints:
        """What the prompts say."""
        region, voxels = selection.region, selection.region.voxels
        inside, apart = np.zeros(len(region), bool), np.zeros(len(region), bool)
        outside = np.linalg.norm(voxels.points - voxels.centre, axis=1) > BALL * voxels.radius
        for prompt in selection.prompts:
            if isinstance(prompt, Box):
                outside |= ~_in_box(region, prompt)
                continue
            seeds = self._seeds(region, prompt)
            inside = inside | seeds if prompt.wanted else inside & ~seeds  # the last word counts
            apart = apart & ~seeds if prompt.wanted else apart | seeds
        return Constraints(inside, (outside | apart) & ~inside, apart)

    def _boxed(self, selection: Selection) -> np.ndarray:
        """What lies in the middle of a box that was drawn around the object, M bool: a box clicks on nothing itself."""
        boxes = [prompt for prompt in selection.prompts if isinstance(prompt, Box)]
        seeds = [self._seeds(selection.region, box.middle) for box in boxes]
        return np.any([np.zeros(len(selection.region), bool), *seeds], axis=0)

    def _candidates(self, region: Region, prompt: Click | Box | None, known: Constraints) -> list[np.ndarray]:
        """Sets of voxels that a first prompt may mean, M bool each, likeliest first."""
        assert prompt is not None
        if proposals := self.segmenter.propose(self.surfaces.images[prompt.view], [prompt]):
            evidence = (_evidence(region, {prompt.view: proposal}) for proposal in proposals)
            return [votes > 0 for votes in evidence]
        if isinstance(prompt, Click):
            return starts(region, known.inside) or [known.inside]
        seeds = self._seeds(region, prompt.middle) & ~known.outside
        allowed = ~known.outside
        found = starts(region, seeds if seeds.any() else allowed, allowed)
        fit = [_box_fit(region, prompt, candidate) for candidate in found]
        order = sorted(range(len(found)), key=lambda i: -round(4 * fit[i]))  # stable: conductance decides among equals
        fitting = [found[i] for i in order if fit[i] >= LEAST_BOX_FIT]
        return [*fitting[: STARTS - 1], allowed]

    def _part(self, selection: Selection, click: Click, known: Constraints) -> np.ndarray:
        """What a click adds or takes away, M bool."""
        region, labels = selection.region, selection.labels
        voxels, graph, seeds = region.voxels, region.graph, self._seeds(region, click)
        swept = walk_and_sweep(graph, seeds, ~(known.apart if click.wanted else known.inside) | seeds)
        changeable = ~labels if click.wanted else labels
        changed = changeable[swept.order].cumsum()
        count = len(swept.order)
        sizes = swept.minima(window=max(20, count // 300), smallest=20, largest=count - 5)
        sizes = [size for size in sizes if changed[size - 1] < LARGEST_EDIT * labels.sum()]
        centre = voxels.points[seeds].mean(0)
        part = (np.linalg.norm(voxels.points - centre, axis=1) < SMALLEST_EDIT * voxels.pixel) & (changeable | seeds)
        return part | swept.members(sizes[0], len(region)) if sizes else part

    def _nearness(self, selection: Selection, known: Constraints) -> np.ndarray:
        """Nats by which each voxel is nearer to what was clicked as wanted than to what was not, M."""
        wanted, unwanted = (
            random_walk(selection.region.graph, seeds, restart=5e-3, steps=200) for seeds in (known.inside, known.apart)
        )
        least = 1e-3 * max(wanted.max(), unwanted.max())
        return 3.0 * np.tanh(0.5 * np.log((wanted + least) / (unwanted + least)))


def _in_box(region: Region, box: Box) -> np.ndarray:
    voxels, view = region.voxels, box.view
    column, row = voxels.column[view] + 0.5, voxels.row[view] + 0.5
    across, down = (column > box.left) & (column < box.right), (row > box.top) & (row < box.bottom)
    return voxels.appears[view] & across & down


def _box_fit(region: Region, box: Box, labels: np.ndarray) -> float:
    """Intersection over union of a box and the smallest box around the labels in its view."""
    mask = region.voxels.paint(labels, box.view)
    if not mask.any():
        return 0.0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top, right, bottom = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    across, down = min(box.right, right) - max(box.left, left), min(box.bottom, bottom) - max(box.top, top)
    shared = max(across, 0) * max(down, 0)
    return float(shared / ((box.right - box.left) * (box.bottom - box.top) + (right - left) * (bottom - top) - shared))


def _evidence(region: Region, masks: Mapping[int, np.ndarray]) -> np.ndarray:
    """Nats by which masks of some views (H W bool each) speak for the voxels that they see, M."""
    inside, outside = region.voxels.votes(list(masks.values()), list(masks))
    return HAND_MADE * np.log((inside + 0.5) / (outside + 0.5))


def _middle(prompt: Click | Box | None, taught: Mapping[int, np.ndarray]) -> Click:
    """Where the object is: the prompt, else the `innermost` pixel of its masks."""
    if prompt is not None:
        return prompt if isinstance(prompt, Click) else prompt.middle
    return innermost(taught)


def innermost(masks: Mapping[int, np.ndarray]) -> Click:
    """The pixel of the largest mask (H W bool each) that is farthest from its outline. Raises PromptError if all are
    black."""
    view = max(masks, key=lambda view: int(masks[view].sum()), default=None)
    if view is None or not masks[view].any():
        raise PromptError("expected a mask with an object to learn from, got black ones; draw it white.")
    distance = cv2.distanceTransform(np.pad(masks[view], 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(distance.argmax(), distance.shape)
    return Click(view, float(column) + 0.5, float(row) + 0.5)

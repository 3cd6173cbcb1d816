"""Haze and floaters: density that no photo supports is dropped (ours).

What a field holds where no photo looks, or where photos look through it, is free to be anything as far as the photos
go. From elsewhere it is fog. Nerfbusters (Warburg et al. 2023) counts what training views see, too, to tell which part
of a render can be judged at all; here the rest of space is kept empty.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.fields.field import Histogram, render_pixels, render_view
from unscene.fields.nerf import Nerf
from unscene.fields.occupancy import RESOLUTION, cells_of, pack_cells, unpack_cells
from unscene.geometry.cameras import Rays, orbit_path
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted

STAGE, LAST = "cleaning", "cleaning at the end"
PER_RADIUS = 64  # rays that are asked across one radius, a radius away: several to a cell
COARSER = 4  # times, views in which what changes is looked for
PLACES = 256  # along each ray: several to a cell up to two radii away
SHARE = 0.05  # of a ray's light, from which on what gives it is seen; less, in front of what is, is haze
PASSED = 0.5  # share of a ray's light that has to pass a place which it shows to be empty
AROUND = 8  # views between the photos of which one shows what goes


@dataclass
class Evidence:
    """What rays tell about the cells of a field, R^3 bool each. looked_at: some ray passes, be it a masked one.
    surface: it gives a ray a good share of its light. empty: a ray's light passes, most of it comes from behind."""

    looked_at: Tensor
    surface: Tensor
    empty: Tensor

    @staticmethod
    def none(device: torch.device) -> Evidence:
        return Evidence(*(torch.zeros(RESOLUTION**3, dtype=torch.bool, device=device) for _ in range(3)))

    @property
    def supported(self) -> Tensor:
        """The cells that may keep their density, R R R: those in some photo's view but for what is known to be empty.

        A margin of one cell stays around surfaces and views. What hides behind surfaces stays: photos do not speak
        against it, and a surface goes on round its edge.
        """
        cube = (RESOLUTION,) * 3
        return _grown(self.looked_at.view(cube)) & (~self.empty.view(cube) | _grown(self.surface.view(cube)))


def drop_unsupported(
    nerf: Nerf, scene: Scene, checkpoints: Checkpoints, *, stage: str = STAGE
) -> Generator[Event, None, None]:
    """Confine the field's density to what the scene's training photos support, and show what that changes.

    Masked pixels speak neither for nor against: what all photos have masked stays as it is. Once the object's place is
    filled, in a scene without masks, whole photos count.
    """
    if (kept := checkpoints.product(stage)) is None:
        yield StageStarted(stage)
        started, evidence = time.monotonic(), Evidence.none(nerf.center.device)
        for index, view in enumerate(scene.train.tolist()):
            xy, masked = _lattice(scene, view)
            rays = scene.cameras.rays(torch.full((len(xy),), view, device=xy.device), xy)
            gather(nerf, rays, masked, evidence)
            yield ItemDone(stage, index + 1, len(scene.train))
        supported = pack_cells(evidence.supported)
        kept = {"occupancy": supported if nerf.occupancy is None else supported & nerf.occupancy}
        checkpoints.save(stage, kept, finished=True)
        yield StageDone(stage, time.monotonic() - started)
    yield from _compare(nerf, kept["occupancy"], scene, stage)


@torch.no_grad()
def gather(nerf: Nerf, rays: Rays, masked: Tensor, evidence: Evidence) -> None:
    """Add what rays tell. masked: R bool, those whose colours say nothing."""
    places = (torch.arange(PLACES, device=masked.device) + 0.5) / PLACES
    cells, told = cells_of(nerf.places(rays, places)), ~masked[:, None]
    share, passing = _light(nerf.render(rays).histogram, places)
    evidence.looked_at[cells] = True
    evidence.surface[cells[told & (share >= SHARE)]] = True
    evidence.empty[cells[told & (share < SHARE) & (passing > PASSED)]] = True


def _light(histogram: Histogram, places: Tensor) -> tuple[Tensor, Tensor]:
    """The share of its light that each ray gets at each place, and from all behind that, R P each. places: P normalised
    distances, the middles of equal parts of a ray.

    At a place is the whole interval that holds it, or all that lies in its part, whichever is more: intervals on a
    surface are short and many, those in the open are long.
    """
    edges, weights, half = histogram.edges.contiguous(), histogram.weights, 0.5 / len(places)
    light = F.pad(weights.cumsum(-1), (1, 0))

    def interval(at: Tensor) -> Tensor:
        found = torch.searchsorted(edges, at.expand(len(edges), -1).contiguous()) - 1
        return found.clamp(0, weights.shape[1] - 1)

    def until(at: Tensor) -> Tensor:
        index = interval(at)
        start, length = edges.gather(1, index), edges.gather(1, index + 1) - edges.gather(1, index)
        return light.gather(1, index) + weights.gather(1, index) * ((at - start) / length.clamp_min(1e-9)).clamp(0, 1)

    here = interval(places)
    share = torch.maximum(weights.gather(1, here), until(places + half) - until(places - half))
    return share, 1 - torch.maximum(light.gather(1, here + 1), until(places + half))


def _compare(nerf: Nerf, occupancy: Tensor, scene: Scene, stage: str) -> Generator[Event, None, None]:
    """Confine the field; how well it renders the photos before and after, and the view around that changes most."""
    around, first = orbit_path(scene.cameras[scene.train], AROUND), nerf.occupancy
    small = around.resized(max(1, around.width // COARSER), max(1, around.height // COARSER))
    before, hazy = _fidelity(nerf, scene), [render_view(nerf, small, view).color for view in range(AROUND)]
    nerf.confine(occupancy)
    after, clear = _fidelity(nerf, scene), [render_view(nerf, small, view).color for view in range(AROUND)]
    change = torch.stack([(one - other).abs().mean() for one, other in zip(hazy, clear, strict=True)])
    best = int(change.argmax())
    cleaned = render_view(nerf, around, best).color
    nerf.confine(first)
    pair = [render_view(nerf, around, best).color, cleaned]
    nerf.confine(occupancy)
    yield Picture(f"before-and-after-{stage.replace(' ', '-')}", torch.cat(pair, 1))
    yield Note(
        f"{stage}: no photo supports density in {1 - float(unpack_cells(occupancy).float().mean()):.0%} of the field's "
        f"cells, which are empty now; photos are rendered at {after:.2f} dB ({before:.2f} dB before)"
    )


def _fidelity(nerf: Nerf, scene: Scene) -> float:
    """PSNR of the training photos' unmasked pixels, dB."""
    errors = []
    for view in scene.train.tolist():
        xy, masked = _lattice(scene, view)
        color = render_pixels(nerf, scene.cameras, view, xy).color
        column, row = xy.long().unbind(-1)
        errors.append((color - scene.image(view)[row, column])[~masked].square().flatten())
    return -10 * math.log10(max(float(torch.cat(errors).mean()), 1e-10))


def _lattice(scene: Scene, view: int) -> tuple[Tensor, Tensor]:
    """Positions of every so manieth pixel, P 2, and whether they are masked, P bool."""
    apart = max(1, int(scene.cameras.focal[view].min() / PER_RADIUS))
    rows, columns = (torch.arange(0, end, apart) for end in (scene.cameras.height, scene.cameras.width))
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    xy = torch.stack([column, row], -1).view(-1, 2).to(scene.images.device)
    if scene.masks is None:
        return xy + 0.5, torch.zeros(len(xy), dtype=torch.bool, device=xy.device)
    return xy + 0.5, scene.masks[view][xy[:, 1], xy[:, 0]]


def _grown(cells: Tensor) -> Tensor:
    """Cells (R R R bool) and their neighbours."""
    return F.max_pool3d(cells[None].float(), 3, 1, 1)[0] > 0

"""A field made of Gaussians: drawn view by view, where a radiance field is asked ray by ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unscene.fields.field import PixelRender, Window, WindowRender
from unscene.fields.splat_raster import SplatCamera, composite, rasterise
from unscene.geometry.cameras import Cameras, focus_point, pixel_centers
from unscene.geometry.gaussians import Gaussians

UNUSED = -12.0  # opacity logit of a Gaussian that is not there: nothing of it is drawn


@dataclass(frozen=True)
class Shot:
    """How a window of a view is drawn: by a pinhole, then bent as the view's lens does. positions: H W 2, where in the
    pinhole's picture the lens shows what it does; None for pinholes."""

    camera: SplatCamera
    positions: Tensor | None

    @staticmethod
    def of(cameras: Cameras, view: int, window: Window | None = None) -> Shot:
        """Of a window of a view, by default all of it."""
        window = window or Window(0, 0, cameras.width, cameras.height)
        if not cameras.bends_rays:
            return Shot(SplatCamera.of(cameras, view, window), None)
        positions, seen = straight_positions(cameras, view, window)
        return Shot(SplatCamera.of(cameras, view, seen), positions)

    def bent(self, image: Tensor) -> Tensor:
        """The pinhole's picture (h w C) as the lens shows it, H W C."""
        return image if self.positions is None else sampled(image, self.positions)

    def bent_depth(self, depth: Tensor) -> Tensor:
        """The same of a depth (h w): nothing is mixed of two surfaces."""
        if self.positions is None:
            return depth
        column, row = (self.positions - 0.5).round().long().unbind(-1)
        return depth[row.clamp(0, depth.shape[0] - 1), column.clamp(0, depth.shape[1] - 1)]


@dataclass(frozen=True)
class TracedGaussians:
    """Gaussians, and which of those of a file each is: rows, N int64, -1 for those that the file does not hold."""

    gaussians: Gaussians
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> TracedGaussians:
        return TracedGaussians(self.gaussians[index], self.rows[index])

    @staticmethod
    def of_file(gaussians: Gaussians) -> TracedGaussians:
        """All of a file."""
        return TracedGaussians(gaussians, torch.arange(len(gaussians), device=gaussians.means.device))

    def and_new(self, gaussians: Gaussians) -> TracedGaussians:
        """These, and behind them others that no file holds."""
        rows = torch.cat([self.rows, self.rows.new_full((len(gaussians),), -1)])
        return TracedGaussians(Gaussians.joined([self.gaussians, gaussians]), rows)


class Splats(nn.Module):
    """N Gaussians as parameters, named like those of `Gaussians`, their harmonics in two parts: what all directions see
    (``base``, N 1 3) and what depends on them (``further``, N K-1 3); and others beside them that are kept as they are.

    center (3) and radius (scalar): where the cameras look, and how far the farthest is from there. kept: what does not
    learn; the state tells how many (``kept_count``), not which, as whoever made the field knows. A field that is fitted
    has room for more than it begins with; what is not used yet is there with no opacity.
    """

    center: Tensor
    radius: Tensor

    def __init__(
        self, gaussians: Gaussians, *, center: Tensor, radius: Tensor, kept: Gaussians | None = None,
    ):  # fmt: skip
        super().__init__()
        self.register_buffer("center", center.float())
        self.register_buffer("radius", radius.float())
        self.means = nn.Parameter(gaussians.means.clone())
        self.log_scales = nn.Parameter(gaussians.log_scales.clone())
        self.quaternions = nn.Parameter(gaussians.quaternions.clone())
        self.opacity_logits = nn.Parameter(gaussians.opacity_logits.clone())
        self.base = nn.Parameter(gaussians.harmonics[:, :1].clone())
        self.further = nn.Parameter(gaussians.harmonics[:, 1:].clone())
        self.kept = kept
        self.register_buffer("kept_count", torch.tensor(0 if kept is None else len(kept)))

    @staticmethod
    def around(cameras: Cameras, gaussians: Gaussians, learns: Tensor | None = None) -> Splats:
        """Gaussians that these cameras look at. learns: N bool, those that are parameters; by default all."""
        center, kept = focus_point(cameras), None
        if learns is not None:
            gaussians, kept = gaussians[learns], gaussians[~learns]
        return Splats(gaussians, center=center, radius=(cameras.positions - center).norm(dim=-1).max(), kept=kept)

    @property
    def learnt(self) -> Gaussians:
        """Those that are parameters, as differentiable as these."""
        harmonics = torch.cat([self.base, self.further], 1)
        return Gaussians(self.means, self.log_scales, self.quaternions, self.opacity_logits, harmonics)

    @property
    def gaussians(self) -> Gaussians:
        """All, those that learn first."""
        return self.learnt if self.kept is None else Gaussians.joined([self.learnt, self.kept])

    @property
    def still(self) -> Gaussians:
        """All, without gradients."""
        return Gaussians(*(tensor.detach() for tensor in self.gaussians.tensors))

    @property
    def used(self) -> Gaussians:
        """Those that can be seen from somewhere, without gradients."""
        gaussians = self.still
        return gaussians[gaussians.opacities > 1 / 255]

    @property
    def positions(self) -> Tensor:
        """Means, N 3, without gradients."""
        means = self.means.detach()
        return means if self.kept is None else torch.cat([means, self.kept.means])

    def composite(self, cameras: Cameras, view: int, quantity: Tensor) -> Tensor:
        """A quantity of each Gaussian (N C) composited over a whole view with the weights of its colours, H W C."""
        shot = Shot.of(cameras, view)
        return shot.bent(composite(self.gaussians, shot.camera, quantity).image)

    def show(self, cameras: Cameras, view: int, window: Window, *, learns_geometry: bool = True) -> WindowRender:
        """A window of a view, through any lens; without ``learns_geometry`` only harmonics have gradients."""
        return self.shown(Shot.of(cameras, view, window), learns_geometry=learns_geometry)

    def shown(self, shot: Shot, *, learns_geometry: bool = True) -> WindowRender:
        """The same of a shot."""
        gaussians = self.gaussians
        if not learns_geometry:
            gaussians = replace(self.still, harmonics=gaussians.harmonics)
        numbers = gaussians.means.new_tensor(shot.camera.numbers)
        depths = (gaussians.means - numbers[9:12]) @ numbers[6:9]
        render = rasterise(gaussians, shot.camera, depths[:, None])
        image, light = shot.bent(render.image), shot.bent(render.transmittance[..., None])[..., 0]
        return WindowRender(image[..., :3], image[..., 3] / (1 - light).clamp_min(1e-3), light)

    @property
    def is_native(self) -> bool:
        """Whether native functions draw it, which share the processor's threads out among themselves."""
        return self.means.device.type == "cpu"

    @torch.no_grad()
    def draw(self, cameras: Cameras, view: int, window: Window | None = None) -> PixelRender:
        """Colour in [0, 1] and median depth of a window of a view, by default all of it, through any lens."""
        shot = Shot.of(cameras, view, window)
        render = rasterise(self.gaussians, shot.camera)
        return PixelRender(shot.bent(render.image).clamp(0, 1), shot.bent_depth(render.median_depth()))


def straight_positions(cameras: Cameras, view: int, window: Window) -> tuple[Tensor, Window]:
    """Where a pinhole of the same focal lengths sees what a lens shows at a window's pixels, H W 2, and the window that
    it takes to see all of it, from whose corner the positions count."""
    pixels = pixel_centers(window.width, window.height, cameras.focal.device)
    pixels = (pixels + torch.tensor([window.left, window.top], device=pixels.device)).view(-1, 2)
    plane = cameras.image_plane(torch.full((len(pixels),), view, device=pixels.device), pixels)
    positions = plane * cameras.focal[view] + cameras.principal[view]
    low, high = (positions.min(0).values - 1).floor().int(), (positions.max(0).values + 1).ceil().int()
    seen = Window(int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1]))
    return (positions - low).view(window.height, window.width, 2), seen


def sampled(image: Tensor, positions: Tensor) -> Tensor:
    """An image H W C at positions ... 2 in pixels, bilinearly."""
    size = torch.tensor([image.shape[1], image.shape[0]], device=image.device)
    grid = (positions * 2 / size - 1)[None]
    return torch.nn.functional.grid_sample(image.movedim(-1, 0)[None], grid, align_corners=False)[0].movedim(0, -1)

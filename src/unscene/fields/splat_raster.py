"""Gaussians into a window of a view, and gradients back: the rasteriser, as torch operators.

EWA splatting (Zwicker et al. 2002) as 3D Gaussian Splatting does it (Kerbl et al. 2023): 0.3 pixels squared of blur,
alphas from 1/255 to 0.99, nearest first; a pixel is done once 1e-4 of the light or less passes. Lenses do not bend.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor

from unscene.fields import cuda_splats, native_splats
from unscene.fields.field import Window
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians

NEAR = 1e-2  # world units before a camera, from which on Gaussians are seen
TILE = 16
MARGIN = 0.3  # of half the view, beyond its edges, up to where a Gaussian's shape is followed


@dataclass(frozen=True)
class SplatCamera:
    """A pinhole camera and the window of its view to be drawn.

    numbers: rotation camera from world (9, row by row), centre (3), focal lengths (2), principal point from the
    window's corner (2), least and most of x / z and of y / z (4), near (1).
    """

    numbers: tuple[float, ...]
    window: Window

    @staticmethod
    def of(cameras: Cameras, view: int, window: Window | None = None, *, near: float = NEAR) -> SplatCamera:
        """The camera of a view, whose lens is taken for a pinhole; by default all of its picture."""
        window = window or Window(0, 0, cameras.width, cameras.height)
        pose = cameras.T_world_camera[view].cpu()
        focal, principal = cameras.focal[view].tolist(), cameras.principal[view].tolist()
        limits = []
        for size, f, c in zip((cameras.width, cameras.height), focal, principal, strict=True):
            margin = MARGIN * size / 2 / f
            limits += [-c / f - margin, (size - c) / f + margin]
        corner = [principal[0] - window.left, principal[1] - window.top]
        rotation, center = pose[:, :3].T.flatten().tolist(), pose[:, 3].tolist()
        return SplatCamera((*rotation, *center, *focal, *corner, *limits, near), window)


@dataclass(frozen=True)
class SplatRender:
    """What a window shows. image: H W C; transmittance: H W, the light that passes all Gaussians."""

    image: Tensor
    transmittance: Tensor
    _drawn: tuple[Tensor, ...]
    _camera: SplatCamera

    @property
    def opacity(self) -> Tensor:
        """H W in [0, 1]: the light that is stopped."""
        return 1 - self.transmittance

    def median_depth(self) -> Tensor:
        """z-depth H W of the Gaussian that stops half of what is stopped, infinite where nothing is. No gradient."""
        window = self._camera.window
        return _median_depth(list(self._drawn), self.transmittance.detach(), window.width, window.height)


def rasterise(gaussians: Gaussians, camera: SplatCamera, channels: Tensor | None = None) -> SplatRender:
    """Draw the Gaussians' colours, and behind them any further ``channels`` (N C) composited with the same weights.

    Differentiable in all of the Gaussians and in the channels. Colours may exceed 1 and are never negative; behind the
    Gaussians it is black.
    """
    return _rasterise(gaussians, camera, gaussians.harmonics, channels)


def composite(gaussians: Gaussians, camera: SplatCamera, channels: Tensor) -> SplatRender:
    """Draw ``channels`` (N C) alone, with the weights that the colours would have."""
    return _rasterise(gaussians, camera, gaussians.harmonics[:, :0], channels)


def _rasterise(gaussians: Gaussians, camera: SplatCamera, harmonics: Tensor, channels: Tensor | None) -> SplatRender:
    if channels is None:
        channels = gaussians.means.new_empty(len(gaussians), 0)
    inputs = [
        gaussians.means,
        gaussians.log_scales,
        gaussians.quaternions,
        gaussians.opacity_logits,
        harmonics,
        channels,
    ]
    window = camera.window
    image, transmittance, *drawn = splats(
        *(tensor.float().contiguous() for tensor in inputs), list(camera.numbers), window.width, window.height
    )
    return SplatRender(image, transmittance, tuple(drawn), camera)


def _on(tensor: Tensor) -> ModuleType:
    """What draws where a tensor lies."""
    return native_splats if tensor.device.type == "cpu" else cuda_splats


@torch.library.custom_op("unscene::splats", mutates_args=())
def splats(
    means: Tensor, log_scales: Tensor, quaternions: Tensor, logits: Tensor, harmonics: Tensor, channels: Tensor,
    camera: Sequence[float], width: int, height: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Image, transmittance, and what is needed again: `native_splats.Drawn`, field by field."""
    gaussians = native_splats.Inputs(means, log_scales, quaternions, logits, harmonics, channels)
    return _on(means).draw(gaussians, camera, width, height)


@torch.library.custom_op("unscene::splats_backward", mutates_args=())
def _splats_backward(
    means: Tensor, log_scales: Tensor, quaternions: Tensor, logits: Tensor, harmonics: Tensor, channels: Tensor,
    camera: Sequence[float], width: int, height: int, image: Tensor, transmittance: Tensor, drawn: Sequence[Tensor],
    image_gradient: Tensor, transmittance_gradient: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    gaussians = native_splats.Inputs(means, log_scales, quaternions, logits, harmonics, channels)
    result = native_splats.Result(
        image, transmittance, image_gradient.contiguous(), transmittance_gradient.contiguous()
    )
    return _on(means).draw_backward(gaussians, camera, width, height, native_splats.Drawn(*drawn), result)


@torch.library.custom_op("unscene::splats_median_depth", mutates_args=())
def _median_depth(drawn: Sequence[Tensor], transmittance: Tensor, width: int, height: int) -> Tensor:
    return _on(transmittance).median_depth(native_splats.Drawn(*drawn), transmittance, width, height)


def _setup(ctx, inputs, output) -> None:
    *tensors, ctx.camera, ctx.width, ctx.height = inputs
    image, transmittance, *drawn = output
    ctx.mark_non_differentiable(*drawn)
    ctx.save_for_backward(*tensors, image, transmittance, *drawn)


def _backward(ctx, image_gradient, transmittance_gradient, *_):
    tensors = ctx.saved_tensors
    gradients = _splats_backward(
        *tensors[:6], ctx.camera, ctx.width, ctx.height, *tensors[6:8], list(tensors[8:]), image_gradient,
        transmittance_gradient,
    )  # fmt: skip
    return *gradients, None, None, None


splats.register_autograd(_backward, setup_context=_setup)

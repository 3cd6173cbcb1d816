"""Denoising many views together: NeRFiller's grid prior (Weber et al., CVPR 2024, section 4).

A model that is shown four views as the tiles of one image inpaints them alike, since its attention spans them all. In
every step of the sampler the views are shuffled and laid out anew, 2 x 2 on a canvas, noisy latents, masks and masked
latents alike; what the network predicts of a canvas is cut apart again; and predictions of M such arrangements are
averaged. So what one view invents spreads to all others.

Where the number of views is no multiple of four, the last canvas is filled up with views that already lie on another,
whose predictions there are not used.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from unscene.geometry.randomness import sent
from unscene.priors.diffusion.config import GridPriorConfig
from unscene.priors.diffusion.mask_blending import composite, smooth_fill
from unscene.priors.diffusion.sampling import denoise, last_steps, shortened, starting_latents
from unscene.priors.diffusion.text_condition import TextCondition, text_condition
from unscene.priors.inpainter import check_images

BUNDLED_TILE = 160  # pixels: the small model was trained on crops of 96 to 192
CANVASES_AT_ONCE = {"cpu": 1}  # of other devices: 4


@torch.no_grad()
def inpaint_jointly(
    model: Any, images: Tensor, masks: Tensor, *, start: Tensor | None, level: float,
    grid: GridPriorConfig, generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """Fill views together, see `JointInpainter.inpaint_jointly`; model: a `LatentDiffusionInpainter`, here and below.

    All steps of the sampler are spread over [0, level] of the noise schedule. Views larger than a tile are shrunk to
    it; what was made of them is enlarged again, with the start image's own detail where its latent stayed.
    """
    check_images(images, masks)
    if not 0 < level <= 1:
        raise ValueError(f"expected a noise level in (0, 1], got {level}")
    if level < 1 and start is None:
        raise ValueError("a level below 1 starts from images: pass start, or level=1")
    size = tile_size(model, images.shape[1], images.shape[2], grid)
    pixels = model.padded(_shrunk_known(images, masks, size))
    holes = model.padded(_shrunk_masks(masks, size)[..., None].float())
    origin = None
    if start is not None and level < 1:
        origin = torch.cat([model.encode(each) for each in model.padded(_shrunk(start, size)).split(1)])
    cells = (len(images), model.latent_channels, *(side // model.downscale for side in pixels.shape[-2:]))
    noise = sent(torch.randn(cells, generator=generator), pixels.device)

    scheduler = shortened(model.pipeline.scheduler, level)
    times = last_steps(scheduler, min(joint_steps(model, level, grid), scheduler.config.num_train_timesteps), 1.0)
    latents = starting_latents(scheduler, noise, origin, times[:1])
    latents = denoise(scheduler, times, latents, GridPrior(model, pixels, holes, grid, generator))

    results, shape = [], (images.shape[1], images.shape[2])
    for view, (image, mask) in enumerate(zip(images, masks, strict=True)):  # one by one: whole views need not be small
        filled = _enlarged(model.decode(latents[view, None]), size, shape)
        if start is not None and origin is not None:  # what shrinking and the autoencoder lost of the start image
            lost = start[view, None].to(filled) - _enlarged(model.decode(origin[view, None]), size, shape)
            filled = filled + lost * _enlarged(model.kept_detail(origin[view, None], latents[view, None]), size, shape)
        results.append(composite(image[None], filled.clamp(0, 1).to(image), mask[None], feather=model.feather))
    return torch.cat(results)


class GridPrior:
    """What a model predicts of views (N) when it sees them together, with guidance by image and text.

    eps = e_img + text_guidance (e_text - e_img) + image_guidance (e_img - e_unc)

    with e_img told the image around the hole and the negative prompt, e_text the image and the prompt, e_unc the
    negative prompt and a grey image that is all hole. What has weight 0 is not asked for.

    pixels: N 3 H W in [0, 1]; holes: N 1 H W; generator: of the processor, shuffles the views.
    """

    def __init__(
        self, model: Any, pixels: Tensor, holes: Tensor, grid: GridPriorConfig,
        generator: torch.Generator,
    ):  # fmt: skip
        self.model, self.grid, self.generator = model, grid, generator
        each = (model.context(p, h) for p, h in zip(pixels.split(1), holes.split(1), strict=True))
        self.context = torch.cat(list(each))
        height, width = (side * grid.side for side in pixels.shape[-2:])
        grey = pixels.new_full((1, 3, height, width), 0.5)
        self.nothing = model.context(grey, torch.ones_like(grey[:, :1]))

        def told(prompt: str) -> TextCondition:
            return text_condition(model.pipeline, prompt, "", 1, (height, width), guided=False)

        self.told_nothing = told(model.config.negative_prompt)
        self.image_guidance = image_guidance(model, grid)
        self.told = told(model.prompt) if grid.text_guidance else self.told_nothing

    def __call__(self, latents: Tensor, time: Tensor) -> Tensor:
        """Noisy latents N C h w at a timestep -> predictions, N C h w, means over the shuffles."""
        total, side, device = torch.zeros_like(latents), self.grid.side, latents.device
        for _ in range(self.grid.shuffles):
            order = sent(arrangement(len(latents), side**2, self.generator), device)
            canvases, contexts = tile(latents[order], side), tile(self.context[order], side)
            at_once = CANVASES_AT_ONCE.get(device.type, 4)
            parts = zip(canvases.split(at_once), contexts.split(at_once), strict=True)
            predicted = untile(torch.cat([self._guided(*part, time) for part in parts]), side)
            total[order[: len(latents)]] += predicted[: len(latents)]
        return total / self.grid.shuffles

    def _guided(self, canvases: Tensor, contexts: Tensor, time: Tensor) -> Tensor:
        image = self._predict(canvases, contexts, time, self.told_nothing)
        guided = image
        if self.grid.text_guidance:
            guided = guided + self.grid.text_guidance * (self._predict(canvases, contexts, time, self.told) - image)
        if self.image_guidance:
            nothing = self._predict(canvases, self.nothing.expand_as(contexts), time, self.told_nothing)
            guided = guided + self.image_guidance * (image - nothing)
        return guided

    def _predict(self, canvases: Tensor, contexts: Tensor, time: Tensor, text: TextCondition) -> Tensor:
        unet, count = self.model.pipeline.unet, len(canvases)
        states = text.states.expand(count, -1, -1)
        added = text.added and {name: value.expand(count, -1) for name, value in text.added.items()}
        inputs = torch.cat([canvases, contexts], 1).to(unet.dtype)
        return unet(inputs, time, states, added_cond_kwargs=added).sample.float()


def arrangement(count: int, places: int, generator: torch.Generator) -> Tensor:
    """Views 0 to ``count`` - 1 shuffled, and the first of them again until all canvases of ``places`` are full."""
    order = torch.randperm(count, generator=generator)
    return order.repeat(places)[: -(-count // places) * places]


def tile(maps: Tensor, side: int) -> Tensor:
    """N C h w -> N / side^2 canvases of side x side maps each, row by row: C side*h side*w."""
    _, channels, height, width = maps.shape
    canvases = maps.view(-1, side, side, channels, height, width).permute(0, 3, 1, 4, 2, 5)
    return canvases.reshape(-1, channels, side * height, side * width)


def untile(canvases: Tensor, side: int) -> Tensor:
    """The inverse of `tile`."""
    _, channels, height, width = canvases.shape
    maps = canvases.view(-1, channels, side, height // side, side, width // side).permute(0, 2, 4, 1, 3, 5)
    return maps.reshape(-1, channels, height // side, width // side)


def tile_size(model: Any, height: int, width: int, grid: GridPriorConfig) -> tuple[int, int]:
    """Height and width of a view of H W pixels on a canvas."""
    trained_at = model.pipeline.unet.config.sample_size * model.downscale
    longest = grid.tile or (BUNDLED_TILE if model.is_bundled else trained_at // grid.side)
    if max(height, width) <= longest:
        return height, width
    rows, columns = (max(1, round(side * longest / max(height, width))) for side in (height, width))
    return rows, columns


def canvas_size(model: Any, height: int, width: int, grid: GridPriorConfig) -> tuple[int, int]:
    """Height and width in pixels of a canvas of views of H W pixels."""
    rows, columns = model.latent_size(*tile_size(model, height, width, grid))
    return rows * model.downscale * grid.side, columns * model.downscale * grid.side


def joint_steps(model: Any, level: float, grid: GridPriorConfig) -> int:
    """Sampler steps from a noise level on."""
    if grid.steps is not None:
        return grid.steps
    return max(1, round(level * model.steps)) if model.is_bundled else model.steps


def image_guidance(model: Any, grid: GridPriorConfig) -> float:
    """Weight of e_img - e_unc."""
    default = 0.0 if model.is_bundled else 1.5
    return default if grid.image_guidance is None else grid.image_guidance


def _shrunk(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[1:3] == size:
        return images
    return F.interpolate(images.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True).permute(0, 2, 3, 1)


def _shrunk_known(images: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Nothing of the object may run over its mask's rim."""
    if images.shape[1:3] == size:
        return images
    filled = smooth_fill(images.permute(0, 3, 1, 2), masks[:, None].to(images))
    return _shrunk(filled.permute(0, 2, 3, 1), size)


def _enlarged(tiles: Tensor, size: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """N C h w, padded from ``size`` -> N H W C of ``shape``."""
    tiles = tiles[..., : size[0], : size[1]]
    whole = tiles if size == shape else F.interpolate(tiles, shape, mode="bicubic")
    return whole.permute(0, 2, 3, 1)


def _shrunk_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """A pixel that touches the hole is to be filled, however little."""
    return masks if masks.shape[1:3] == size else F.adaptive_max_pool2d(masks[:, None].float(), size)[:, 0] > 0

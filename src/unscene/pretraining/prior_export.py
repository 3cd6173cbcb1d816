"""From trained parts to something a person can use or look at: the diffusers folder and the sample sheets."""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline
from PIL import Image, ImageDraw
from torch import Tensor

from unscene.files import write_png
from unscene.priors.diffusion.architecture import PipelineParts
from unscene.priors.diffusion.checkpoints import Checkpoint
from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter
from unscene.priors.model_folder import model_folder


@torch.no_grad()
def whiten_latents(autoencoder: Any, images: Tensor) -> None:
    """Give the latents of `images` (N 3 H W in [0, 1]) zero mean and unit covariance, in place.

    A lightly regularised autoencoder leaves its channels strongly correlated, and white noise then drowns the weak
    directions long before the strong ones. The statistics are folded into the 1 x 1 convolutions on both sides of the
    latent, so nothing else has to know them and `scaling_factor` is 1. Images decode to what they decoded to before.
    """
    latents = torch.cat([autoencoder.encode(one * 2 - 1).latent_dist.mean for one in images.split(8)])
    flat = latents.transpose(0, 1).flatten(1).double()
    mean, (variances, axes) = flat.mean(1), torch.linalg.eigh(torch.cov(flat))
    whitening = (axes * variances.rsqrt()) @ axes.T  # the symmetric root moves every channel the least
    into, back = autoencoder.quant_conv, autoencoder.post_quant_conv
    channels, mean = len(mean), mean.float()
    unwhitening, whitening = torch.linalg.inv(whitening).float(), whitening.float()
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight.copy_((back.weight[:, :, 0, 0] @ unwhitening)[..., None, None])
    into.bias[:channels] = whitening @ (into.bias[:channels] - mean)
    into.weight[:channels] = torch.einsum("ij,jkhw->ikhw", whitening, into.weight[:channels])
    # a diagonal posterior cannot turn along; its log variances mix as the squared weights do
    squared = whitening.square()
    share = squared / squared.sum(1, keepdim=True)
    into.bias[channels:] = share @ into.bias[channels:] + squared.sum(1).log()
    into.weight[channels:] = torch.einsum("ij,jkhw->ikhw", share, into.weight[channels:])
    autoencoder.register_to_config(scaling_factor=1.0)


def export_pipeline(parts: PipelineParts, folder: Path, *, dtype: torch.dtype = torch.float16) -> Path:
    """Write a StableDiffusionInpaintPipeline folder, replacing `folder` only once the new one is complete.

    Files that the pipeline does not own, such as the model card, are kept.
    """
    with model_folder(folder) as temporary:
        as_pipeline(parts, dtype).save_pretrained(temporary, safe_serialization=True)
    return folder


def write_model_card(folder: Path, title: str, command: str, settings: dict[str, object], losses: Path) -> None:
    """Describe a trained model in `folder/README.md`: every setting, and each stage's last losses and curve."""
    stages = _logged_stages(losses)
    lines = [f"# {title}", "", f"Trained by `{command}`.", "", "## Losses", ""]
    for stage, entries in stages.items():
        tail = entries[-20:]
        means = {name: np.mean([entry[name] for entry in tail]) for name in tail[0] if name not in ("step", "seconds")}
        described = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        lines.append(f"- {stage}, {entries[-1]['step']} steps, mean of the last {len(tail)} log entries: {described}")
        lines.append(f"  ![{stage}: losses over the steps](curve-{stage}.png)")
        write_png(folder / f"curve-{stage}.png", learning_curve(entries))
    lines += [
        "",
        "## Settings",
        "",
        *(f"- `{name}`: {_without_folders(value)}" for name, value in settings.items()),
        "",
    ]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8", newline="\n")


def _logged_stages(losses: Path) -> dict[str, list[dict]]:
    """The log's entries by stage. A killed run repeats steps when it goes on: the later entry counts."""
    stages: dict[str, dict[int, dict]] = {}
    for line in losses.read_text(encoding="utf-8").splitlines() if losses.exists() else ():
        entry = json.loads(line)
        stages.setdefault(entry.pop("stage"), {})[entry["step"]] = entry
    return {stage: [entries[step] for step in sorted(entries)] for stage, entries in stages.items()}


def learning_curve(entries: list[dict], *, width: int = 640, height: int = 280) -> np.ndarray:
    """Losses over steps, each scaled to its own range and smoothed by a running median: uint8 RGB."""
    picture = Image.new("RGB", (width, height), "white")
    draw, colors = ImageDraw.Draw(picture), ("#1f6f8b", "#d1495b", "#7a9e3f", "#8d6a9f", "#c98a2b")
    left, right, top, bottom = 12, width - 12, 12, height - 40
    draw.rectangle((left, top, right, bottom), outline="#cccccc")
    steps = np.array([entry["step"] for entry in entries], float)
    across = left + (right - left) * (steps - steps[0]) / max(steps[-1] - steps[0], 1)
    names = [name for name in dict.fromkeys(n for entry in entries for n in entry) if name not in ("step", "seconds")]
    for index, (name, color) in enumerate(zip(names, colors, strict=False)):
        values = np.array([entry.get(name, np.nan) for entry in entries], float)
        smooth = _running_median(values, max(1, len(values) // 40))
        low, high = float(np.nanmin(smooth)), float(np.nanmax(smooth))
        down = bottom - 6 - (bottom - top - 12) * (smooth - low) / max(high - low, 1e-9)
        draw.line([(x, y) for x, y in zip(across, down, strict=True) if np.isfinite(y)], fill=color, width=2)
        label = f"{name} {low:.3g} to {high:.3g}"
        draw.text((left + index * (right - left) / len(names), bottom + 4), label, fill=color)
    draw.text((left, bottom + 20), f"steps {steps[0]:.0f} to {steps[-1]:.0f}", fill="#444444")
    return np.asarray(picture)


def _running_median(values: np.ndarray, reach: int) -> np.ndarray:
    return np.array([np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))])


def _without_folders(value: object) -> object:
    """A model card travels; the folders of the machine that trained the model should not."""
    if isinstance(value, list):
        return ", ".join(str(_without_folders(entry)) for entry in value)
    return value.name if isinstance(value, Path) else value


@torch.no_grad()
def reconstruction_sheet(autoencoder: AutoencoderKL, images: Tensor) -> np.ndarray:
    """Images above their reconstructions: H W 3 uint8, RGB."""
    decoded = autoencoder.decode(autoencoder.encode(images * 2 - 1).latent_dist.mean).sample / 2 + 0.5
    return sheet([images, decoded])


@torch.no_grad()
def inpainting_sheet(parts: PipelineParts, images: Tensor, masks: Tensor) -> np.ndarray:
    """Masked images, what the model expects there, that redone from half noise, the model from noise, the truth.

    images: N 3 H W in [0, 1]; masks: N 1 H W, 1 = fill. Returns H W 3 uint8, RGB.
    """
    pixels, holes = images.permute(0, 2, 3, 1), masks[:, 0] > 0.5
    model = LatentDiffusionInpainter(Checkpoint(as_pipeline(parts), "in training"))
    generator = torch.Generator().manual_seed(0)
    start = model.expected_fill(pixels, holes, generator=generator)
    shape = (len(pixels), model.latent_channels, *model.latent_size(*pixels.shape[1:3]))
    noise = torch.randn(shape, generator=generator).to(pixels)
    healed = model.inpaint_latent(pixels, holes, noise=noise, start=start, strength=0.5)
    alone = model.inpaint_latent(pixels, holes, noise=noise)
    hidden = torch.where(holes[..., None], 0.5, pixels)
    return sheet([row.permute(0, 3, 1, 2) for row in (hidden, start, healed, alone, pixels)])


def load_parts(folder: Path) -> PipelineParts:
    """Read a pipeline folder back into trainable float32 parts."""
    pipeline = StableDiffusionInpaintPipeline.from_pretrained(folder, safety_checker=None, use_safetensors=True)
    pipeline.to(torch.float32)
    return PipelineParts(
        autoencoder=pipeline.vae,
        unet=pipeline.unet.train(),
        text_encoder=pipeline.text_encoder.train(),
        tokenizer=pipeline.tokenizer,
        scheduler=pipeline.scheduler,
    )


def as_pipeline(parts: PipelineParts, dtype: torch.dtype | None = None) -> StableDiffusionInpaintPipeline:
    """The parts as a diffusers pipeline: themselves, or with autoencoder and U-Net copied to another dtype."""
    vae, unet = parts.autoencoder, parts.unet
    if dtype is not None:
        # what is saved has to be contiguous, which training's memory format is not
        vae, unet = (copy.deepcopy(part).to(dtype, memory_format=torch.contiguous_format) for part in (vae, unet))
    return StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=parts.text_encoder,  # small, and transformers would load it in the dtype it was saved in
        tokenizer=parts.tokenizer,
        unet=unet,
        scheduler=parts.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def sheet(rows: list[Tensor]) -> np.ndarray:
    """Lay out rows of N 3 H W images in [0, 1] as one picture: uint8 RGB."""
    lines = [torch.cat(list(row.clamp(0, 1)), dim=-1) for row in rows]
    return (torch.cat(lines, dim=-2).permute(1, 2, 0) * 255).round().byte().cpu().numpy()

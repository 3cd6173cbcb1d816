"""The folder a novel-view model travels in: diffusers' and transformers' parts side by side, safetensors only."""

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unscene.files import write_json
from unscene.priors.diffusion.checkpoints import check_safetensors, load_checkpoint
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.model_folder import model_folder
from unscene.priors.prior_error import PriorError

SETTINGS = "novel_view.json"
FINGERPRINTED = 1 << 20  # bytes at either end of a file


def write_model(
    folder: Path, settings: dict[str, Any], networks: dict[str, nn.Module], tensors: dict[str, Tensor], scheduler: Any,
    *, dtype: torch.dtype = torch.float16,
) -> Path:  # fmt: skip
    """Write networks, each into a folder of its name, single tensors, the noise schedule and the settings.

    The folder is replaced only once the new one is complete; files that are not the model's, like its card, are kept.
    """
    with model_folder(folder) as temporary:
        for name, network in networks.items():
            # what is saved has to be contiguous, which training's memory format is not
            copied: Any = copy.deepcopy(network).to("cpu", dtype, memory_format=torch.contiguous_format)
            copied.save_pretrained(temporary / name, safe_serialization=True)
        scheduler.save_pretrained(temporary / "scheduler")
        if tensors:
            single = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
            save_file(single, str(temporary / "tensors.safetensors"))
        write_json(temporary / SETTINGS, settings)
    return folder


def read_settings(folder: Path, kind: str) -> dict[str, Any]:
    """The settings of a model of a kind. Raises PriorError if the folder holds none, or another."""
    file = folder / SETTINGS
    try:
        settings = json.loads(file.read_text(encoding="utf-8"))
        found, _ = settings["kind"], int(settings["size"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PriorError(
            f"{folder}: expected a novel-view model with a {SETTINGS}, found none; train one: `unscene train {kind}`."
        ) from error
    if found != kind:
        raise PriorError(f"{folder}: expected a model of kind {kind}, got {found}; use or train it as {found}.")
    return settings


def model_name(folder: Path) -> str:
    """The folder's name with a fingerprint of its weights: their sizes, beginnings and ends."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        size = file.stat().st_size
        with file.open("rb") as stream:
            beginning = stream.read(FINGERPRINTED)
            stream.seek(max(0, size - FINGERPRINTED))
            digest.update(f"{file.relative_to(folder)} {size}".encode() + beginning + stream.read())
    return f"{folder.name}@{digest.hexdigest()[:12]}"


def read_tensors(folder: Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    """The single tensors of a model. Raises PriorError naming the file and what it lacks."""
    file = folder / "tensors.safetensors"
    if not file.is_file():
        raise PriorError(f"{file}: expected the tensors {', '.join(names)}, found no file; fetch the folder again.")
    shapes = check_safetensors(file)
    absent = [name for name in names if name not in shapes]
    if absent:
        raise PriorError(f"{file}: expected tensor '{absent[0]}', but the file lacks it.")
    return load_file(str(file))


def initial_pipeline(source: str | Path) -> tuple[Any, str]:
    """An inpainting checkpoint to start from, and its name, see `load_checkpoint`. Raises PriorError, also for SDXL."""
    checkpoint = load_checkpoint(source, DiffusionConfig())
    if hasattr(checkpoint.pipeline, "text_encoder_2"):
        raise PriorError(
            f"{checkpoint.name}: expected a checkpoint of Stable Diffusion 1 or 2's layout to start a novel-view model "
            "from, got SDXL's, whose U-Net wants more conditions; start from bundled, sd-1.5 or sd-2."
        )
    scheduler = checkpoint.pipeline.scheduler
    checkpoint.pipeline.scheduler = DDIMScheduler.from_config(
        scheduler.config,
        # few steps must start at the noisiest level, which is where novel views are decided, and at that level nothing
        # may be left of the signal: models read brightness and colour from it (Lin et al. 2024, sections 3.1 to 3.3)
        timestep_spacing="trailing",
        rescale_betas_zero_snr=scheduler.config.prediction_type == "v_prediction",  # noise says nothing about noise
        clip_sample=False,
    )
    return checkpoint.pipeline, checkpoint.name


def with_input_channels(unet: Any, kept: list[int | None]) -> Any:
    """The U-Net, in place, with another first convolution: its input channels are old ones by index, None new and 0."""
    old = unet.conv_in
    new = nn.Conv2d(len(kept), old.out_channels, old.kernel_size, padding=old.padding).to(old.weight)
    with torch.no_grad():
        new.weight.zero_()
        new.bias.copy_(old.bias)  # pyright: ignore[reportOptionalMemberAccess]
        for channel, index in enumerate(kept):
            if index is not None:
                new.weight[:, channel] = old.weight[:, index]
    unet.conv_in = new
    unet.register_to_config(in_channels=len(kept))
    return unet

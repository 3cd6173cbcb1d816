"""Finding and loading Stable-Diffusion-class inpainting checkpoints: a hub name, a local folder or a single file.

Weights are read from safetensors only, which cannot run code, and checked before they are used: a file that was cut
short, a tensor of another shape and a tensor that is missing are named.
"""

# ruff: noqa: E402 (transformers has to be told to be quiet before diffusers imports it)

# diffusers annotates many arguments and results more narrowly than it behaves
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

transformers.logging.set_verbosity_error()  # it warns that torchvision is missing, which nothing here needs
transformers.logging.disable_progress_bar()
import diffusers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    PNDMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLInpaintPipeline,
)
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError

from unscene.priors.diffusion.config import FAMILIES, DiffusionConfig
from unscene.priors.hub import first_available
from unscene.priors.prior_error import PriorError

diffusers_logging.set_verbosity_error()
diffusers_logging.disable_progress_bar()

BUNDLED = Path(__file__).parents[1] / "bundled"
WAYS_FORWARD = (
    "connect to the network and repeat the command, give a folder or .safetensors file you have as the prior, "
    "or use the one that is built in: --prior bundled"
)
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Checkpoint:
    """A loaded pipeline, and the name and revision by which records call it."""

    pipeline: StableDiffusionInpaintPipeline | StableDiffusionXLInpaintPipeline
    name: str


def load_checkpoint(source: str | Path, config: DiffusionConfig) -> Checkpoint:
    """Load a family (`sd-1.5`, `sd-2`, `sdxl`), hub id, diffusers folder or single .safetensors file.

    Raises PriorError if there is none, or it is damaged, or is no inpainting model.
    """
    folder, name = locate_checkpoint(source)
    pipeline = _read_single_file(folder, config) if folder.is_file() else _read_folder(folder)
    channels = pipeline.unet.config.in_channels
    if channels != 9:
        raise PriorError(
            f"{name}: expected an inpainting U-Net with 9 input channels, got {channels}; use an inpainting checkpoint."
        )
    return Checkpoint(set_up(pipeline, config), name)


def locate_checkpoint(source: str | Path, *, offline: bool = False) -> tuple[Path, str]:
    """Folder or file of a checkpoint on this machine, downloaded if need be, and its name with its revision.

    offline: look only at what is on this machine. Raises PriorError with the three ways forward.
    """
    path = Path(source).expanduser()
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise PriorError(f"{path}: expected a .safetensors file; files of this kind can run code when loaded.")
    if path.is_file():
        return path, path.name
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise PriorError(f"{path}: expected a diffusers folder with a model_index.json, found none.")
        return path, path.name
    if path.suffix == ".safetensors" or not _is_hub_id(str(source)):
        raise PriorError(f"{source}: expected a folder, a .safetensors file or a hub checkpoint's name, found none.")
    ids = FAMILIES.get(str(source), (str(source),))

    def fetch(hub_id: str, local: bool) -> str:
        return str(DiffusionPipeline.download(hub_id, use_safetensors=True, local_files_only=local))

    return first_available(ids, fetch, offline=offline, wanted=f"'{source}'", ways_forward=WAYS_FORWARD)


def load_autoencoder(folder: Path = BUNDLED) -> AutoencoderKL:
    """The autoencoder of a diffusers folder alone, frozen."""
    autoencoder = AutoencoderKL.from_pretrained(folder, subfolder="vae", use_safetensors=True)
    return autoencoder.requires_grad_(False).eval()


def training_scheduler(pipeline: Any) -> DDPMScheduler:
    """The noise schedule a pipeline was trained with, whatever sampler it runs."""
    scheduler: Any = DDPMScheduler.from_config(pipeline.scheduler.config)
    return scheduler


def check_safetensors(file: Path) -> dict[str, tuple[int, ...]]:
    """Tensor names and shapes of a safetensors file. Raises PriorError naming file and tensor if it was cut short."""
    with file.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        text = stream.read(length) if 0 < length < 2**27 else b""
    size = file.stat().st_size
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        ends = {name: 8 + length + entry["data_offsets"][1] for name, entry in header.items()}
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriorError(
            f"{file}: expected a safetensors file, but its header is unreadable; fetch it again."
        ) from error
    if ends and size > max(ends.values()):
        raise PriorError(f"{file}: expected {max(ends.values())} bytes, got {size}; fetch it again.")
    for name, end in sorted(ends.items(), key=lambda item: item[1]):
        if end > size:
            raise PriorError(
                f"{file}: expected {max(ends.values())} bytes, got {size}; it ends in tensor '{name}'; fetch it again."
            )
    return shapes


def _read_folder(folder: Path) -> Any:
    """Every network of a diffusers folder, each checked, in the pipeline class it was made for."""
    index_file = folder / "model_index.json"
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        classes = {part: tuple(index[part]) for part in NETWORKS if index.get(part)}
        large = "XL" in index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PriorError(
            f"{index_file}: expected the parts and the class of a diffusers pipeline; fetch the folder again."
        ) from error
    networks = {}
    for part, (library, class_name) in classes.items():
        if library in ("diffusers", "transformers"):
            network_class = getattr(diffusers if library == "diffusers" else transformers, class_name, None)
            if network_class is None:
                raise PriorError(f"{index_file}: '{part}' is a {class_name}, which the installed {library} lacks.")
            networks[part] = read_network(folder, part, network_class)
    pipeline_class, unused = _pipeline_class(large=large)
    return pipeline_class.from_pretrained(folder, use_safetensors=True, local_files_only=True, **networks, **unused)


def _pipeline_class(*, large: bool) -> tuple[Any, dict[str, Any]]:
    """The pipeline of SDXL or of its predecessors, and the arguments that leave out what we do not use."""
    if large:
        return StableDiffusionXLInpaintPipeline, {}
    return StableDiffusionInpaintPipeline, {"safety_checker": None, "requires_safety_checker": False}


def read_network(folder: Path, part: str, network_class: Any) -> Any:
    files = sorted((folder / part).glob("*.safetensors"))
    plain = [file for file in files if ".fp16." not in file.name and ".non_ema." not in file.name]
    if not files:
        raise PriorError(f"{folder / part}: expected weights as .safetensors, found none.")
    for file in plain or files:
        check_safetensors(file)
    variant = {} if plain else {"variant": "fp16"}
    wanted = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True, **variant}
    try:
        network, info = network_class.from_pretrained(folder, subfolder=part, **wanted)
    except (ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise PriorError(f"{(plain or files)[0]}: {_first_line(error)}") from error
    missing = sorted(key for key in info["missing_keys"] if not key.endswith("position_ids"))
    if missing:
        raise PriorError(
            f"{(plain or files)[0]}: expected tensor '{missing[0]}'"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ", but the file lacks it; it does not belong to this config.json."
        )
    return network


def _read_single_file(file: Path, config: DiffusionConfig) -> Any:
    shapes = check_safetensors(file)
    large = any(name.startswith("conditioner.embedders.1.") for name in shapes)
    pipeline_class, unused = _pipeline_class(large=large)
    local = {"config": str(config.single_file_config), "local_files_only": True} if config.single_file_config else {}
    try:
        return pipeline_class.from_single_file(str(file), **local, **unused)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, SingleFileComponentError) as error:
        hint = "" if local else " Without a network, name a diffusers folder of its family with single_file_config."
        raise PriorError(f"{file}: {_first_line(error)}{hint}") from error


def set_up(pipeline: Any, config: DiffusionConfig) -> Any:
    """Frozen, on its device, in its precision, with its scheduler."""
    pipeline.set_progress_bar_config(disable=True)
    for encoder, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if getattr(pipeline, encoder, None) is not None:
            _name_end_of_text(getattr(pipeline, encoder), getattr(pipeline, tokenizer).eos_token_id)
    scheduler_class: Any = getattr(diffusers, config.scheduler, None)
    if not hasattr(scheduler_class, "add_noise"):
        raise PriorError(f"scheduler: expected the name of a scheduler class of diffusers, got '{config.scheduler}'.")
    changes: dict[str, Any] = {}
    if scheduler_class is DDIMScheduler:
        changes["clip_sample"] = False  # latents are not bounded by 1
    elif scheduler_class is PNDMScheduler:
        changes["skip_prk_steps"] = True  # as all of Stable Diffusion's checkpoints have it; others do not say
    pipeline.scheduler = scheduler_class.from_config(pipeline.scheduler.config, **changes)
    config = config.on("cpu")
    dtype = PRECISIONS[config.precision or "float32"]
    large = isinstance(pipeline, StableDiffusionXLInpaintPipeline)  # the one whose autoencoder overflows in float16
    for part in _networks(pipeline):
        overflows = large and part is pipeline.vae and dtype == torch.float16 and part.config.get("force_upcast")
        part.requires_grad_(False).eval().to(torch.float32 if overflows else dtype)
    pipeline.vae.enable_slicing()  # image by image: decoding is where a batch of photos would take most memory
    if config.attention_slicing:
        pipeline.enable_attention_slicing("max")
    if config.offload == "none":
        pipeline.to(config.device)
    elif config.device == "cpu":
        raise PriorError("offload: expected an accelerator to offload from; set its device too, for instance cuda.")
    elif config.offload == "model":
        pipeline.enable_model_cpu_offload(device=config.device)
    else:
        pipeline.enable_sequential_cpu_offload(device=config.device)
    return pipeline


def _name_end_of_text(encoder: Any, token: int) -> None:
    """Pool a text's state at its end-of-text token.

    Published CLIP configurations call that token 2, upon which transformers looks for the highest token instead: the
    same, until a word is added to the vocabulary.
    """
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == 2:
            module.eos_token_id = token


def _networks(pipeline: Any) -> list[Any]:
    return [network for name in NETWORKS if (network := getattr(pipeline, name, None)) is not None]


def _is_hub_id(source: str) -> bool:
    return source in FAMILIES or (source.count("/") == 1 and not source.startswith((".", "/", "~")))


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")

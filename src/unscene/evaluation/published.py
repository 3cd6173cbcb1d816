"""Published networks of the papers' metrics: where their weights are looked for, and how they are loaded.

LPIPS needs nothing but its weights. Inception and MUSIQ are torch-fidelity's and pyiqa's, which need torchvision: the
extra `metrics`. Both would unpickle whatever a file holds, so weights are read here, as tensors and nothing else.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unscene.evaluation.metric_error import MetricError
from unscene.losses.lpips import LpipsNetwork, lpips_features
from unscene.losses.perceptual import WeightedFeatures

EXTRA = "pip install 'unscene[metrics]'"


@dataclass(frozen=True)
class Weights:
    """A published file. hashed: its name ends with the first digits of its SHA-256, as torch.hub has it."""

    file: str
    url: str
    hashed: bool = True


BACKBONES: dict[LpipsNetwork, Weights] = {
    "alex": Weights("alexnet-owt-7be5be79.pth", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
    "vgg": Weights("vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth"),
}
INCEPTION = Weights(
    "weights-inception-2015-12-05-6726825d.pth",
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
)
MUSIQ = Weights(
    "musiq_koniq_ckpt-e95806b9.pth",
    "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/musiq_koniq_ckpt-e95806b9.pth",
    hashed=False,
)
HEADS = {"torchmetrics": "functional/image/lpips_models", "lpips": "weights/v0.1"}
"""Packages that bring LPIPS's heads, a few kilobytes, and the folders in them."""


def load_lpips(
    network: LpipsNetwork, folder: Path | None = None, device: torch.device | str = "cpu"
) -> WeightedFeatures:
    """LPIPS's network with its published weights, for a metric or a loss. Raises MetricError if they cannot be had.

    folder: where to look first, for the backbone under torchvision's name (or that of a .safetensors file) and for the
    heads, lpips_vgg.pth or lpips_alex.pth.
    """
    backbone, heads = _find(BACKBONES[network], folder, f"lpips-{network}"), _find_heads(network, folder)
    tensors = _read(backbone), _read(heads)
    try:
        return lpips_features(network, *tensors, device)
    except ValueError as error:
        raise MetricError(f"{_misfit(backbone, error)} Its linear layers came from {heads}.") from error


def load_inception(folder: Path | None = None, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """FID's Inception: N 3 H W in [0, 1] -> N 2048. Raises MetricError."""
    extractor = _import("torch_fidelity.feature_extractor_inceptionv3", "torch-fidelity", "fid and kid")
    weights = _find(INCEPTION, folder, "fid and kid")
    state = _read(weights)
    with tempfile.TemporaryDirectory() as safe:  # torch-fidelity reads any pickle: let it have one of tensors only
        copy = Path(safe) / "inception.pth"
        torch.save(state, copy)
        try:
            network = extractor.FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(copy)
            )  # fmt: skip
        except (RuntimeError, KeyError) as error:
            raise MetricError(_misfit(weights, error)) from error
    network = network.to(device)
    return lambda images: network((images.clamp(0, 1) * 255).round().to(torch.uint8).to(device))[0]


def load_musiq(folder: Path | None = None, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """MUSIQ trained on KonIQ-10k: 1 3 H W in [0, 1] -> its opinion, 0 to 100. Raises MetricError."""
    pyiqa = _import("pyiqa", "pyiqa", "musiq")
    weights = _find(MUSIQ, folder, "musiq")
    state = {name.removeprefix("module."): tensor for name, tensor in _read(weights).items()}
    metric = pyiqa.create_metric("musiq", device=torch.device(device), pretrained=False)
    try:
        metric.net.load_state_dict(state)
    except RuntimeError as error:
        raise MetricError(_misfit(weights, error)) from error
    return lambda images: metric(images.clamp(0, 1))


def _import(module: str, package: str, metric: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:  # a torchvision of another build than torch's fails with kinds of its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise MetricError(
            f"{metric}: expected the package {package}, which cannot be imported ({reason}); {EXTRA}. Where torch is "
            "the build for processors alone, torchvision must be that of the same index."
        ) from error


def _find(weights: Weights, folder: Path | None, metric: str) -> Path:
    """A published file in the folder given, else in the caches, else from its address."""
    cache = Path(torch.hub.get_dir())
    places = [*([folder] if folder else []), cache / "checkpoints", cache / "pyiqa"]
    names = (weights.file, Path(weights.file).with_suffix(".safetensors").name)
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    reason = "HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else _fetch(weights, cache / "checkpoints")
    if reason is None:
        return cache / "checkpoints" / weights.file
    raise MetricError(
        f"{metric}: expected the published weights {weights.file}, found none in "
        f"{', '.join(str(place) for place in places)}, and cannot fetch them ({reason}); fetch {weights.url} elsewhere "
        "and give its folder with --weights, or measure in the bundled features: --metrics perceptual frechet kernel."
    )


def _fetch(weights: Weights, folder: Path) -> str | None:
    """Download a file; why it could not be done, or None."""
    digits = Path(weights.file).stem.rpartition("-")[2] if weights.hashed else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(weights.url, str(folder / weights.file), hash_prefix=digits, progress=False)
    except (OSError, URLError, RuntimeError) as error:  # RuntimeError: the digits are wrong
        return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return None


def _find_heads(network: LpipsNetwork, folder: Path | None) -> Path:
    places = [folder / f"lpips_{network}.{suffix}" for suffix in ("pth", "safetensors")] if folder else []
    for package, inside in HEADS.items():  # looked for without importing them, which would import torchvision
        spec = importlib.util.find_spec(package)
        places += [Path(root) / inside / f"{network}.pth" for root in (spec and spec.submodule_search_locations) or ()]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise MetricError(
            f"lpips-{network}: expected LPIPS's linear layers, which the package torchmetrics brings, found none; "
            f"pip install torchmetrics, or put them as lpips_{network}.pth into the folder of --weights."
        )
    return found


def _read(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, never its code."""
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise MetricError(_misfit(file, error)) from error
    except Exception as error:  # pickle.UnpicklingError: more than tensors
        raise MetricError(f"{file}: expected tensors and nothing else; fetch the published file again.") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise MetricError(f"{file}: expected a table of named tensors; fetch the published file again.")
    return state


def _misfit(file: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200].rstrip(".")
    return f"{file}: expected the published weights, got something else ({reason}); fetch the file again."

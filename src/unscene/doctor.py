"""What this machine offers: devices, memory, versions and caches."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from unscene.memory import machine_memory_gb

PACKAGES = ("torch", "warp-lang", "diffusers", "transformers", "peft", "accelerate", "safetensors", "pycolmap")
OPTIONAL = ("torchvision", "onnxruntime", "scikit-image", "mitsuba", "torchmetrics")


def examine() -> Iterator[tuple[str, str]]:
    """(what, finding), one line each."""
    yield "unscene", f"{_version('unscene')}, {Path(__file__).parent}"
    yield "python", f"{platform.python_version()}, {sys.executable}"
    yield (
        "system",
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, torch uses {torch.get_num_threads()}",
    )
    total, free = machine_memory_gb()
    yield "memory", f"{total:.1f} GB, {free:.1f} GB free" if total else "unknown"
    yield from _accelerators()
    for package in PACKAGES:
        yield package, _version(package) or "MISSING: pip install unscene again"
    for package in OPTIONAL:
        yield package, _version(package) or "not installed (optional)"
    for name, folder in _caches().items():
        yield f"cache of {name}", f"{folder}, {_size(folder)}" if folder.is_dir() else f"{folder}, empty"


def _accelerators() -> Iterator[tuple[str, str]]:
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            yield f"cuda:{index}", f"{name}, {total / 1e9:.1f} GB, {free / 1e9:.1f} GB free"
    elif torch.backends.mps.is_available():
        yield "mps", "available to diffusion priors"
    else:
        yield "accelerator", "none: everything runs on the processor"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _caches() -> dict[str, Path]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from unscene.warp_runtime import kernel_cache

    return {
        "compiled kernels": kernel_cache(),
        "the Hugging Face hub": Path(HF_HUB_CACHE),
        "torch.hub": Path(torch.hub.get_dir()),
    }


def _size(folder: Path) -> str:
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return f"{size / 1e9:.2f} GB" if size > 1e8 else f"{size / 1e6:.1f} MB"

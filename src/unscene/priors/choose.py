"""The priors by the names users give them, and which of them this machine can run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unscene.priors.bundled_guide import BundledGuide
from unscene.priors.classical import (
    BiharmonicInpainter,
    ExemplarInpainter,
    NavierStokesInpainter,
    ShiftMapInpainter,
    TeleaInpainter,
)
from unscene.priors.diffusion.config import FAMILIES, DiffusionConfig
from unscene.priors.files import FilesInpainter
from unscene.priors.inpainter import Inpainter
from unscene.priors.prior_error import PriorError


def load_prior(name: str, diffusion: DiffusionConfig | None = None) -> Inpainter:
    """The prior a user asked for: a name that `unscene priors` lists, `lama:FILE`, `files:DIR`, a diffusers folder, a
    .safetensors file or a hub id. Raises PriorError."""
    diffusion = diffusion or DiffusionConfig()
    kind, _, where = name.partition(":")
    plain = _load_without_diffusion(kind, where, diffusion)
    if plain is None:
        return _load_diffusion(name, diffusion)
    if diffusion.customization is not None:
        raise PriorError(f"customization: expected a diffusion prior to put it on, got '{name}'; add --prior bundled.")
    return plain


def _load_without_diffusion(kind: str, where: str, diffusion: DiffusionConfig) -> Inpainter | None:
    match kind:
        case "exemplar":
            return ExemplarInpainter()
        case "guided-exemplar":
            placed = DiffusionConfig(device=diffusion.device, precision=diffusion.precision)
            return ExemplarInpainter(guide=BundledGuide(placed))
        case "shift-map":
            return ShiftMapInpainter()
        case "telea":
            return TeleaInpainter()
        case "navier-stokes":
            return NavierStokesInpainter()
        case "biharmonic":
            return BiharmonicInpainter()
        case "files":
            return FilesInpainter(Path(where).expanduser())
        case "lama":
            from unscene.priors.lama import LamaInpainter

            return LamaInpainter(Path(where).expanduser() if where else None)
        case _:
            return None


def _load_diffusion(name: str, config: DiffusionConfig) -> Inpainter:
    from unscene.priors.diffusion.checkpoints import BUNDLED  # loads diffusers: seconds
    from unscene.priors.diffusion.latent_diffusion import LatentDiffusionInpainter

    model = LatentDiffusionInpainter.load(BUNDLED if name == "bundled" else name, config)
    if config.customization is None:
        return model
    from unscene.priors.diffusion.customize import load_customization

    return load_customization(model, config.customization)


@dataclass(frozen=True)
class Availability:
    """One prior as this machine sees it. remark: what it is when usable, else what is missing and how to get it."""

    name: str
    usable: bool
    remark: str


def available_priors() -> Iterator[Availability]:
    """Every named prior and whether it can run here, without the network and without loading any weights."""
    guided = "patches of the photo itself, placed by what the bundled model expects (the default)"
    yield Availability("guided-exemplar", True, guided)
    yield Availability("exemplar", True, "patches of the photo itself, no weights")
    yield Availability("bundled", True, "the small diffusion model that is part of the package")
    yield Availability("telea", True, "OpenCV, smooth")
    yield Availability("navier-stokes", True, "OpenCV, smooth")
    found = _shift_map_exists()
    yield Availability("shift-map", found, "OpenCV's xphoto" if found else "pip install opencv-contrib-python-headless")
    skimage = importlib.util.find_spec("skimage") is not None
    yield Availability("biharmonic", skimage, "scikit-image, smooth" if skimage else "pip install scikit-image")
    yield _lama()
    for family in FAMILIES:
        yield _hub(family)
    yield Availability("files:DIR", True, "inpaintings you have, named like the photos")
    yield Availability("PATH or HUB/ID", True, "any Stable Diffusion inpainting folder, .safetensors file or hub id")


def _shift_map_exists() -> bool:
    import cv2

    return hasattr(cv2, "xphoto")


def _lama() -> Availability:
    from unscene.priors.lama import HOW, find_lama

    file = find_lama()
    if file is None:
        return Availability("lama", False, HOW)
    if file.suffix == ".onnx" and importlib.util.find_spec("onnxruntime") is None:
        return Availability("lama", False, f"found {file}; pip install onnxruntime to run it")
    return Availability("lama", True, str(file))


def _hub(family: str) -> Availability:
    from unscene.priors.diffusion.checkpoints import locate_checkpoint  # loads diffusers: seconds

    try:
        return Availability(family, True, f"cached: {locate_checkpoint(family, offline=True)[1]}")
    except PriorError:
        return Availability(family, False, f"not in the cache; the first use fetches {FAMILIES[family][0]}")

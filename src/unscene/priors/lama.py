"""LaMa (Suvorov et al., WACV 2022): inpainting of large masks, from a TorchScript or ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unscene.priors.inpainter import check_images
from unscene.priors.prior_error import PriorError

MULTIPLE = 8  # the network halves its input three times
NAMES = ("big-lama.pt", "lama.pt", "lama_fp32.onnx", "lama.onnx", "big-lama.onnx")
HUB_CACHE_FOLDER = "models--Carve--LaMa-ONNX"
HOW = (
    "give the file, --prior lama:/path/to/big-lama.pt (TorchScript) or lama:/path/to/lama_fp32.onnx (needs "
    "`pip install onnxruntime`), or put it into the cache of torch.hub"
)
Network = Callable[[Tensor, Tensor], Tensor]  # N 3 H W in [0, 1], N 1 H W of 0 and 1 -> N 3 H W


class LamaInpainter:
    """Fills each image with LaMa. Raises PriorError if the file is missing, damaged, or its runtime not installed."""

    def __init__(self, file: Path | None = None):
        found = file if file is not None else find_lama()
        if found is None or not found.is_file():
            raise PriorError(f"lama: expected its weights{f' at {file}' if file else ''}, found none; {HOW}.")
        self.name = f"lama:{found.name}"
        self.network, self.size = _onnx(found) if found.suffix == ".onnx" else _torchscript(found)

    @torch.no_grad()
    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """See `Inpainter.inpaint`; deterministic, `generator` is unused."""
        check_images(images, masks)
        filled = torch.stack([self._fill(image, mask) for image, mask in zip(images, masks, strict=True)])
        return torch.where(masks[..., None], filled.to(images).clamp(0, 1), images)

    def _fill(self, image: Tensor, mask: Tensor) -> Tensor:
        height, width = mask.shape
        pixels, hole = image.permute(2, 0, 1)[None].float(), mask[None, None].float()
        if self.size is None:
            padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
            pixels, hole = F.pad(pixels, padding, mode="reflect"), F.pad(hole, padding, mode="reflect")
        else:  # exported for one size only
            pixels = F.interpolate(pixels, self.size, mode="bilinear", antialias=True)
            hole = (F.interpolate(hole, self.size, mode="area") > 0).float()
        filled = self.network(pixels * (1 - hole), hole)
        if filled.shape != pixels.shape:
            raise PriorError(f"{self.name}: expected an image of {tuple(pixels.shape)}, got {tuple(filled.shape)}.")
        if filled.max() > 2:  # some exports answer in 0..255
            filled = filled / 255
        if self.size is not None:
            filled = F.interpolate(filled, (height, width), mode="bicubic")
        return filled[0, :, :height, :width].permute(1, 2, 0)


def find_lama() -> Path | None:
    """LaMa's weights in the caches of torch.hub and of the Hugging Face hub, if there."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    folders += sorted((Path(HF_HUB_CACHE) / HUB_CACHE_FOLDER / "snapshots").glob("*"))
    return next((folder / name for folder in folders for name in NAMES if (folder / name).is_file()), None)


def _torchscript(file: Path) -> tuple[Network, None]:
    """A TorchScript archive holds a program of tensor operations in a language of its own, not Python's pickles."""
    try:
        module = torch.jit.load(str(file), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PriorError(f"{file}: expected a TorchScript archive of LaMa: {reason}") from error
    return module, None


def _onnx(file: Path) -> tuple[Network, tuple[int, int] | None]:
    try:
        import onnxruntime
    except ImportError as error:
        raise PriorError(f"{file}: expected onnxruntime to run it; pip install onnxruntime.") from error
    try:
        session = onnxruntime.InferenceSession(str(file), providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime has kinds of its own, all without a common base
        raise PriorError(f"{file}: expected an ONNX model of LaMa: {str(error).splitlines()[0]}") from error
    image, mask = session.get_inputs()
    fixed = image.shape[2:] if all(isinstance(side, int) for side in image.shape[2:]) else None

    def network(pixels: Tensor, hole: Tensor) -> Tensor:
        feed = {image.name: pixels.numpy().astype(np.float32), mask.name: hole.numpy().astype(np.float32)}
        return torch.from_numpy(session.run(None, feed)[0])

    return network, tuple(fixed) if fixed else None

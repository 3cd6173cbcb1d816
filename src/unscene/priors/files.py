"""Inpaintings made elsewhere, by any tool or by hand, as a prior: one file a view, named like the view's photo."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from torch import Tensor

from unscene.priors.prior_error import PriorError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


class FilesInpainter:
    """Looks inpaintings up by the photo's name; unmasked pixels stay the photo's own.

    Raises PriorError if the folder holds no images.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise PriorError(f"files:{folder}: expected a folder of inpainted photos, found none.")
        self.files = {file.stem: file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES}
        if not self.files:
            raise PriorError(f"files:{folder}: expected inpainted photos named like the scene's, found no images.")
        self.name = f"files:{folder.name}"

    def has(self, name: str) -> bool:
        """Whether there is an inpainting of the photo called ``name``."""
        return Path(name).stem in self.files

    def inpaint_named(self, names: list[str], images: Tensor, masks: Tensor) -> Tensor:
        """The inpaintings of the named photos (N H W 3, masks N H W bool) at their size, pasted under the masks."""
        found = torch.stack([self._read(name, image) for name, image in zip(names, images, strict=True)])
        return torch.where(masks[..., None], found, images)

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """Part of `Inpainter`, but without names nothing can be looked up: raises PriorError."""
        raise PriorError(f"{self.name}: expected photos with names; this method inpaints images that have none.")

    def _read(self, name: str, photo: Tensor) -> Tensor:
        if not self.has(name):
            raise PriorError(f"{self.name}: expected an inpainting called {Path(name).stem}.png or .jpg, found none.")
        file, (height, width) = self.files[Path(name).stem], photo.shape[:2]
        pixels = cv2.imread(str(file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if pixels is None:
            raise PriorError(f"{file}: expected an image, but it cannot be decoded.")
        if abs(pixels.shape[1] / pixels.shape[0] - width / height) > 0.02 * width / height:
            raise PriorError(
                f"{file}: expected the shape of its photo, {width}x{height} or a multiple, "
                f"got {pixels.shape[1]}x{pixels.shape[0]}."
            )
        shrinks = pixels.shape[0] > height
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        return torch.from_numpy(pixels[..., ::-1].copy()).to(photo) / 255

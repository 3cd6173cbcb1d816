"""Inpaintings made elsewhere, by any tool or by hand, as a prior: one file a view, named like the view's photo.

Photos may lie in folders of the same names (left/1.jpg, right/1.jpg): what is named alike down to its folders belongs
together. A file name alone decides only where no other file or photo shares it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import torch
from torch import Tensor

from unscene.files import read_pixels
from unscene.priors.prior_error import PriorError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


class FilesInpainter:
    """Looks inpaintings up by the photo's name; unmasked pixels stay the photo's own.

    Raises PriorError if the folder holds no images.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise PriorError(f"files:{folder}: expected a folder of inpainted photos, found none.")
        files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES and file.is_file()]
        if not files:
            raise PriorError(f"files:{folder}: expected inpainted photos named like the scene's, found no images.")
        self.name = f"files:{folder.name}"
        self.files: dict[tuple[str, ...], Path] = {}
        for file in files:
            key = file.relative_to(folder).with_suffix("").parts
            if key in self.files:
                raise PriorError(f"{self.name}: expected one inpainting a photo, got {self.files[key]} and {file}.")
            self.files[key] = file

    def find(self, name: str) -> Path | None:
        """The inpainting of the photo called ``name``: the file that shares most of its path, if only one does."""
        wanted = Path(name).with_suffix("").parts
        shared = {key: _shared_end(key, wanted) for key in self.files if key[-1] == wanted[-1]}
        if not shared:
            return None
        best = [self.files[key] for key, count in shared.items() if count == max(shared.values())]
        if len(best) > 1:
            raise PriorError(
                f"{self.name}: expected one inpainting of {name}, got {', '.join(str(f) for f in best)}; "
                "put them into folders named like the photos'."
            )
        return best[0]

    def has(self, name: str) -> bool:
        """Whether there is an inpainting of the photo called ``name``."""
        return self.find(name) is not None

    def check_names(self, names: list[str]) -> None:
        """Raise PriorError if two of a scene's photos would share a file."""
        owners: dict[Path, str] = {}
        for name in names:
            file = self.find(name)
            if file is not None and owners.setdefault(file, name) != name:
                raise PriorError(
                    f"{self.name}: expected an inpainting for each of {owners[file]} and {name}, found only {file}; "
                    "put theirs into folders named like the photos'."
                )

    def inpaint_named(self, names: list[str], images: Tensor, masks: Tensor) -> Tensor:
        """The inpaintings of the named photos (N H W 3, masks N H W bool) at their size, pasted under the masks."""
        found = torch.stack([self._read(name, image) for name, image in zip(names, images, strict=True)])
        return torch.where(masks[..., None], found, images)

    def inpaint(self, images: Tensor, masks: Tensor, *, generator: torch.Generator) -> Tensor:
        """Part of `Inpainter`, but without names nothing can be looked up: raises PriorError."""
        raise PriorError(f"{self.name}: expected photos with names; this method inpaints images that have none.")

    def _read(self, name: str, photo: Tensor) -> Tensor:
        file, (height, width) = self.find(name), photo.shape[:2]
        if file is None:
            raise PriorError(f"{self.name}: expected an inpainting called {Path(name).stem}.png or .jpg, found none.")
        pixels = read_pixels(file, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
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


def _shared_end(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """How many parts, from the last on, two paths have in common."""
    different = [x != y for x, y in zip(reversed(a), reversed(b), strict=False)]
    return different.index(True) if True in different else len(different)

"""A turn as an animated picture that needs no player."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unscene.files import atomic_write


def write_gif(path: Path, frames: list[Tensor], *, frames_per_second: int) -> None:
    """Write frames, H W 3 in [0, 1], as an endless GIF, every frame with the palette that suits it best."""
    pictures = [
        Image.fromarray((frame.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()).quantize(256)
        for frame in frames
    ]
    with atomic_write(path) as temporary:
        pictures[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=pictures[1:],
            loop=0,
            duration=round(1000 / frames_per_second),
        )

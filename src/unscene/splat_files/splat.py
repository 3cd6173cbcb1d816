"""`.splat` files: 32 bytes a Gaussian, without a header (antimatter15's, read by most viewers in browsers).

Position and scale as float, colour with opacity and quaternion in 8 bits each; no colour depends on the direction.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unscene.files import atomic_write
from unscene.geometry.gaussians import Gaussians, harmonics_of, opacity_logits_of
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, check_memory

RECORD = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("color", "u1", 4), ("quaternion", "u1", 4)])


def read_splat(path: Path, announce: Announce) -> SplatFile:
    """Read a `.splat` file. Raises SplatError for a size that is none of whole records."""
    count, left = divmod(path.stat().st_size, RECORD.itemsize)
    if left:
        raise SplatError(
            f"{path}: expected records of {RECORD.itemsize} bytes, but {left} bytes are left; copy it again."
        )
    check_memory(path, count, 1, announce)
    records = np.fromfile(path, RECORD)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_scales = np.log(records["scale"])
    color = torch.from_numpy(records["color"].astype(np.float32) / 255)
    quaternions = torch.from_numpy((records["quaternion"].astype(np.float32) - 128) / 128)
    return SplatFile(
        Gaussians(
            torch.from_numpy(np.ascontiguousarray(records["mean"])),
            torch.from_numpy(log_scales),
            torch.nn.functional.normalize(quaternions, dim=-1),
            opacity_logits_of(color[:, 3]),
            harmonics_of(color[:, :3]),
        )
    )


def write_splat(path: Path, gaussians: Gaussians) -> None:
    """Write a `.splat` file, the largest and most opaque Gaussians first, as viewers load it from its beginning."""
    order = (gaussians.log_scales.sum(-1) + gaussians.opacities.log()).argsort(descending=True, stable=True)
    gaussians = gaussians[order].to("cpu")
    records = np.empty(len(gaussians), RECORD)
    records["mean"], records["scale"] = gaussians.means.numpy(), gaussians.scales.numpy()
    color = torch.cat([gaussians.base_colors, gaussians.opacities[:, None]], -1)
    records["color"] = (color.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    unit = torch.nn.functional.normalize(gaussians.quaternions, dim=-1)
    records["quaternion"] = (unit * 128 + 128).round().clamp(0, 255).to(torch.uint8).numpy()
    with atomic_write(path) as temporary:
        records.tofile(temporary)

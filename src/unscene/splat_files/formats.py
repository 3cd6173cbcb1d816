"""Files of Gaussian splats: which reader or writer a file asks for."""

from __future__ import annotations

from pathlib import Path

from unscene.splat_files.compressed_ply import is_compressed, read_compressed_ply
from unscene.splat_files.gaussian_ply import read_gaussian_ply, write_gaussian_ply
from unscene.splat_files.ply_elements import read_header
from unscene.splat_files.sog import read_sog
from unscene.splat_files.splat import read_splat, write_splat
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import Announce, SplatFile, checked, silent
from unscene.splat_files.spz import read_spz, write_spz

READ = (".ply", ".splat", ".spz", ".sog")
WRITTEN = (".ply", ".splat", ".spz")


def read_splats(path: Path | str, *, announce: Announce = silent) -> SplatFile:
    """Read Gaussians from a 3DGS PLY, a compressed PLY, a .splat, .spz (2 to 4) or .sog (2) file.

    announce: is told how much memory a large file will take, before it does. Gaussians that cannot be drawn are left
    out, with a note. Raises SplatError for files that are none of these, are damaged, hold nothing or do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise SplatError(f"{path}: expected a file of splats ({', '.join(READ)}), found none there; check the path.")
    match path.suffix.lower():
        case ".ply":
            header = read_header(path)
            content = (read_compressed_ply if is_compressed(header) else read_gaussian_ply)(path, header, announce)
        case ".splat":
            content = read_splat(path, announce)
        case ".spz":
            content = read_spz(path, announce)
        case ".sog":
            content = read_sog(path, announce)
        case other:
            raise SplatError(f"{path}: expected {', '.join(READ)}, got a file of '{other}'; convert it to .ply.")
    return checked(path, content)


def write_splats(path: Path | str, content: SplatFile) -> None:
    """Write Gaussians in the format that the path's suffix names: .ply keeps all, .splat and .spz what they can."""
    path = Path(path)
    match path.suffix.lower():
        case ".ply":
            write_gaussian_ply(path, content)
        case ".splat":
            write_splat(path, content.gaussians)
        case ".spz":
            write_spz(path, content.gaussians)
        case other:
            raise SplatError(f"{path}: expected a name that ends in {', '.join(WRITTEN)}, got '{other}'; change it.")

"""3DGS PLY files of every program: read by name, written back bit by bit, bad ones refused in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.splat_files.random_gaussians import random_gaussians
from unscene.geometry.gaussians import Gaussians
from unscene.splat_files import splat_file
from unscene.splat_files.formats import read_splats, write_splats
from unscene.splat_files.gaussian_ply import GEOMETRY
from unscene.splat_files.splat_error import SplatError
from unscene.splat_files.splat_file import SplatFile

CODES = {"<f4": "float", "<f8": "double", "u1": "uchar", ">f4": "float", "|u1": "uchar"}


def same(ours: Gaussians, theirs: Gaussians) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.tensors, theirs.tensors, strict=True))


def table_of(
    gaussians: Gaussians, order: list[str], extras: dict[str, np.ndarray], byte_order: str = "<"
) -> np.ndarray:
    """A file's table, put together property by property as the format's definition has them."""
    rest = gaussians.harmonics.shape[1] - 1
    columns = dict(zip("xyz", gaussians.means.T, strict=True)) | {"opacity": gaussians.opacity_logits}
    columns |= {f"scale_{i}": gaussians.log_scales[:, i] for i in range(3)}
    columns |= {f"rot_{i}": gaussians.quaternions[:, i] for i in range(4)}
    columns |= {f"f_dc_{i}": gaussians.harmonics[:, 0, i] for i in range(3)}
    for channel in range(3):
        for k in range(rest):
            columns[f"f_rest_{channel * rest + k}"] = gaussians.harmonics[:, 1 + k, channel]
    kinds = [(name, extras[name].dtype.str if name in extras else byte_order + "f4") for name in order]
    table = np.empty(len(gaussians), kinds)
    for name in order:
        table[name] = extras[name] if name in extras else columns[name].numpy()
    return table


def written(
    path: Path, table: np.ndarray, *, format: str = "binary_little_endian", comment: str = "made by hand"
) -> Path:
    kinds = table.dtype
    lines = ["ply", f"format {format} 1.0", f"comment {comment}", f"element vertex {len(table)}"]
    lines += [f"property {CODES[kinds[name].str]} {name}" for name in kinds.names or ()]
    path.write_bytes("\n".join([*lines, "end_header", ""]).encode() + table.tobytes())
    return path


def usual(degree: int, *, normals: bool) -> list[str]:
    rest = 3 * ((degree + 1) ** 2 - 1)
    return [
        *"xyz", *(["nx", "ny", "nz"] if normals else []), "f_dc_0", "f_dc_1", "f_dc_2",
        *(f"f_rest_{i}" for i in range(rest)), *GEOMETRY[3:],
    ]  # fmt: skip


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("normals", [False, True])
def test_files_come_back_byte_by_byte(degree: int, normals: bool, tmp_path: Path) -> None:
    gaussians = random_gaussians(1500, degree)  # more than one block of rows
    extras = {name: np.zeros(1500, "<f4") for name in ("nx", "ny", "nz")} if normals else {}
    path = written(tmp_path / "a.ply", table_of(gaussians, usual(degree, normals=normals), extras))
    content = read_splats(path)
    assert same(content.gaussians, gaussians) and content.gaussians.degree == degree
    assert content.notes == () and content.comments == ("made by hand",)
    write_splats(tmp_path / "b.ply", content)
    assert (tmp_path / "b.ply").read_bytes() == path.read_bytes()


def test_any_order_of_properties_and_extra_ones_are_kept(tmp_path: Path) -> None:
    gaussians, generator = random_gaussians(50, 1), np.random.default_rng(0)
    extras = {"label": generator.integers(0, 255, 50).astype("u1"), "time": generator.random(50)}
    order = [*usual(1, normals=False), "label", "time"]
    generator.shuffle(order)
    path = written(tmp_path / "a.ply", table_of(gaussians, order, extras))
    content = read_splats(path)
    assert same(content.gaussians, gaussians)
    assert {name: values.tolist() for name, values in content.extras.items()} == {
        name: values.tolist() for name, values in extras.items()
    }
    write_splats(tmp_path / "b.ply", content)
    assert (tmp_path / "b.ply").read_bytes() == path.read_bytes()


def test_what_is_new_gets_the_original_codes_order(tmp_path: Path) -> None:
    gaussians = random_gaussians(7, 3)
    write_splats(tmp_path / "a.ply", SplatFile(gaussians))
    assert list(read_splats(tmp_path / "a.ply").properties) == usual(3, normals=False)


def test_big_endian_text_and_carriage_returns(tmp_path: Path) -> None:
    gaussians, order = random_gaussians(20, 1), usual(1, normals=False)
    big = written(tmp_path / "big.ply", table_of(gaussians, order, {}, ">"), format="binary_big_endian")
    assert same(read_splats(big).gaussians, gaussians)
    table = table_of(gaussians, order, {})
    header = written(tmp_path / "x.ply", table[:0], format="ascii").read_text().replace("vertex 0", "vertex 20")
    rows = "\n".join(" ".join(f"{value:.9g}" for value in row) for row in table.tolist())
    text = tmp_path / "text.ply"
    text.write_bytes((header + rows + "\n").replace("\n", "\r\n").encode())
    assert same(read_splats(text).gaussians, gaussians)


def test_colours_in_bytes_instead_of_harmonics(tmp_path: Path) -> None:
    gaussians, shades = random_gaussians(9, 0), np.arange(9, dtype="u1") * 20
    extras = dict.fromkeys(("red", "green", "blue"), shades)
    order = [name for name in usual(0, normals=False) if not name.startswith("f_dc")] + list(extras)
    content = read_splats(written(tmp_path / "a.ply", table_of(gaussians, order, extras)))
    assert torch.equal(content.gaussians.means, gaussians.means)
    torch.testing.assert_close(content.gaussians.base_colors[:, 1], torch.from_numpy(shades) / 255)


@pytest.mark.parametrize(
    ("place", "value"),
    [("means", float("nan")), ("log_scales", float("inf")), ("log_scales", 90.0), ("harmonics", 1e30), ("means", 1e20)],
)
def test_gaussians_that_cannot_be_drawn_are_left_out_and_counted(place: str, value: float, tmp_path: Path) -> None:
    gaussians = random_gaussians(10, 1)
    getattr(gaussians, place)[3, 0] = value
    content = read_splats(written(tmp_path / "a.ply", table_of(gaussians, usual(1, normals=False), {})))
    assert same(content.gaussians, gaussians[torch.arange(10) != 3])
    (note,) = content.notes
    assert "1 of 10 Gaussians" in note and "number 3" in note


def test_opacities_of_nothing_and_of_everything_stay_finite(tmp_path: Path) -> None:
    gaussians = random_gaussians(3, 0)
    logits = torch.tensor([float("inf"), 0.5, float("-inf")])
    path = written(
        tmp_path / "a.ply",
        table_of(dataclasses.replace(gaussians, opacity_logits=logits), usual(0, normals=False), {}),
    )
    content = read_splats(path)
    assert len(content.gaussians) == 3 and content.gaussians.opacity_logits.isfinite().all()
    torch.testing.assert_close(content.gaussians.opacities, torch.tensor([1.0, 0.62246, 0.0]), atol=2e-6, rtol=1e-4)
    assert content.gaussians.opacity_logits[1] == 0.5


def test_bad_files_are_explained(tmp_path: Path) -> None:
    gaussians, order = random_gaussians(10, 1), usual(1, normals=False)
    whole = written(tmp_path / "a.ply", table_of(gaussians, order, {})).read_bytes()

    def explained(content: bytes, *words: str) -> None:
        path = tmp_path / "bad.ply"
        path.write_bytes(content)
        with pytest.raises(SplatError) as error:
            read_splats(path)
        assert str(error.value).startswith(f"{path}: expected") and all(word in str(error.value) for word in words)

    explained(whole[:-1], "ends after 9")
    explained(whole[: whole.index(b"end_header") + 11], "ends after 0")
    explained(whole[:40], "does not begin like one")
    explained(b"", "does not begin like one")
    explained(b"\x89PNG" + whole, "does not begin like one")
    explained(whole.replace(b"vertex 10", b"vertex 0"), "holds none")
    explained(whole.replace(b"vertex 10", b"vertex -3"), "element vertex -3")
    explained(whole.replace(b"property float opacity", b"property float opacitY"), "no opacity")
    explained(whole.replace(b"property float x", b"property list uchar int x"), "no x")
    explained(whole.replace(b"f_rest_8", b"f_rest_9"), "f_rest_*")
    explained(whole.replace(b"property float f_rest_8\n", b""), "got 8")
    explained(whole.replace(b"property float y", b"property float x"), "x")
    explained(whole.replace(b"format binary_little_endian", b"format binary_middle_endian"), "format")
    gaussians.means.fill_(float("nan"))
    explained(written(tmp_path / "b.ply", table_of(gaussians, order, {})).read_bytes(), "in every Gaussian")
    with pytest.raises(SplatError, match="found none there"):
        read_splats(tmp_path / "missing.ply")
    (tmp_path / "a.obj").write_bytes(whole)
    with pytest.raises(SplatError, match=r"a file of '\.obj'"):
        read_splats(tmp_path / "a.obj")


def test_memory_is_told_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty million are announced by the header alone, and refused where they do not fit."""
    header = written(tmp_path / "x.ply", table_of(random_gaussians(0, 3), usual(3, normals=False), {}))
    path = tmp_path / "a.ply"
    path.write_bytes(header.read_bytes().replace(b"vertex 0", b"vertex 20000000"))
    said: list[str] = []
    monkeypatch.setattr(splat_file, "machine_memory_gb", lambda: (16.0, 12.0))
    with pytest.raises(SplatError, match="ends after 0"):
        read_splats(path, announce=said.append)
    assert said == ["a.ply: 20,000,000 Gaussians take about 9.4 GB of memory"]
    monkeypatch.setattr(splat_file, "machine_memory_gb", lambda: (16.0, 8.0))
    with pytest.raises(SplatError, match=r"need 9\.4 GB and 8\.0 GB are free"):
        read_splats(path, announce=said.append)
    assert len(said) == 1

"""Meshes from glTF, GLB and OBJ files, such as Objaverse's, turned z up and with their colours as textures."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import trimesh
from PIL import Image
from trimesh.resolvers import FilePathResolver
from trimesh.visual.color import ColorVisuals
from trimesh.visual.material import PBRMaterial
from trimesh.visual.texture import TextureVisuals

from unscene.objects.mesh import TexturedMesh, joined, smooth_normals, transformed, unit, visible, with_corner_colors
from unscene.objects.object_error import ObjectError

SUFFIXES = (".glb", ".gltf", ".obj")
GREY = 160
GAMMA = 2.2
Y_UP_TO_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])

logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # its tracebacks: the errors are raised and told here


def find_meshes(folder: Path) -> list[Path]:
    """All mesh files in a folder and the folders below it, sorted.

    Raises ObjectError if there are none.
    """
    found = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ObjectError(
            f"Expected a folder with {', '.join(SUFFIXES)} files at {folder}, found none there or below; "
            "check the path, or unpack the archive of meshes into it."
        )
    return found


def load_mesh(path: Path, *, texture_size: int = 512) -> TexturedMesh:
    """Read one mesh file whole: all its geometries in their places, z up, in the file's units.

    Textures larger than texture_size (pixels along the longer side) are reduced to it. glTF is y up by its standard and
    OBJ by custom. What glTF's alpha cuts out or makes more than half transparent is left out; OBJ's is ignored. Raises
    ObjectError for files that cannot be read, hold no triangles to be seen, or refer to files outside their folder.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ObjectError(f"Expected a mesh file ({', '.join(SUFFIXES)}), got {path}; convert it to GLB.")
    resolver = FolderResolver(str(path))
    try:
        parts = _parts(path, resolver, texture_size)
    except Exception as error:  # parsers of strangers' files fail in every way
        if resolver.refused is None:
            raise ObjectError(
                f"Expected a readable {path.suffix} file at {path}, reading it failed with {type(error).__name__}: "
                f"{error}; download it again or leave it out of the folder."
            ) from error
        parts = []
    if resolver.refused is not None:  # whether or not the parser went on without the file
        raise ObjectError(
            f"Expected {path} to refer to files in its own folder, it asks for {resolver.refused}; "
            "leave it out, or copy what it needs beside it and correct the reference."
        )
    if not parts:
        raise ObjectError(
            f"Expected triangles in {path}, got a file without any or with transparent ones alone; leave it out of the "
            "folder."
        )
    mesh = joined(parts)
    if not all(np.isfinite(values).all() for values in (mesh.vertices, mesh.normals, mesh.uv)):
        raise ObjectError(f"Expected finite numbers in {path}, got NaN or infinity; leave it out of the folder.")
    return mesh


class FolderResolver(FilePathResolver):
    """Gives a mesh file what it refers to, but nothing from outside its folder: data sets are strangers' files.

    refused: the last name that was asked for and lies outside.
    """

    refused: str | None = None

    def get(self, name: str) -> bytes:
        folder = Path(self.parent).resolve()
        name = name.strip().replace("\\", "/")
        if not (folder / name).exists():
            name = unquote(name)  # glTF escapes blanks in its references
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            self.refused = name
            raise PermissionError(f"{name} lies outside {folder}")
        return path.read_bytes()

    def namespaced(self, namespace: str) -> FilePathResolver:
        self.refused = namespace
        raise PermissionError(f"{namespace}: no folders but the file's own")


def _parts(path: Path, resolver: FolderResolver, texture_size: int) -> list[TexturedMesh]:
    """The geometries of a file, each in its place, z up."""
    kind = path.suffix.lower()[1:]
    with path.open("rb") as file:
        scene = trimesh.load_scene(file, file_type=kind, resolver=resolver)
    meshes = {
        name: _textured(geometry, texture_size, linear_colors=kind != "obj")
        for name, geometry in scene.geometry.items()
        if isinstance(geometry, trimesh.Trimesh) and _drop_degenerate(geometry)
    }
    places = [scene.graph[node] for node in scene.graph.nodes_geometry]  # one geometry may have several
    seen = {name: mesh for name, mesh in meshes.items() if visible(mesh.textures[0]).any()}
    return [transformed(seen[name], Y_UP_TO_Z_UP @ matrix) for matrix, name in places if name in seen]


def _drop_degenerate(geometry: trimesh.Trimesh) -> bool:
    """Remove the triangles without area, which no ray hits and whose normals mean nothing; whether any are left."""
    corners = geometry.vertices[geometry.faces]
    with np.errstate(invalid="ignore"):  # infinite corners are told of later
        flat = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) == 0).all(1)
    if flat.any():
        geometry.update_faces(~flat)
    return len(geometry.faces) > 0


def _textured(geometry: trimesh.Trimesh, texture_size: int, *, linear_colors: bool) -> TexturedMesh:
    """A geometry with its picture times its factor, its vertex colours, or grey.

    linear_colors: vertex colours are linear in light, as glTF's are, and become gamma encoded like textures.
    """
    vertices, faces = np.asarray(geometry.vertices, np.float32), np.asarray(geometry.faces, np.int32)
    normals = unit(np.asarray(geometry.vertex_normals, np.float32))
    normals = np.where(np.abs(normals).sum(1, keepdims=True) > 0, normals, smooth_normals(vertices, faces))
    uv, texture = np.zeros((len(vertices), 2), np.float32), _plain(np.full(3, GREY))
    visual = geometry.visual
    if isinstance(visual, TextureVisuals):
        texture, pictured = _base_color(visual.material, texture_size)
        if pictured and visual.uv is not None and len(visual.uv) == len(vertices):
            uv = np.asarray(visual.uv, np.float32)[:, :2]
        elif pictured:
            texture = _plain(texture[..., :3].mean((0, 1)))
    mesh = TexturedMesh(vertices, faces, normals, uv, np.zeros(len(faces), np.int32), (texture,))
    if isinstance(visual, ColorVisuals) and visual.kind in ("vertex", "face"):
        face_colors = np.asarray(visual.face_colors)[:, None].repeat(3, 1)
        corners = np.asarray(visual.vertex_colors)[faces] if visual.kind == "vertex" else face_colors
        shares = corners[..., :3] / 255.0
        return with_corner_colors(mesh, shares ** (1 / GAMMA) if linear_colors else shares)
    return mesh


def _base_color(material, texture_size: int) -> tuple[np.ndarray, bool]:
    """A material's picture times its factor, and whether it has a picture; grey without either.

    H W 3 uint8, or H W 4 where parts of it are transparent.
    """
    pbr = isinstance(material, PBRMaterial)
    image = material.baseColorTexture if pbr else getattr(material, "image", None)
    given = material.baseColorFactor if pbr else getattr(material, "diffuse", None)
    factor = np.ones(4) if image is not None else np.array([GREY / 255] * 3 + [1])
    if given is not None and (pbr or image is None):  # OBJ's writers darken the colour under a picture at will
        factor[: len(given)] = np.asarray(given, np.float64) / 255
        factor[:3] **= 1 / GAMMA if pbr else 1  # glTF's factors are linear in light
    cutoff = _alpha_cutoff(material) if pbr else None
    pixels = np.full((2, 2, 4), 255, np.uint8)
    if image is not None:
        pixels = _reduced(image.convert("RGB" if cutoff is None else "RGBA"), texture_size)
    color = _rounded(pixels[..., :3] * factor[:3])
    if cutoff is None:
        return color, image is not None
    # the cut-off becomes one half, and a step of alpha stays a step
    alpha = _rounded(pixels[..., 3:] * factor[3] + 127.5 - 255 * cutoff)
    texture = np.concatenate([color, alpha], 2)
    return color if visible(texture).all() else texture, image is not None


def _alpha_cutoff(material: PBRMaterial) -> float | None:
    """The alpha below which nothing is there, or None if the material is opaque whatever its alpha."""
    if material.alphaMode not in ("MASK", "BLEND"):
        return None
    given = material.alphaCutoff if material.alphaMode == "MASK" else None
    return 0.5 if given is None else float(given)


def _reduced(image: Image.Image, texture_size: int) -> np.ndarray:
    """An image's pixels, its longer side at most texture_size."""
    scale = texture_size / max(image.size)
    if scale < 1:  # PIL weighs colours by their alpha
        width, height = (max(1, round(length * scale)) for length in image.size)
        image = image.resize((width, height), Image.Resampling.HAMMING)
    return np.asarray(image)


def _plain(color: np.ndarray) -> np.ndarray:
    """A texture of one colour, 3 in [0, 255]."""
    return np.tile(_rounded(color), (2, 2, 1))


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)

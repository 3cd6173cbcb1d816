"""Triangle meshes with textures: what objects are built from, read into and ray traced as."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TexturedMesh:
    """Triangles, counter-clockwise seen from outside; the world is z up.

    vertices: V 3 float32; faces: F 3 int32; normals: V 3 float32, unit length (vertices are split where they are to
    differ); uv: V 2 float32, u to the right and v up in the picture, repeating outside [0, 1]; face_texture: F int32,
    index into textures; textures: each H W 3 uint8, or H W 4 with an alpha, below 128 of which nothing is there.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    face_texture: np.ndarray
    textures: tuple[np.ndarray, ...]


def joined(meshes: list[TexturedMesh]) -> TexturedMesh:
    """All meshes as one; a texture that several of them share (the same array) is kept once."""
    textures: dict[int, np.ndarray] = {}
    for mesh in meshes:
        textures |= {id(texture): texture for texture in mesh.textures}
    index = {key: position for position, key in enumerate(textures)}
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return TexturedMesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        faces=np.concatenate([mesh.faces + np.int32(first) for mesh, first in zip(meshes, offsets, strict=False)]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        uv=np.concatenate([mesh.uv for mesh in meshes]),
        face_texture=np.concatenate(
            [np.array([index[id(t)] for t in mesh.textures], np.int32)[mesh.face_texture] for mesh in meshes]
        ),
        textures=tuple(textures.values()),
    )


def transformed(mesh: TexturedMesh, matrix: np.ndarray) -> TexturedMesh:
    """The mesh under an affine map (3 4 or 4 4, column vectors); a mirroring one keeps triangles facing outwards."""
    linear, shift = np.asarray(matrix, np.float64)[:3, :3], np.asarray(matrix, np.float64)[:3, 3]
    mirrored = np.linalg.det(linear) < 0
    # the inverse transpose up to a factor, and finite even for a flattening map
    cofactors = np.cross(np.roll(linear, -1, axis=0), np.roll(linear, -2, axis=0))
    return dataclasses.replace(
        mesh,
        vertices=(mesh.vertices @ linear.T + shift).astype(np.float32),
        normals=unit(mesh.normals @ cofactors.T * (-1 if mirrored else 1)).astype(np.float32),
        faces=np.ascontiguousarray(mesh.faces[:, ::-1]) if mirrored else mesh.faces,
    )


def normalized(mesh: TexturedMesh) -> TexturedMesh:
    """The mesh with the centre of its bounding box at the origin and its farthest vertex at distance 1.

    Vertices that no triangle uses don't count.
    """
    low, high = bounds(mesh)
    vertices = mesh.vertices - (low.astype(np.float64) + high) / 2
    # a hair less than 1, so that rounding to float32 keeps every vertex inside the unit ball
    scale = (1 - 1e-6) / max(np.linalg.norm(vertices[np.unique(mesh.faces)], axis=1).max(), 1e-12)
    return dataclasses.replace(mesh, vertices=(vertices * scale).astype(np.float32))


def colored_mesh(vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray) -> TexturedMesh:
    """A mesh with a colour per vertex: vertices V 3, faces F 3, colors V 3 in [0, 1]."""
    vertices, faces = np.asarray(vertices, np.float32), np.asarray(faces, np.int32)
    plain = TexturedMesh(
        vertices, faces, smooth_normals(vertices, faces), np.zeros((len(vertices), 2), np.float32),
        np.zeros(len(faces), np.int32), (np.zeros((2, 2, 3), np.uint8),),
    )  # fmt: skip
    return with_corner_colors(plain, np.asarray(colors, np.float64)[faces])


def with_corner_colors(mesh: TexturedMesh, colors: np.ndarray) -> TexturedMesh:
    """The mesh with colours (F 3 3 in [0, 1]: face, corner, channel) as its texture.

    Each face gets a block of 2 x 2 texels whose fourth completes a parallelogram, so that bilinear lookup interpolates
    the corners' colours linearly, as long as that fourth is a colour too.
    """
    count = len(colors)
    side = math.ceil(math.sqrt(count))
    first, second, third = colors.transpose(1, 0, 2)
    blocks = np.zeros((side * side, 2, 2, 3))
    blocks[:count] = np.stack([first, second, third, second + third - first], 1).reshape(count, 2, 2, 3)
    texture = blocks.reshape(side, side, 2, 2, 3).transpose(0, 2, 1, 3, 4).reshape(2 * side, 2 * side, 3)
    row, column = np.divmod(np.arange(count), side)
    corner = np.array([(0.5, 0.5), (1.5, 0.5), (0.5, 1.5)])
    x, y = 2 * column[:, None] + corner[:, 0], 2 * row[:, None] + corner[:, 1]
    return TexturedMesh(
        vertices=mesh.vertices[mesh.faces].reshape(-1, 3),
        faces=np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
        normals=mesh.normals[mesh.faces].reshape(-1, 3),
        uv=np.stack([x / (2 * side), 1 - y / (2 * side)], -1).reshape(-1, 2).astype(np.float32),
        face_texture=mesh.face_texture,
        textures=(np.clip(np.round(texture * 255), 0, 255).astype(np.uint8),),
    )


def visible(texture: np.ndarray) -> np.ndarray:
    """Which texels of a texture, H W 3 or 4 uint8, are not transparent: H W bool."""
    return np.ones(texture.shape[:2], bool) if texture.shape[2] == 3 else texture[..., 3] >= 128


def translation(x: float, y: float, z: float) -> np.ndarray:
    """The map that shifts by x, y, z: 4 4."""
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def rotation(axis: int, angle: float) -> np.ndarray:
    """The map that turns about x, y or z (axis 0, 1 or 2) by radians: 4 4."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(4)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[second, first], matrix[first, second] = np.sin(angle), -np.sin(angle)
    return matrix


def bounds(mesh: TexturedMesh) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of the triangles' bounding box, 3 each."""
    used = mesh.vertices[np.unique(mesh.faces)]
    return used.min(0), used.max(0)


def face_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Outward normals of the triangles, F 3, as long as twice their areas."""
    first, second, third = (vertices[faces[:, corner]].astype(np.float64) for corner in range(3))
    return np.cross(second - first, third - first)


def smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals V 3, averaged by area over the triangles around each position: vertices split by uv agree."""
    _, place = np.unique(np.round(vertices, 5), axis=0, return_inverse=True)
    place = place.reshape(-1)
    total = np.zeros((place.max() + 1, 3))
    np.add.at(total, place[faces].reshape(-1), np.repeat(face_normals(vertices, faces), 3, axis=0))
    return unit(total)[place].astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (... 3) scaled to length 1; zero stays zero."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)

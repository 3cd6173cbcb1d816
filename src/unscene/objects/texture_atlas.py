"""All textures of a mesh in one flat array with their halvings (Williams 1983), looked up for many points at once."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from unscene.objects.masks import nearest_pixels
from unscene.objects.mesh import TexturedMesh, face_normals, visible


@dataclass(frozen=True)
class TextureAtlas:
    """texels: N 3 float32 in [0, 1], all levels row by row; first, width, height: T L, where level l of texture t lies
    and its size; last_level: T; face_texture: F; texels_per_length: F, of level 0 on the surface; opacity: N 1 float32
    in [0, 1], or None if no texture has any alpha."""

    texels: np.ndarray
    first: np.ndarray
    width: np.ndarray
    height: np.ndarray
    last_level: np.ndarray
    face_texture: np.ndarray
    texels_per_length: np.ndarray
    opacity: np.ndarray | None

    @staticmethod
    def of(mesh: TexturedMesh) -> TextureAtlas:
        pyramids = [_pyramid(texture) for texture in mesh.textures]
        levels = max(len(pyramid) for pyramid in pyramids)
        sizes = np.ones((3, len(pyramids), levels), np.int64)
        texels, opacity, count = [], [], 0
        for index, pyramid in enumerate(pyramids):
            for level, image in enumerate(pyramid):
                sizes[:, index, level] = count, image.shape[1], image.shape[0]
                texels.append(image[..., :3].reshape(-1, 3))
                opaque = image.shape[2] == 3
                opacity.append(np.ones((len(texels[-1]), 1), np.float32) if opaque else image[..., 3].reshape(-1, 1))
                count += len(texels[-1])
        size = np.sqrt(sizes[1, :, 0] * sizes[2, :, 0])[mesh.face_texture]
        first, second, third = (mesh.uv[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
        (a, b), (c, d) = (second - first).T, (third - first).T
        surface = np.linalg.norm(face_normals(mesh.vertices, mesh.faces), axis=1)
        return TextureAtlas(
            texels=np.concatenate(texels),
            first=sizes[0],
            width=sizes[1],
            height=sizes[2],
            last_level=np.array([len(pyramid) - 1 for pyramid in pyramids]),
            face_texture=mesh.face_texture,
            texels_per_length=(size * np.sqrt(np.abs(a * d - b * c) / np.maximum(surface, 1e-12))).astype(np.float32),
            opacity=np.concatenate(opacity) if any(texture.shape[2] == 4 for texture in mesh.textures) else None,
        )

    def colors(self, face: np.ndarray, uv: np.ndarray, footprint: np.ndarray) -> np.ndarray:
        """Bilinear colours M 3 at uv (M 2, repeating) of faces (M), from the level whose texels are about as large as
        the ray's footprint on the surface (M, a length)."""
        texture = self.face_texture[face]
        level = np.log2(np.maximum(self.texels_per_length[face] * footprint, 1)).round().astype(np.int64)
        return self._bilinear(self.texels, texture, np.minimum(level, self.last_level[texture]), uv)

    def transparent(self, face: np.ndarray, uv: np.ndarray) -> np.ndarray:
        """Whether the opacity at uv (M 2) of faces (M) is below one half, M bool.

        Of the whole texture, not of a halving: that of a fence would be solid or gone.
        """
        if self.opacity is None:
            return np.zeros(len(face), bool)
        texture = self.face_texture[face]
        return self._bilinear(self.opacity, texture, np.zeros(len(face), np.int64), uv)[:, 0] < 0.5

    def _bilinear(self, values: np.ndarray, texture: np.ndarray, level: np.ndarray, uv: np.ndarray) -> np.ndarray:
        """Values (N K) of the texels at uv (M 2) of textures (M) on levels (M), M K."""
        first, width, height = self.first[texture, level], self.width[texture, level], self.height[texture, level]
        x, y = (uv[:, 0] % 1) * width - 0.5, ((1 - uv[:, 1]) % 1) * height - 0.5
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        across, down = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
        left, right, top, bottom = left % width, (left + 1) % width, top % height, (top + 1) % height
        upper, lower = first + top * width, first + bottom * width
        above = values[upper + left] * (1 - across) + values[upper + right] * across
        below = values[lower + left] * (1 - across) + values[lower + right] * across
        return above * (1 - down) + below * down


def _pyramid(texture: np.ndarray) -> list[np.ndarray]:
    """The texture (H W 3 or 4 uint8) as float32 in [0, 1] and its halvings down to four texels."""
    levels: list[np.ndarray] = [_spread(texture).astype(np.float32) / 255]
    while min(levels[-1].shape[:2]) >= 8:
        height, width = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.float32))
    return levels


def _spread(texture: np.ndarray) -> np.ndarray:
    """The texture with each transparent texel in the colour of the nearest other one, for lookups mix neighbours."""
    solid = visible(texture)
    if solid.all() or not solid.any():
        return texture
    nearest = nearest_pixels(solid)[1]
    return np.concatenate([texture[..., :3].reshape(-1, 3)[nearest], texture[..., 3:]], 2)

"""Parts of objects: boxes, superellipsoids, turned surfaces, tori, tubes, extruded polygons, with uv to read text on.

Every part stands upright (z up) with textures that read left to right seen from outside. A texture repeats as often
as makes its picture about square on the surface.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from unscene.objects.mesh import TexturedMesh, joined, smooth_normals, unit

COLUMNS = 48  # around a turned surface


def patch(points: np.ndarray, texture: np.ndarray, repeats: tuple[int, int] = (1, 1)) -> TexturedMesh:
    """A smooth sheet through a grid of points, R C 3: columns run to the right and rows up, seen from outside."""
    rows, columns = points.shape[:2]
    vertices = points.reshape(-1, 3).astype(np.float32)
    u, v = np.meshgrid(np.linspace(0, repeats[0], columns), np.linspace(0, repeats[1], rows))
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).reshape(-1)
    lower = np.stack([corner, corner + 1, corner + columns + 1], -1)
    upper = np.stack([corner, corner + columns + 1, corner + columns], -1)
    faces = np.concatenate([lower, upper]).astype(np.int32)
    sides = vertices[faces] - vertices[np.roll(faces, 1, axis=1)]
    faces = faces[np.linalg.norm(sides, axis=-1).min(1) > 1e-7]  # a pole's quads are triangles
    return TexturedMesh(
        vertices=vertices,
        faces=faces,
        normals=smooth_normals(vertices, faces),
        uv=np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        face_texture=np.zeros(len(faces), np.int32),
        textures=(texture,),
    )


def quad(origin: np.ndarray, right: np.ndarray, up: np.ndarray, texture: np.ndarray) -> TexturedMesh:
    """A flat rectangle from its lower left corner, seen from outside."""
    steps = np.array([0.0, 1.0])
    points = origin + steps[None, :, None] * right + steps[:, None, None] * up
    return patch(points, texture, _repeats(float(np.linalg.norm(right)), float(np.linalg.norm(up))))


def box(extent: np.ndarray, textures: list[np.ndarray]) -> TexturedMesh:
    """A box, extent 3, its floor at z = 0; textures of +x, +y, -x, -y, top and bottom (or one for all)."""
    x, y, z = np.diag(extent)
    textures = textures * 6 if len(textures) == 1 else textures
    centre = -(x + y) / 2
    sides = [(x, y, z), (x + y, -x, z), (y, -y, z), (0 * x, x, z), (z, x, y), (y, x, -y)]
    placed = zip(sides, textures, strict=True)
    return joined([quad(centre + origin, right, up, texture) for (origin, right, up), texture in placed])


def superellipsoid(extent: np.ndarray, roundness: tuple[float, float], texture: np.ndarray) -> TexturedMesh:
    """A superellipsoid (Barr 1981) of extent 3, its lowest point at z = 0.

    roundness: exponents along the meridian and around the axis: 1 an ellipsoid, near 0 a box, 2 an octahedron.
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 25)[:, None]
    longitude = np.linspace(0, 2 * np.pi, COLUMNS + 1)[None]
    meridian = _power(np.cos(latitude), roundness[0])
    points = np.stack(
        np.broadcast_arrays(
            meridian * _power(np.cos(longitude), roundness[1]),
            meridian * _power(np.sin(longitude), roundness[1]),
            _power(np.sin(latitude), roundness[0]) + 1,
        ),
        -1,
    )
    points[:, -1] = points[:, 0]
    return patch(points * np.asarray(extent) / 2, texture, (3, 1))


def turned(profile: np.ndarray, side: np.ndarray, cap: np.ndarray, columns: int = COLUMNS) -> TexturedMesh:
    """A surface of revolution about z. profile: P 2, (radius, height) upwards; flat caps close its ends.

    side, cap: textures of the wall and of the caps. columns: 4 makes a pyramid of a cone.
    """
    profile = np.asarray(profile, np.float64)
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    around[-1] = around[0]
    wall = np.concatenate(
        [profile[:, None, :1] * around[None], np.broadcast_to(profile[:, None, 1:], (len(profile), len(angle), 1))], -1
    )
    length = float(np.linalg.norm(np.diff(profile, axis=0), axis=1).sum())
    repeats = _repeats(2 * np.pi * float(profile[:, 0].mean()), length)
    repeats = max(repeats[0], 3), repeats[1]  # a picture wider than the visible half can't be read
    if columns < 8:  # flat walls meet at edges
        parts = [patch(wall[:, i : i + 2], side, (1, repeats[1])) for i in range(columns)]
    else:
        parts = [patch(wall, side, repeats)]
    parts += [
        disc(ring[:-1], cap, upwards)
        for ring, radius, upwards in ((wall[0], profile[0, 0], False), (wall[-1], profile[-1, 0], True))
        if radius > 1e-6
    ]
    return joined(parts)


def disc(outline: np.ndarray, texture: np.ndarray, upwards: bool) -> TexturedMesh:
    """A flat horizontal cap inside an outline (P 3, counter-clockwise seen from above, star-shaped about its mean)."""
    count = len(outline)
    vertices = np.concatenate([outline, outline.mean(0, keepdims=True)])
    around = np.arange(count)
    faces = np.stack([around, (around + 1) % count, np.full(count, count)], -1)
    low, high = vertices[:, :2].min(0), vertices[:, :2].max(0)
    uv = (vertices[:, :2] - low) / (high - low).max()
    if not upwards:
        faces, uv = faces[:, ::-1], uv * [-1, 1] + [1, 0]
    return TexturedMesh(
        vertices=vertices.astype(np.float32),
        faces=np.ascontiguousarray(faces, dtype=np.int32),
        normals=np.tile(np.array([0, 0, 1 if upwards else -1], np.float32), (count + 1, 1)),
        uv=uv.astype(np.float32),
        face_texture=np.zeros(count, np.int32),
        textures=(texture,),
    )


def torus(radius: float, thickness: float, texture: np.ndarray, turn: float = 2 * np.pi) -> TexturedMesh:
    """A ring, or its first ``turn`` radians, lying about z at the origin; open at its ends."""
    angle = np.linspace(0, turn, COLUMNS + 1)[None]
    around = np.linspace(-np.pi, np.pi, 17)[:, None]
    distance = radius + thickness * np.cos(around)
    points = np.stack(
        np.broadcast_arrays(distance * np.cos(angle), distance * np.sin(angle), thickness * np.sin(around)), -1
    )
    return patch(points, texture, _repeats(turn * radius, 2 * np.pi * thickness))


def tube(path: np.ndarray, radii: np.ndarray, texture: np.ndarray) -> TexturedMesh:
    """A round tube along a curve, its ends closed: handles, spouts, legs, tails.

    path: P 3, no point twice and none turning back on itself; radii: P.
    """
    path, radii = np.asarray(path, np.float64), np.asarray(radii, np.float64)
    tangents = unit(np.gradient(path, axis=0))
    across = [_perpendicular(tangents[0])]
    for tangent in tangents[1:]:  # carried along without twisting
        across.append(unit(across[-1] - tangent * (across[-1] @ tangent)))
    first = np.stack(across)
    second = np.cross(tangents, first)
    angle = np.linspace(0, 2 * np.pi, 17)
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    around[-1] = around[0]
    rings = around[None, :, :1] * first[:, None] + around[None, :, 1:] * second[:, None]
    walls = path[:, None] + radii[:, None, None] * rings
    ends = [np.broadcast_to(end, (1, *walls.shape[1:])) for end in (path[0], path[-1])]
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    return patch(np.concatenate([ends[0], walls, ends[1]]), texture, _repeats(2 * np.pi * float(radii.mean()), length))


def rippled(mesh: TexturedMesh, amplitude: float, waves: np.ndarray, phases: np.ndarray) -> TexturedMesh:
    """The mesh with its surface moved in and out smoothly, as soft things are never quite regular.

    amplitude: of the whole, a length; waves: K 3, radians per length; phases: K, radians.
    """
    height = np.sin(mesh.vertices @ waves.T + phases).mean(1, keepdims=True)
    # by position, or vertices that differ in uv alone would part
    outwards = smooth_normals(mesh.vertices, mesh.faces)
    vertices = (mesh.vertices + amplitude * height * outwards).astype(np.float32)
    return dataclasses.replace(mesh, vertices=vertices, normals=smooth_normals(vertices, mesh.faces))


def extruded(outline: np.ndarray, height: float, sides: list[np.ndarray], cap: np.ndarray) -> TexturedMesh:
    """A prism over an outline (P 2, counter-clockwise, star-shaped about its mean); sides: textures, used in turn."""
    flat = np.concatenate([outline, np.zeros((len(outline), 1))], -1)
    up = np.array([0, 0, height])
    walls = [
        quad(start, end - start, up, sides[index % len(sides)])
        for index, (start, end) in enumerate(zip(flat, np.roll(flat, -1, axis=0), strict=True))
    ]
    return joined([*walls, disc(flat, cap, False), disc(flat + up, cap, True)])


def _perpendicular(direction: np.ndarray) -> np.ndarray:
    """Some unit vector at right angles to a direction, 3."""
    return unit(np.cross(direction, np.eye(3)[np.abs(direction).argmin()]))


def _repeats(width: float, height: float) -> tuple[int, int]:
    """How often a square picture fits a surface of this size: at least once, and at most six times."""
    aspect = width / max(height, 1e-6)
    return int(np.clip(round(aspect), 1, 6)), int(np.clip(round(1 / max(aspect, 1e-6)), 1, 6))


def _power(values: np.ndarray, exponent: float) -> np.ndarray:
    return np.sign(values) * np.abs(np.where(np.abs(values) < 1e-12, 0, values)) ** exponent

"""Triangle meshes of simple solids, in metres, z up, with uv coordinates. By their winding, faces look outward."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation


class Mesh(NamedTuple):
    vertices: np.ndarray  # N 3, metres
    faces: np.ndarray  # M 3, vertex indices
    uv: np.ndarray  # N 2

    def place(self, at=(0, 0, 0), turn=0.0, tilt=0.0) -> "Mesh":
        """Tilt about x, then turn about z (degrees), then move."""
        rotation = Rotation.from_euler("xz", [tilt, turn], degrees=True)
        return self._replace(vertices=rotation.apply(self.vertices) + np.asarray(at))


def grid(points: np.ndarray) -> Mesh:
    """A sheet through `points` (rows, columns, 3), with u along the columns and v along the rows."""
    rows, columns = points.shape[:2]
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = (i.ravel() for i in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return Mesh(points.reshape(-1, 3), faces, np.stack([u, v], -1).reshape(-1, 2))


def lathe(profile, segments=96, samples=80) -> Mesh:
    """Surface of revolution about z of a smooth curve through `profile`, (radius, height) pairs."""
    curve = spline(np.asarray(profile, float), samples)
    angle = np.linspace(0, 2 * np.pi, segments + 1)
    radius = np.maximum(curve[:, :1], 0)
    z = np.broadcast_to(curve[:, 1:], (samples, segments + 1))
    return grid(np.stack([radius * np.cos(angle), radius * np.sin(angle), z], -1))


def tube(path, radii, segments=32, samples=60) -> Mesh:
    """A tube along a smooth curve through `path`, (x, z) pairs in the plane y = 0, with `radii` at those points."""
    curve = spline(np.column_stack([path, radii]), samples)
    tangent = np.gradient(curve[:, :2], axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    angle = np.linspace(2 * np.pi, 0, segments + 1)  # this way round, normals point outward
    across, radius = np.cos(angle), curve[:, 2:]
    x = curve[:, :1] - tangent[:, 1:] * radius * across
    z = curve[:, 1:2] + tangent[:, :1] * radius * across
    return grid(np.stack([x, radius * np.sin(angle), z], -1))


def spline(points: np.ndarray, samples: int) -> np.ndarray:
    """Evenly spaced samples of the cubic spline through `points` (N, D); a repeated point makes a sharp corner."""
    step = np.linalg.norm(np.diff(points, axis=0), axis=1)
    corners = [0, *(np.flatnonzero(step == 0) + 1), len(points)]
    length = np.concatenate([[0], np.cumsum(step)])
    where = np.linspace(0, length[-1], samples)
    curve = np.empty((samples, points.shape[1]))
    for first, last in pairwise(corners):
        inside = (where >= length[first]) & (where <= length[last - 1])
        curve[inside] = CubicSpline(length[first:last], points[first:last])(where[inside])
    return curve


def box(size, textured="xyz") -> Mesh:
    """A box on the ground, centred in x and y. Faces across `textured` axes show the texture, the others its corner."""
    sx, sy, sz = np.asarray(size) / 2
    corner = {"x": np.array([sx, 0, 0]), "y": np.array([0, sy, 0]), "z": np.array([0, 0, sz])}
    faces = []
    for normal, right, up, side in (("z", "x", "y", 1), ("y", "x", "z", -1), ("x", "y", "z", 1)):
        for sign in (-1, 1):  # u runs so that the front of every face, by its winding, is outside
            n, r, t = sign * corner[normal], sign * side * corner[right], corner[up]
            face = grid(np.array([[n - r - t, n + r - t], [n - r + t, n + r + t]]))
            faces.append(face._replace(uv=face.uv * (normal in textured)))
    return merge(*faces).place((0, 0, sz))


def pillow(size, squareness=0.4, samples=40) -> Mesh:
    """A box with rounded edges (a superellipsoid) on the ground, centred in x and y; v runs on over its edges."""
    size = np.asarray(size, float)
    latitude, longitude = np.linspace(-np.pi / 2, np.pi / 2, samples), np.linspace(0, 2 * np.pi, 2 * samples)
    latitude, longitude = np.meshgrid(latitude, longitude, indexing="ij")

    def bulge(x):
        return np.sign(x) * np.abs(x) ** squareness

    flat, rise = bulge(np.cos(latitude)), bulge(np.sin(latitude))
    points = np.stack([flat * bulge(np.cos(longitude)), flat * bulge(np.sin(longitude)), rise], -1) * size / 2
    mesh = grid(points)
    x, y, z = (mesh.vertices / size + 0.5).T
    share = size[1] / (size[1] + size[2])
    return mesh._replace(uv=np.stack([x, share * y + (1 - share) * z], -1)).place((0, 0, size[2] / 2))


def merge(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    offsets = np.cumsum([0] + [len(m.vertices) for m in meshes[:-1]])
    faces = [m.faces + offset for m, offset in zip(meshes, offsets, strict=True)]
    vertices, uv = (np.concatenate([getattr(m, name) for m in meshes]) for name in ("vertices", "uv"))
    return Mesh(vertices, np.concatenate(faces), uv)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals `N 3`, averaged over the vertices that share a place, so that uv seams don't show."""
    _, place = np.unique(np.round(vertices, 7), axis=0, return_inverse=True)
    place = place.ravel()
    a, b, c = vertices[faces].transpose(1, 0, 2)
    total = np.zeros((place.max() + 1, 3))
    np.add.at(total, place[faces], np.cross(b - a, c - a)[:, None])
    normals = total[place]
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)

"""Views of textured meshes by ray tracing: colour, alpha and depth of one object under a sky and a few lamps.

Warp's bounding volume hierarchy finds the hits; shading is NumPy over the hit points. Warp launches on a CPU run on one
thread but release the GIL, so a pool splits the rays.
"""

# Warp's kernel language is Python to the eye but not to a type checker:
# pyright: reportIndexIssue=false, reportInvalidTypeForm=false, reportOperatorIssue=false
# pyright: reportAttributeAccessIssue=false

import functools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import warp as wp
from torch import Tensor

from unscene.geometry.cameras import Cameras, Rays, pixel_centers
from unscene.objects.mesh import TexturedMesh, face_normals, unit
from unscene.objects.object_error import ObjectError
from unscene.objects.texture_atlas import TextureAtlas
from unscene.warp_runtime import start_warp

SHADOW_OFFSET = 2e-3  # of an object of radius 1: past the error of a float32 hit, short of any visible gap
PASSING_OFFSET = 1e-4  # of the same, along a ray that goes on behind a transparent texel
MOST_LAYERS = 8  # of transparent texels that a ray passes
GAMMA = 2.2
SHININESS = 40.0


@dataclass(frozen=True)
class Lamp:
    """direction: 3, unit, towards it; strength: relative to the main lamp's."""

    direction: tuple[float, float, float]
    strength: float


@dataclass(frozen=True)
class Lighting:
    """direction: 3, unit, towards the main lamp; ambient: the sky's share of the light, in [0, 1]; specular: the gain
    of the main lamp's highlight; further: lamps that share the rest of the light with the main one."""

    direction: tuple[float, float, float]
    ambient: float
    specular: float
    further: tuple[Lamp, ...] = ()


def random_lighting(rng: np.random.Generator) -> Lighting:
    """A main lamp 20 to 80 degrees above the horizon, from soft to strong, and up to two weaker ones from any side."""
    main, ambient, specular = _towards(rng, 20, 80), float(rng.uniform(0.35, 0.75)), float(rng.uniform(0, 0.25))
    further = tuple(Lamp(_towards(rng, 0, 70), float(rng.uniform(0.2, 0.9))) for _ in range(rng.integers(3)))
    return Lighting(main, ambient, specular, further)


def _towards(rng: np.random.Generator, lowest: float, highest: float) -> tuple[float, float, float]:
    """A direction between two elevations in degrees."""
    azimuth, elevation = rng.uniform(0, 2 * math.pi), math.radians(rng.uniform(lowest, highest))
    across = math.cos(elevation)
    return across * math.cos(azimuth), across * math.sin(azimuth), math.sin(elevation)


@dataclass(frozen=True)
class ObjectView:
    """color: H W 3, straight (not premultiplied), in [0, 1], 0 where nothing is hit; alpha: H W; depth: H W, z-depth at
    the pixel centre, 0 where its ray misses."""

    color: Tensor
    alpha: Tensor
    depth: Tensor


@dataclass(frozen=True)
class Hits:
    """The first hits of R rays: distance R (infinite on a miss), face R (-1 on a miss), weights R 2 of the face's first
    two corners."""

    distance: np.ndarray
    face: np.ndarray
    weights: np.ndarray


class RayTracer:
    """One mesh under one light, from any camera outside it. Safe to use from several threads."""

    def __init__(self, mesh: TexturedMesh, lighting: Lighting):
        if len(mesh.faces) == 0:
            raise ObjectError("Expected a mesh with triangles to render, got one without any; leave this object out.")
        self._kernel = _trace_kernel()
        self._mesh, self._lighting = mesh, lighting
        self._face_normals = unit(face_normals(mesh.vertices, mesh.faces)).astype(np.float32)
        self._atlas = TextureAtlas.of(mesh)
        points = np.ascontiguousarray(mesh.vertices, np.float32)
        self._bvh = wp.Mesh(
            points=wp.array(points, dtype=wp.vec3, device="cpu"),
            indices=wp.array(np.ascontiguousarray(mesh.faces, np.int32).reshape(-1), dtype=wp.int32, device="cpu"),
        )

    def render(self, cameras: Cameras, view: int, *, samples: int = 2) -> ObjectView:
        """One camera's view by samples x samples rays a pixel, plus the centre ray for depth (H W of the camera)."""
        cameras = cameras.to("cpu")
        height, width, count = cameras.height, cameras.width, samples * samples
        rays, centre_rays = _pixel_rays(cameras, view, samples), cameras.image_rays(view)
        footprint = 1 / (float(cameras.focal[view].mean()) * samples)  # angle between neighbouring rays
        hit, shaded = self._shade(rays, footprint)
        color = np.zeros((height * width, 3), np.float32)
        pixel = np.flatnonzero(hit) // count
        for channel in range(3):
            color[:, channel] = np.bincount(pixel, shaded[:, channel], minlength=height * width)
        hits_per_pixel = hit.reshape(-1, count).sum(1)
        color /= np.maximum(hits_per_pixel, 1)[:, None]
        alpha = (hits_per_pixel / count).astype(np.float32)
        distance = self.trace(centre_rays.origins.numpy(), centre_rays.directions.numpy()).distance
        depth = np.where(np.isfinite(distance), distance * centre_rays.depth_per_distance.numpy(), 0)
        return ObjectView(
            torch.from_numpy(color.reshape(height, width, 3)),
            torch.from_numpy(alpha.reshape(height, width)),
            torch.from_numpy(depth.astype(np.float32).reshape(height, width)),
        )

    def trace(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hits of rays, origins and unit directions R 3 float32; transparent texels are none."""
        hits = self._first_faces(origins, directions)
        if self._atlas.opacity is None:
            return hits
        rays = self._at_transparent(hits, np.flatnonzero(hits.face >= 0))
        for _ in range(MOST_LAYERS):
            if len(rays) == 0:
                break
            passed = hits.distance[rays] + np.float32(PASSING_OFFSET)
            beyond = self._first_faces(origins[rays] + directions[rays] * passed[:, None], directions[rays])
            hits.distance[rays], hits.face[rays] = passed + beyond.distance, beyond.face
            hits.weights[rays] = beyond.weights
            rays = self._at_transparent(hits, rays[beyond.face >= 0])
        hits.distance[rays], hits.face[rays] = np.inf, -1
        return hits

    def _at_transparent(self, hits: Hits, rays: np.ndarray) -> np.ndarray:
        """Those of some rays (M, indices of hits) that hit a transparent texel."""
        face = hits.face[rays]
        uv = _interpolated(self._mesh.uv, self._mesh.faces[face], _all_weights(hits.weights[rays]))
        return rays[self._atlas.transparent(face, uv)]

    def _first_faces(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hits of rays as in `trace`, whatever the texels there."""
        count = len(origins)
        hits = Hits(np.empty(count, np.float32), np.empty(count, np.int32), np.empty((count, 2), np.float32))
        arrays = [
            wp.array(np.ascontiguousarray(array, np.float32), dtype=wp.vec3, device="cpu", copy=False)
            for array in (origins, directions)
        ] + [
            wp.array(hits.distance, dtype=wp.float32, device="cpu", copy=False),
            wp.array(hits.face, dtype=wp.int32, device="cpu", copy=False),
            wp.array(hits.weights, dtype=wp.vec2, device="cpu", copy=False),
        ]
        parts = min(torch.get_num_threads(), count) if count > 4096 else 1
        bounds = [count * part // parts for part in range(parts + 1)]

        def slice_of_rays(part: int) -> None:
            first, last = bounds[part], bounds[part + 1]
            if last > first:
                wp.launch(self._kernel, dim=last - first, inputs=[first, self._bvh.id, *arrays], device="cpu")

        list((map if parts == 1 else _pool(os.getpid(), parts).map)(slice_of_rays, range(parts)))
        return hits

    def _shade(self, rays: Rays, footprint: float) -> tuple[np.ndarray, np.ndarray]:
        """Which of R rays hit, R, and the colours of those M that do, M 3."""
        origins, directions = rays.origins.numpy(), rays.directions.numpy()
        hits = self.trace(origins, directions)
        hit = hits.face >= 0
        face, distance, directions = hits.face[hit], hits.distance[hit], directions[hit]
        points = origins[hit] + directions * distance[:, None]
        weights = _all_weights(hits.weights[hit])
        corners = self._mesh.faces[face]
        normals = unit(_interpolated(self._mesh.normals, corners, weights))
        flat = self._face_normals[face]
        flat = np.where((flat * directions).sum(1, keepdims=True) > 0, -flat, flat)
        # towards the viewer's side of the triangle, whichever way the file turned it
        normals = np.where((normals * flat).sum(1, keepdims=True) < 0, -normals, normals)
        albedo = self._atlas.colors(face, _interpolated(self._mesh.uv, corners, weights), distance * footprint)
        return hit, self._lit(albedo, points, normals, flat, directions)

    def _lit(
        self, albedo: np.ndarray, points: np.ndarray, normals: np.ndarray, flat: np.ndarray, directions: np.ndarray
    ) -> np.ndarray:
        """Colours M 3 under lamps with shadows, the main one with a highlight, and a sky brighter above than below."""
        light = np.array(self._lighting.direction, np.float32)
        direct, lit = self._direct(light, points, normals, flat)
        for lamp in self._lighting.further:
            direct += lamp.strength * self._direct(np.array(lamp.direction, np.float32), points, normals, flat)[0]
        direct /= 1 + sum(lamp.strength for lamp in self._lighting.further)
        sky = 0.75 + 0.25 * normals[:, 2]
        radiance = self._lighting.ambient * sky + (1 - self._lighting.ambient) * 1.2 * direct
        shade = radiance ** np.float32(1 / GAMMA)  # light adds linearly, textures are gamma encoded
        half = unit(light - directions[lit])
        highlight = np.zeros_like(direct)
        highlight[lit] = self._lighting.specular * np.maximum((normals[lit] * half).sum(1), 0) ** SHININESS
        return np.clip(albedo * shade[:, None] + highlight[:, None], 0, 1)

    def _direct(
        self, light: np.ndarray, points: np.ndarray, normals: np.ndarray, flat: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What reaches M points from one lamp, M, and the indices of those that it reaches."""
        facing = normals @ light
        lit = np.flatnonzero((facing > 0) & (flat @ light > 0))
        origins = points[lit] + flat[lit] * SHADOW_OFFSET
        lit = lit[self.trace(origins, np.broadcast_to(light, origins.shape)).face < 0]
        direct = np.zeros_like(facing)
        direct[lit] = facing[lit]
        return direct, lit


def _pixel_rays(cameras: Cameras, view: int, samples: int) -> Rays:
    """samples x samples evenly spaced rays a pixel, the pixel's rays one after the other."""
    steps = (torch.arange(samples) + 0.5) / samples - 0.5
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(1, -1, 2)
    xy = (pixel_centers(cameras.width, cameras.height).reshape(-1, 1, 2) + offsets).reshape(-1, 2)
    return cameras.rays(torch.full((len(xy),), view), xy)


def _all_weights(weights: np.ndarray) -> np.ndarray:
    """Barycentric weights of all three corners, M 3, from those of the first two, M 2."""
    return np.concatenate([weights, 1 - weights.sum(1, keepdims=True)], 1)


def _interpolated(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertex values (V K) at points given by their triangles' corners (M 3) and barycentric weights (M 3), M K."""
    first, second, third = (values[corners[:, i]] * weights[:, i, None] for i in range(3))
    return first + second + third


@functools.cache
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="ray-tracer")


@functools.cache
def _trace_kernel():
    """The kernel, compiled at first use and cached on disk."""
    start_warp()

    def trace(
        first_ray: int, mesh: wp.uint64, origins: wp.array(dtype=wp.vec3), directions: wp.array(dtype=wp.vec3),
        distance: wp.array(dtype=wp.float32), face: wp.array(dtype=wp.int32), weights: wp.array(dtype=wp.vec2),
    ):  # fmt: skip
        i = wp.tid() + first_ray
        hit = wp.mesh_query_ray(mesh, origins[i], directions[i], 1.0e6)
        if hit.result:
            distance[i] = hit.t
            face[i] = hit.face
            weights[i] = wp.vec2(hit.u, hit.v)
        else:
            distance[i] = wp.inf
            face[i] = -1
            weights[i] = wp.vec2(0.0, 0.0)

    kernel = wp.kernel(trace, enable_backward=False, module="unique")
    kernel.module.load("cpu", block_dim=1)  # as launches on processors ask for
    return kernel

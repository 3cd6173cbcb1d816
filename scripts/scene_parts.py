"""Parts of a scene, meshes with skins, and how Mitsuba 3 takes them. Metres, z up."""

from typing import NamedTuple

import mitsuba as mi
import numpy as np
import scene_textures as textures
from scene_meshes import Mesh, box, merge, vertex_normals

mi.set_variant("scalar_rgb")


class Part(NamedTuple):
    """A mesh with its skin; `smooth` ones have averaged normals, the others flat faces."""

    name: str
    mesh: Mesh
    texture: np.ndarray | str  # H W 3 sRGB, or one colour "#rrggbb"
    glossy: bool = False
    smooth: bool = True


def book(name, size, ground, ink, at, turn) -> list[Part]:
    """A closed book lying flat, its spine toward -y before the turn; `size` is (width, depth, thickness)."""
    rng = np.random.default_rng(sum(map(ord, name)))
    width, depth, thickness = size
    board = box((width, depth, 0.004), "z")
    spine = box((width, 0.005, thickness), "y").place((0, -depth / 2, 0))
    block = box((width - 0.012, depth - 0.012, thickness - 0.008)).place((0, 0, 0.004))
    boards = merge(board, board.place((0, 0, thickness - 0.004)))
    cover, lettering = textures.book_cover(ground, ink, rng), textures.book_spine(ground, ink, rng)
    skins = (boards, cover), (spine, lettering), (block, textures.pages(rng))
    return [Part(f"book_{name}_{i}", mesh.place(at, turn), skin, smooth=False) for i, (mesh, skin) in enumerate(skins)]


def shape(part: Part, bsdf: dict, emitter: dict | None = None) -> mi.Mesh:
    """One part as a Mitsuba mesh, which shines if an `emitter` is given."""
    vertices, faces, uv = part.mesh
    props = mi.Properties()
    props["bsdf"] = mi.load_dict(bsdf)
    if emitter:
        props["emitter"] = mi.load_dict(emitter)
    has = {"has_vertex_normals": part.smooth, "has_vertex_texcoords": True}
    mesh = mi.Mesh(part.name, len(vertices), len(faces), props, **has)
    params = mi.traverse(mesh)
    params["vertex_positions"] = vertices.astype(np.float32).ravel()
    params["faces"] = faces.astype(np.uint32).ravel()
    params["vertex_texcoords"] = uv.astype(np.float32).ravel()
    if part.smooth:
        params["vertex_normals"] = vertex_normals(vertices, faces).astype(np.float32).ravel()
    params.update()
    return mesh


def skin(part: Part) -> dict:
    """The part's colour as a Mitsuba texture, linear."""
    srgb = np.asarray(textures.colour(part.texture) if isinstance(part.texture, str) else part.texture)
    srgb = np.broadcast_to(srgb, (2, 2, 3)) if srgb.ndim == 1 else srgb
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.ascontiguousarray(linear)), "raw": True, "wrap_mode": "clamp"}


def material(part: Part) -> dict:
    """Matt, or glazed."""
    bsdf = {"type": "diffuse", "reflectance": skin(part)}
    if part.glossy:
        bsdf = {"type": "roughplastic", "diffuse_reflectance": skin(part), "alpha": 0.07, "nonlinear": True}
    return {"type": "twosided", "bsdf": bsdf}


def load(parts: list[Part], lights: dict) -> mi.Scene:
    """The scene under `lights`, a dictionary of Mitsuba's emitters and of shapes that are some."""
    shapes = {part.name: shape(part, material(part)) for part in parts}
    return mi.load_dict({"type": "scene", "integrator": {"type": "path", "max_depth": 5}} | lights | shapes)


def load_glowing(parts: list[Part], radiance) -> mi.Scene:
    """The scene without lights, its parts glowing with `radiance(part)`, a texture or None: renders show just that.

    With the parts' own textures it is the albedo; with 1 for some parts and None for the others, the former's coverage.
    """
    shapes = {}
    for part in parts:
        glow = radiance(part)
        shapes[part.name] = shape(part, {"type": "diffuse"}, glow and {"type": "area", "radiance": glow})
    return mi.load_dict({"type": "scene", "integrator": {"type": "path", "max_depth": 1}} | shapes)

"""Things of one or two pieces, at random: parcels, cans, vases, bottles, mugs, cones, rings, prisms."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator

from unscene.objects.lettering import lettering
from unscene.objects.mesh import TexturedMesh, joined, rotation, transformed, translation
from unscene.objects.shapes import box, extruded, superellipsoid, torus, turned
from unscene.objects.textures import PAINTERS, plain_colour

Rng = np.random.Generator
LETTERING_SHARE = 0.4  # of the parts' main faces
FLAT_SHARE = 0.25  # of the other textures


class Paint:
    """Draws the textures of one object; ``size``: their side in texels."""

    def __init__(self, rng: Rng, size: int):
        self.rng, self.size = rng, size

    def main(self) -> np.ndarray:
        """For a part's largest face: lettering, a pattern or a plain colour."""
        return lettering(self.size, self.rng) if self.rng.random() < LETTERING_SHARE else self.other()

    def other(self) -> np.ndarray:
        """A pattern or a plain colour."""
        return self.plain() if self.rng.random() < FLAT_SHARE else self.pattern()

    def plain(self) -> np.ndarray:
        return np.tile((plain_colour(self.rng) * 255).round().astype(np.uint8), (4, 4, 1))

    def pattern(self) -> np.ndarray:
        image = PAINTERS[str(self.rng.choice(list(PAINTERS)))](self.size, self.rng)
        image = np.clip(image, 0, 1)
        if self.rng.random() < 0.5:  # the painters' colours are those of rooms; things are gaudier
            grey = image.mean(-1, keepdims=True)
            image = np.clip(grey + self.rng.uniform(1.2, 2.5) * (image - grey), 0, 1)
            image = 0.45 * plain_colour(self.rng) + 0.55 * image
        return (image * 255).round().astype(np.uint8)


def parcel(rng: Rng, paint: Paint) -> TexturedMesh:
    """A box with a front, a back like it, and quieter sides."""
    extent = rng.uniform(0.25, 1, 3)
    front, side, top = paint.main(), paint.other(), paint.other()
    if rng.random() < 0.3:
        side = paint.main()
    return box(extent, [front, side, front if rng.random() < 0.5 else paint.main(), side, top, top])


def blob(rng: Rng, paint: Paint) -> TexturedMesh:
    roundness = (rng.uniform(0.25, 1.4), rng.uniform(0.25, 1.4))
    return superellipsoid(rng.uniform(0.4, 1, 3), roundness, paint.main())


def can(rng: Rng, paint: Paint) -> TexturedMesh:
    radius, height, rim = rng.uniform(0.2, 0.5), rng.uniform(0.3, 1.2), rng.uniform(0, 0.05)
    profile = [(radius - rim, 0), (radius, rim + 1e-3), (radius, height - rim), (radius - rim, height + 1e-3)]
    return turned(np.array(profile), paint.main(), paint.plain())


def vase(rng: Rng, paint: Paint) -> TexturedMesh:
    """A smooth random profile; open above with an inner wall."""
    knots = rng.integers(3, 6)
    height = rng.uniform(0.6, 1.6)
    curve = PchipInterpolator(np.linspace(0, 1, knots), rng.uniform(0.12, 0.5, knots))
    along = np.linspace(0, 1, 32)
    outside = np.stack([curve(along), along * height], -1)
    texture, inside = paint.main(), paint.plain()
    wall = turned(outside, texture, inside)
    return joined([wall, _dark_mouth(outside[-1], inside)]) if rng.random() < 0.5 else wall


def _dark_mouth(rim: np.ndarray, texture: np.ndarray) -> TexturedMesh:
    """A raised rim around a sunken disc at the top of a vessel, so that it looks hollow."""
    radius, height = rim
    lip = min(0.04, 0.25 * radius)
    inner = radius - lip
    profile = [(radius, -0.02), (radius, lip), (radius - lip / 2, 1.3 * lip), (inner, lip), (inner, 0.002)]
    return transformed(turned(np.array(profile), texture, texture), translation(0, 0, height))


def bottle(rng: Rng, paint: Paint) -> TexturedMesh:
    radius, neck = rng.uniform(0.18, 0.35), rng.uniform(0.05, 0.1)
    body, shoulder, top = rng.uniform(0.5, 1), rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.3)
    bend = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 16))
    rounding = np.stack([radius + (neck - radius) * bend, body + shoulder * np.linspace(0, 1, 16)], -1)
    label, glass, stopper = paint.main(), paint.other(), paint.plain()
    upper = turned(np.concatenate([rounding, [(neck, body + shoulder + top)]]), glass, glass)
    stopper_profile = [(1.25 * neck, 0.0), (1.25 * neck, 0.1)]
    lid = transformed(
        turned(np.array(stopper_profile), stopper, stopper), translation(0, 0, body + shoulder + top - 0.02)
    )
    return joined([turned(np.array([(radius, 0), (radius, body)]), label, glass), upper, lid])


def mug(rng: Rng, paint: Paint) -> TexturedMesh:
    """A hollow cup with a handle."""
    radius, height = rng.uniform(0.3, 0.45), rng.uniform(0.5, 0.95)
    lower, thickness = radius * rng.uniform(0.75, 1.05), 0.08 * radius
    outside, inside = paint.main(), paint.plain()
    share = np.linspace(0, 1, 8)
    wall = np.stack([lower + (radius - lower) * share, share * height], -1)
    hollow = (wall * [1, 0.92] + [-thickness, 0.08 * height])[::-1]  # downwards: its outside is the cup's inside
    rim = transformed(torus(radius - thickness / 2, 0.55 * thickness, inside), translation(0, 0, height))
    cup = [open_above(turned(wall, outside, inside), height), open_above(turned(hollow, inside, inside), height), rim]
    arc, turn = height * rng.uniform(0.22, 0.32), 1.04 * np.pi
    handle = torus(arc, rng.uniform(0.035, 0.06), inside if rng.random() < 0.5 else outside, turn)
    place = translation(0.5 * (radius + lower), 0, 0.5 * height) @ rotation(0, np.pi / 2) @ rotation(2, -turn / 2)
    lean = np.eye(4)
    lean[0, 2], lean[0, 3] = (radius - lower) / height, -(radius - lower) / 2  # as the wall does
    return joined([*cup, transformed(handle, lean @ place)])


def open_above(vessel: TexturedMesh, height: float) -> TexturedMesh:
    """The vessel without the triangles that lie flat at its height."""
    lid = (vessel.vertices[vessel.faces][:, :, 2] > height - 1e-5).all(1)
    return dataclasses.replace(vessel, faces=vessel.faces[~lid], face_texture=vessel.face_texture[~lid])


def cone(rng: Rng, paint: Paint) -> TexturedMesh:
    radius, height = rng.uniform(0.25, 0.5), rng.uniform(0.4, 1.1)
    tip = rng.choice([0.0, rng.uniform(0.05, 0.7) * radius])
    rows = np.linspace(0, 1, 12)
    profile = np.stack([radius + (tip - radius) * rows, rows * height], -1)
    return turned(profile, paint.main(), paint.other(), int(rng.choice([4, 5, 6, 48, 48])))


def ring(rng: Rng, paint: Paint) -> TexturedMesh:
    radius = rng.uniform(0.3, 0.5)
    thickness = radius * rng.uniform(0.15, 0.5)
    return transformed(torus(radius, thickness, paint.other()), translation(0, 0, thickness))


def prism(rng: Rng, paint: Paint) -> TexturedMesh:
    """A random polygon or star, extruded."""
    count = int(rng.integers(3, 10))
    angle = (np.arange(count) + rng.uniform(-0.25, 0.25, count)) * 2 * np.pi / count
    radius = rng.uniform(0.35, 0.5, count)
    if count > 5 and rng.random() < 0.5:
        radius[::2] *= rng.uniform(0.5, 0.7)
    outline = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    cap = paint.main()
    return extruded(outline, rng.uniform(0.15, 1), [paint.main(), paint.other()], cap)


PARTS: list[Callable[[Rng, Paint], TexturedMesh]] = [parcel, parcel, blob, can, vase, cone, ring, prism]

"""Layout, light and cameras of the room, for Mitsuba 3. Metres, z up, floor at z = 0, the object at the origin."""

import mitsuba as mi
import numpy as np
import room_furniture as furniture
import room_textures as own_textures
from rocking_horse import rocking_horse
from scene_meshes import box, grid, lathe
from scene_parts import Part, book

VIEWS, FIELD_OF_VIEW = 54, 60.0  # the angle in degrees, horizontal
EXPOSURE = 1.5
JPEG_QUALITY = 88  # keeps the data set below 5 MB
REMOVED = "horse"  # parts whose name starts with this are the object to remove
WIDTH, DEPTH, HEIGHT = 4.6, 4.2, 2.5  # along x, y and z
LOW, HIGH = 0.7, 1.3  # heights of the cameras


def shell() -> list[Part]:
    """Floor and walls, no ceiling: the light comes from there, and no view looks so high."""
    east, north = WIDTH / 2, DEPTH / 2
    corners = np.array([[-east, -north, 0], [east, -north, 0], [east, north, 0], [-east, north, 0]])
    up, rng = np.array([0, 0, HEIGHT]), np.random.default_rng
    skins = {
        "south": own_textures.panelling(WIDTH, HEIGHT, rng(1)),
        "east": own_textures.bricks(DEPTH, HEIGHT, rng(2)),
        "north": own_textures.wallpaper(WIDTH, HEIGHT, rng(3)),
        "west": own_textures.limewash(DEPTH, HEIGHT, rng(4)),
    }
    parts = [Part("floor", grid(corners[[[0, 1], [3, 2]]]), own_textures.parquet(WIDTH, DEPTH, rng(5)), smooth=False)]
    for (name, skin), right, left in zip(skins.items(), corners, np.roll(corners, -1, 0), strict=True):
        parts.append(Part(name, grid(np.array([[left, right], [left + up, right + up]])), skin, smooth=False))
    return parts


def toys() -> list[Part]:
    """Low things on the floor around the object, where no camera looks over them at it."""
    rng = np.random.default_rng(11)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 21)
    ball = lathe(0.11 * np.stack([np.cos(angle), 1 + np.sin(angle)], 1))
    sectors = own_textures.stripes(["#c8372f", "#f0e6cc", "#2f63a0", "#f0e6cc", "#e5b03c", "#f0e6cc"], rng, 1)
    parts = [Part("ball", ball.place(tilt=50).place((-0.72, 0.5, 0), 30), sectors, glossy=True)]
    blocks = [
        ("star", "#2f63a0", (0.72, 0.62, 0), 20), ("heart", "#c8372f", (0.86, 0.58, 0), -12),
        ("ring", "#3f8250", (0.78, 0.6, 0.1), 48), ("cross", "#d9962f", (0.66, 0.83, 0), 65),
    ]  # fmt: skip
    for motif, tint, at, turn in blocks:
        face = own_textures.toy_block(tint, tint, motif, rng)
        parts.append(Part(f"block_{motif}", box((0.1, 0.1, 0.1)).place(at, turn), face, smooth=False))
    side = [(0.14, 0), (0.17, 0.1), (0.18, 0.2), (0.19, 0.215)]
    inside = [(0.19, 0.215), (0.17, 0.21), (0.16, 0.1), (0.135, 0.02), (0.135, 0.02), (0, 0.02)]
    basket = lathe([(0, 0), (0.14, 0), *side, *inside])
    parts.append(Part("basket", basket.place((-0.95, -0.62, 0)), own_textures.wicker(rng)))
    yarns = [("#c8603f", (-1.0, -0.58, 0.09)), ("#3d7f7a", (-0.9, -0.67, 0.1)), ("#e0b04a", (-0.9, -0.56, 0.12))]
    for number, (tint, at) in enumerate(yarns):
        skin = own_textures.stripes([tint, "#efe0c0", tint], rng, 6)
        parts.append(
            Part(f"yarn_{number}", lathe(0.075 * np.stack([np.cos(angle), 1 + np.sin(angle)], 1)).place(at), skin)
        )
    parts += book("tales", (0.26, 0.2, 0.035), "#24525a", "#d9b36a", (0.1, -0.86, 0.004), 35)
    return parts + book("songs", (0.22, 0.17, 0.03), "#a8383a", "#ecd9a8", (0.11, -0.85, 0.039), 12)


def furnishings() -> list[Part]:
    """Furniture along the walls, at several depths behind the object from every side."""
    rng = np.random.default_rng(12)
    east, north = WIDTH / 2, DEPTH / 2
    folds = own_textures.stripes(["#8f3b46", "#e3c58a", "#a34c52", "#e8d9b0"], rng, 5)
    return [
        *furniture.bookshelf((-1.05, north - 0.16, 0), 0),
        *furniture.door(0.85, 2.05, (0.4, north, 0), 0),
        *furniture.pouf((0.45, 1.42, 0), 20),
        *furniture.plant((1.75, north - 0.5, 0), 10),
        *furniture.sideboard((east - 0.22, -0.05, 0), -90),
        *furniture.boxes((1.75, -1.6, 0), -40),
        *furniture.sofa((0.0, -north + 0.42, 0), 180),
        *furniture.lamp_table((-1.75, -1.6, 0), 0),
        *furniture.chair((-1.85, 0.95, 0), 62),
        *furniture.curtain(0.8, 2.3, folds, (-east + 0.08, -0.35, 0), 90),
    ]


def build() -> list[Part]:
    """All parts of the room, the object to remove included."""
    carpet = own_textures.rug(1.9, 1.3, np.random.default_rng(6))
    rug = Part("rug", box((1.9, 1.3, 0.004), "z").place((0.5, -0.38, 0), 14), carpet, smooth=False)
    return [*shell(), rug, *furnishings(), *toys(), *rocking_horse(REMOVED, (0, 0, 0.004), 128)]


def lights() -> dict:
    """A large bright panel overhead, out of the middle, and an even fill: soft, so that shadows stay small."""
    place = mi.ScalarTransform4f().translate([-0.5, 0.4, 2.45]) @ mi.ScalarTransform4f().rotate([1, 0, 0], 180)
    panel = {"type": "rectangle", "to_world": place @ mi.ScalarTransform4f().scale([1.3, 1.1, 1])}
    panel["emitter"] = {"type": "area", "radiance": {"type": "rgb", "value": [1.9, 1.8, 1.62]}}
    return {"panel": panel, "fill": {"type": "constant", "radiance": {"type": "rgb", "value": [0.78, 0.8, 0.84]}}}


def cameras() -> np.ndarray:
    """Camera-to-world matrices `V 4 4` (OpenGL axes: x right, y up, z back) in order around a ring about the object.

    Two of three see it from 0.7 and 1.3 m in turn; the third, a test view, from a height between. Radius 1.2 to 1.42 m,
    targets within a few centimetres of the object.
    """
    rng = np.random.default_rng(8)
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    for view, pose in enumerate(poses):
        azimuth = 2 * np.pi * (view + rng.uniform(-0.25, 0.25)) / VIEWS
        radius, middle = rng.uniform(1.2, 1.42), rng.uniform(LOW + 0.15, HIGH - 0.15)
        height = (LOW, middle, HIGH)[view % 3] + rng.uniform(-0.04, 0.04)
        target = rng.uniform([-0.03, -0.03, 0.28], [0.03, 0.03, 0.36])
        position = np.array([radius * np.cos(azimuth), radius * np.sin(azimuth), height])
        back = (position - target) / np.linalg.norm(position - target)
        right = np.cross([0, 0, 1], back)
        right /= np.linalg.norm(right)
        pose[:3] = np.column_stack([right, np.cross(back, right), back, position])
    return poses

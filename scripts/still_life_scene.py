"""Objects, light and cameras of the still life, for Mitsuba 3. Metres, z up, table top at z = 0."""

import mitsuba as mi
import numpy as np
import scene_textures as textures
import still_life_textures as own_textures
from scene_meshes import Mesh, box, grid, lathe, tube
from scene_parts import Part, book
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

VIEWS, FIELD_OF_VIEW = 60, 52.0  # the angle in degrees, horizontal
EXPOSURE = 1.25
JPEG_QUALITY = 92
REMOVED = "teapot"  # parts whose name starts with this are the object to remove
WALL_Y = 0.46

# Outlines to turn on the lathe: (radius, height) in metres, from the foot upward; a repeated point is a sharp edge.
# fmt: off
TEAPOT = [
    (0, 0.004), (0.058, 0.004), (0.066, 0.008), (0.066, 0.008), (0.088, 0.03), (0.108, 0.075),
    (0.102, 0.125), (0.072, 0.165), (0.058, 0.175), (0.058, 0.175), (0.057, 0.183), (0.03, 0.2), (0, 0.206),
]
BOWL = [
    (0, 0.004), (0.05, 0.004), (0.056, 0.01), (0.1, 0.035), (0.14, 0.083), (0.143, 0.087), (0.138, 0.086),
    (0.1, 0.045), (0.05, 0.02), (0, 0.016),
]
CUP = [
    (0, 0), (0.03, 0), (0.042, 0.02), (0.046, 0.07), (0.046, 0.072), (0.043, 0.07), (0.039, 0.022),
    (0.02, 0.01), (0, 0.009),
]
BOTTLE = [
    (0, 0), (0.044, 0), (0.05, 0.006), (0.054, 0.06), (0.05, 0.13), (0.024, 0.19), (0.017, 0.22),
    (0.017, 0.26), (0.023, 0.27), (0.023, 0.274), (0.012, 0.274), (0, 0.25),
]
# fmt: on


def cloth(length, breadth, flat_at, rng) -> Mesh:
    """A cloth with soft folds, which die out around `flat_at` (x, y): there the object stands."""
    s, t = np.meshgrid(np.linspace(-0.5, 0.5, 240) * length, np.linspace(-0.5, 0.5, 180) * breadth)
    height = np.zeros_like(s)
    for _ in range(7):
        direction, offset = rng.uniform(-0.9, 0.9), rng.uniform(-0.3, 0.3)
        distance = s * np.cos(direction) + t * np.sin(direction) - offset + 0.02 * np.sin(9 * t + 20 * offset)
        along = t * np.cos(direction) - s * np.sin(direction)
        extent = textures.smoothstep(-0.18, 0.22, along * np.sign(offset))
        height += rng.uniform(0.008, 0.016) * extent * np.exp(-((distance / rng.uniform(0.014, 0.026)) ** 2))
    height *= textures.smoothstep(0.13, 0.27, np.hypot(s - flat_at[0], t - flat_at[1]))
    hem = np.minimum(length / 2 - np.abs(s), breadth / 2 - np.abs(t))
    height = 0.0035 * textures.smoothstep(0, 0.004, hem) + height
    x = s + 0.006 * np.sin(11 * t + 1) + 0.25 * height
    y = t + 0.006 * np.sin(9 * s)
    return grid(np.stack([x, y, height], -1))


def room() -> list[Part]:
    """Table, wall and cloth."""
    rng = np.random.default_rng
    table = box((6.0, 1.3, 0.04), "z").place((0, WALL_Y - 0.65, -0.04))
    left, right = np.array([-3.0, WALL_Y, 0.0]), np.array([3.0, WALL_Y, 0.0])
    up = np.array([0, 0, 1.5])
    size, cloth_at, cloth_turn = (0.72, 0.5), np.array([0.33, 0.048, 0.0]), 24
    flat_at = Rotation.from_euler("z", -cloth_turn, degrees=True).apply(-cloth_at)[:2]
    return [
        Part("table", table, textures.wood(6.0, 1.3, rng(1)), smooth=False),
        Part("wall", grid(np.array([[left, right], [left + up, right + up]])), own_textures.wall(6.0, 1.5, rng(2))),
        Part("cloth", cloth(*size, flat_at, rng(15)).place(cloth_at, cloth_turn), own_textures.gingham(*size, rng(3))),
    ]


def teapot() -> list[Part]:
    """The object to remove: a glazed teapot, its spout to the right, standing across the edge of the cloth."""
    rng = np.random.default_rng(4)
    knob = lathe([(0.0, 0.2), (0.009, 0.203), (0.010, 0.212), (0.019, 0.224), (0.014, 0.238), (0.0, 0.243)])
    spout = tube([(0.085, 0.055), (0.125, 0.075), (0.15, 0.125), (0.185, 0.168)], [0.03, 0.024, 0.017, 0.012])
    handle_path = [(-0.085, 0.15), (-0.13, 0.17), (-0.17, 0.14), (-0.165, 0.085), (-0.12, 0.05), (-0.085, 0.04)]
    handle = tube(handle_path, [0.011, 0.011, 0.012, 0.012, 0.011, 0.010])
    trim = textures.bands(["#1f4f94", "#2a63ab", "#f2e8d2"], [0.5, 0.93], rng)
    pieces = {"body": (lathe(TEAPOT, 128, 160), own_textures.teapot_glaze(rng)), "knob": (knob, "#dd9a2f")}
    pieces |= {"spout": (spout, trim), "handle": (handle, "#1f4f94")}
    return [Part(f"{REMOVED}_{name}", mesh.place(turn=-24), skin, glossy=True) for name, (mesh, skin) in pieces.items()]


def crockery() -> list[Part]:
    """Bowl, cup and bottle."""
    rng = np.random.default_rng(5)
    ear = tube([(0.042, 0.058), (0.064, 0.058), (0.068, 0.036), (0.041, 0.022)], [0.006, 0.006, 0.006, 0.006])
    striped = textures.bands(["#b4532f", "#efe3c6", "#2f6f6b", "#efe3c6", "#b4532f"], [0.16, 0.24, 0.34, 0.42], rng)
    bowl_skin = textures.bands(["#2f6f6b", "#efe3c6", "#2f6f6b", "#3d857f"], [0.33, 0.37, 0.47], rng)
    bottle_skin = textures.bands(["#8a3f22", "#c9762e", "#e0a23c", "#e8b655"], [0.12, 0.42, 0.6], rng, mottle=0.1)
    cup_at, bowl_at = (-0.35, 0.17, 0.113), (0.36, 0.2, 0.003)
    return [
        Part("bowl", lathe(BOWL).place(bowl_at), bowl_skin, glossy=True),
        Part("cup", lathe(CUP).place(cup_at), striped),
        Part("cup_ear", ear.place(cup_at, turn=-50), "#b4532f"),
        Part("bottle", lathe(BOTTLE).place((0.125, 0.33, 0)), bottle_skin),
    ]


def fruit() -> list[Part]:
    """Fruit in the bowl and around it."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 15)
    ball = np.stack([np.cos(angle), 1 + np.sin(angle)], 1)
    orange = lathe(ball * 0.04)
    tip = 0.25 * np.sin(angle) ** 3 + 0.85 * np.sin(angle)
    lemon = lathe(np.stack([0.031 * np.cos(angle) ** 1.15, 0.042 * (1 + tip)], 1))
    dimple = 0.012 * np.exp(-((ball[:, 0] / 0.35) ** 2)) * (ball[:, 1] > 1)
    apple = lathe(np.stack([0.042 * ball[:, 0] * (0.9 + 0.1 * ball[:, 1]), 0.038 * ball[:, 1] - dimple], 1))
    pear = lathe([(0, 0), (0.03, 0.006), (0.041, 0.035), (0.034, 0.065), (0.02, 0.09), (0.015, 0.105), (0, 0.113)])
    stem = tube([(0, 0), (0.003, 0.012), (0.008, 0.022)], [0.0022, 0.002, 0.0025], 12, 12)
    kinds = {
        "orange": (orange, "#e8871e", "#f2a33a", False, None),
        "apple": (apple, "#c2272d", "#e0a63c", True, 0.066),
        "lemon": (lemon, "#efc62c", "#f4da5a", False, None),
        "cherry": (lathe(ball * 0.014), "#8e1420", "#c22a30", False, 0.027),
        "pear": (pear, "#b9b53f", "#d8a13a", True, 0.111),
    }
    layout = []
    for i, kind in enumerate(("orange", "apple", "pear", "orange", "apple")):  # a ring in the bowl
        around = np.radians(290 - 72 * i)
        layout.append((kind, (0.36 + 0.077 * np.cos(around), 0.2 + 0.077 * np.sin(around), 0.047), 137 * i, 0))
    layout += [
        ("apple", (0.35, 0.215, 0.098), 40, 10),
        ("lemon", (0.395, 0.15, 0.142), 70, 80),
        ("lemon", (0.235, -0.13, 0.034), 35, 88),
        ("orange", (0.36, -0.07, 0.003), 10, 5),
        ("apple", (-0.27, -0.09, 0.0), 150, 6),
        ("pear", (-0.17, 0.245, 0.0), 100, 4),
        ("cherry", (-0.165, -0.215, 0.0), 20, 4),
        ("cherry", (-0.135, -0.195, 0.0), 150, 6),
        ("cherry", (-0.19, -0.175, 0.0), 260, -5),
    ]
    parts = []
    for number, (kind, at, turn, tilt) in enumerate(layout):
        mesh, base, blush, streaks, stem_height = kinds[kind]
        skin = textures.peel(base, blush, np.random.default_rng(40 + number), streaks)
        parts.append(Part(f"fruit_{number}", mesh.place(turn=turn).place(at, turn, tilt), skin))
        if stem_height:
            parts.append(Part(f"stem_{number}", stem.place((0, 0, stem_height)).place(at, turn, tilt), "#5b3a1e"))
    return parts


def build() -> list[Part]:
    """All parts of the still life, the object to remove included."""
    books = book("atlas", (0.30, 0.215, 0.042), "#24525a", "#d9b36a", (-0.35, 0.16, 0), 14)
    books += book("poems", (0.255, 0.18, 0.032), "#8e2f2b", "#ecd9a8", (-0.345, 0.165, 0.042), -6)
    books += book("notes", (0.23, 0.165, 0.039), "#d09a35", "#3b3a52", (-0.355, 0.16, 0.074), 22)
    picture = box((0.27, 0.018, 0.33), "y").place(tilt=-9).place((-0.09, 0.395, 0.004), 3)
    frame = Part("picture", picture, textures.painting(np.random.default_rng(6)), smooth=False)
    return room() + teapot() + books + crockery() + fruit() + [frame]


def cameras() -> np.ndarray:
    """Camera-to-world matrices `V 4 4` (OpenGL axes: x right, y up, z back) on a dome in front of the table.

    Azimuth +-38 degrees, elevation 12 to 42, radius 0.95 m +-12 %, targets a few centimetres around the object, from
    a scrambled Halton sequence; sorted from left to right, so that every third view is a fair test set.
    """
    low, high = [-38, 12, 0.836, -0.03, -0.01, 0.05], [38, 42, 1.064, 0.07, 0.07, 0.10]
    points = qmc.scale(qmc.Halton(6, rng=np.random.default_rng(7)).random(VIEWS), low, high)
    poses = np.tile(np.eye(4), (VIEWS, 1, 1))
    for pose, (azimuth, elevation, radius, *target) in zip(poses, points[np.argsort(points[:, 0])], strict=True):
        azimuth, elevation = np.radians([azimuth, elevation])
        back = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
        right = np.array([np.cos(azimuth), np.sin(azimuth), 0])
        pose[:3] = np.column_stack([right, np.cross(back, right), back, np.array(target) + radius * back])
    return poses


def lights() -> dict:
    """A large window, high on the left behind the cameras, and a dim even fill: soft, so that shadows stay small."""
    look = mi.ScalarTransform4f().look_at(origin=[-0.95, -0.75, 1.95], target=[0, 0.05, 0.05], up=[0, 0, 1])
    window = {"type": "rectangle", "to_world": look @ mi.ScalarTransform4f().scale([0.85, 0.85, 1])}
    window["emitter"] = {"type": "area", "radiance": {"type": "rgb", "value": [5.0, 4.7, 4.15]}}
    return {"window": window, "fill": {"type": "constant", "radiance": {"type": "rgb", "value": [0.58, 0.62, 0.68]}}}

"""The object that is removed from the room: a painted rocking horse, 0.6 m high, its head toward +x."""

import numpy as np
import room_textures as textures
from scene_meshes import Mesh, lathe, merge, pillow, tube
from scene_parts import Part

SCALE = 1.1  # of all lengths below, which are metres
ROCKER_AT, HIP_AT = 0.085, 0.045  # metres from the middle plane
ROCKER = [(x, 0.016 + 0.085 * (x / 0.31) ** 2) for x in np.linspace(-0.31, 0.31, 9)]
BODY = [(-0.175, 0.3), (-0.165, 0.3), (-0.11, 0.295), (0, 0.285), (0.1, 0.295), (0.16, 0.31), (0.17, 0.312)]
BODY_RADII = [0.008, 0.042, 0.074, 0.07, 0.078, 0.05, 0.008]


def rounded_bar(length, radius) -> Mesh:
    """A bar across the horse, along y, centred."""
    half = length / 2
    lower = [(0, -half), (radius * 0.8, -half), (radius, 0.01 - half)]
    return lathe([*lower, *((r, -z) for r, z in lower[::-1])], 24, 24).place(tilt=90)


def both(mesh: Mesh, at, tilt=0.0) -> Mesh:
    """A mesh left and right of the middle plane, tilted outward by so many degrees."""
    x, y, z = at
    return merge(mesh.place((x, y, z), tilt=tilt), mesh.place((x, -y, z), tilt=-tilt))


def rocking_horse(name, at, turn) -> list[Part]:
    """All of its parts, their names beginning with `name`."""
    rng = np.random.default_rng(21)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    eye = lathe(np.stack([0.009 * np.cos(angle), 0.009 * np.sin(angle)], 1), 16, 16)
    front = tube([(0, 0.02), (0.02, -0.05), (0.045, -0.13), (0.07, -0.225)], [0.04, 0.034, 0.022, 0.018])
    back = tube([(0, 0.02), (-0.03, -0.05), (-0.02, -0.12), (-0.06, -0.225)], [0.045, 0.036, 0.022, 0.018])
    ear = lathe([(0, 0), (0.016, 0.004), (0.013, 0.025), (0, 0.045)], 24, 24)
    coat = textures.dapples("#efe7d8", "#8f8378", rng)
    hair = textures.stripes(["#5a3a22", "#7d5430"], rng, repeats=7)
    red = textures.dots("#b3322c", ["#efb93f", "#f0e3c2"], rng, columns=9, rows=4)
    rail = textures.dots("#2f6b52", ["#efc14a", "#e3e0c4", "#d2553c"], rng, columns=1, rows=15)
    leather = textures.stripes(["#6b3a1e", "#8a5230"], rng, 2)
    pieces = {
        "rockers": (both(tube(ROCKER, [0.004, *[0.015] * 7, 0.004]), (0, ROCKER_AT, 0)), rail),
        "bars": (merge(*(rounded_bar(0.2, 0.012).place((x, 0, 0.062)) for x in (-0.225, 0.225))), "#c9912f"),
        "legs": (merge(both(front, (0.115, HIP_AT, 0.275), 10), both(back, (-0.125, HIP_AT, 0.275), 10)), coat),
        "body": (tube(BODY, BODY_RADII), coat),
        "neck": (tube([(0.1, 0.31), (0.14, 0.37), (0.175, 0.43), (0.195, 0.475)], [0.062, 0.054, 0.042, 0.034]), coat),
        "head": (tube(
            [(0.16, 0.49), (0.172, 0.486), (0.2, 0.475), (0.25, 0.445), (0.29, 0.415), (0.312, 0.4), (0.318, 0.396)],
            [0.008, 0.032, 0.044, 0.038, 0.03, 0.026, 0.006],
        ), coat),
        "ears": (both(ear, (0.18, 0.026, 0.512), 12), coat),
        "eyes": (both(eye, (0.232, 0.036, 0.468)), "#1a1512"),
        "mane": (tube(
            [(0.2, 0.525), (0.165, 0.515), (0.135, 0.46), (0.1, 0.405), (0.06, 0.372)],
            [0.006, 0.02, 0.024, 0.024, 0.008],
        ), hair),
        "tail": (tube(
            [(-0.15, 0.32), (-0.2, 0.335), (-0.235, 0.29), (-0.235, 0.22), (-0.25, 0.16)],
            [0.01, 0.018, 0.024, 0.022, 0.004],
        ), hair),
        "blanket": (tube(
            [(-0.092, 0.293), (-0.085, 0.292), (-0.03, 0.287), (0.03, 0.287), (0.075, 0.292), (0.082, 0.293)],
            [0.066, 0.079, 0.077, 0.078, 0.082, 0.07],
        ), red),
        "saddle": (pillow((0.15, 0.13, 0.05)).place((-0.01, 0, 0.345)), leather),
        "bridle": (tube([(0.268, 0.432), (0.283, 0.421)], [0.0365, 0.0335]), "#2c4f8c"),
        "collar": (tube([(0.132, 0.358), (0.147, 0.382)], [0.0605, 0.0565]), "#2c4f8c"),
        "handle": (rounded_bar(0.2, 0.011).place((0.19, 0, 0.447)), "#c9912f"),
    }  # fmt: skip
    shiny = ("rockers", "bars", "eyes", "handle")
    scaled = {piece: mesh._replace(vertices=SCALE * mesh.vertices) for piece, (mesh, _) in pieces.items()}
    return [
        Part(f"{name}_{piece}", scaled[piece].place(at, turn), skin, glossy=piece in shiny)
        for piece, (_, skin) in pieces.items()
    ]

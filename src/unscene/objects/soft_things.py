"""What gives way: cushions, fruit, bags, plush animals, shoes: rounded bodies that are never quite regular."""

from __future__ import annotations

import dataclasses

import numpy as np

from unscene.objects.mesh import TexturedMesh, joined, rotation, transformed, translation
from unscene.objects.parts import Paint, Rng
from unscene.objects.shapes import rippled, superellipsoid, tube


def cushion(rng: Rng, paint: Paint) -> TexturedMesh:
    """Lying or leaning, with dented sides."""
    extent = np.array([rng.uniform(0.7, 1), rng.uniform(0.7, 1), rng.uniform(0.25, 0.45)])
    soft = _soft(superellipsoid(extent, (1.0, rng.uniform(0.25, 0.5)), paint.main()), rng, 0.06)
    return transformed(soft, rotation(0, rng.choice([0.0, rng.uniform(0.5, 1.5)])))


def fruit(rng: Rng, paint: Paint) -> TexturedMesh:
    """Apple, pear or gourd, with a stem."""
    width, height = rng.uniform(0.6, 0.9), rng.uniform(0.55, 1.1)
    body = _soft(superellipsoid(np.array([width, width, height]), (1.0, 1.0), paint.other()), rng, 0.05)
    along = np.linspace(0, 1, 5)[:, None]
    lean = np.array([rng.normal(0, 0.05), rng.normal(0, 0.05), rng.uniform(0.12, 0.2)])
    stem = tube(np.array([0, 0, 0.97 * height]) + along * lean, np.linspace(0.03, 0.02, 5), paint.plain())
    return joined([body, stem])


def bag(rng: Rng, paint: Paint) -> TexturedMesh:
    """A filled bag or pouch, wider below, tied or folded above."""
    extent = np.array([rng.uniform(0.5, 0.8), rng.uniform(0.3, 0.6), rng.uniform(0.7, 1.1)])
    body = superellipsoid(extent, (rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.9)), paint.main())
    taper = 1 - rng.uniform(0.2, 0.6) * (body.vertices[:, 2:] / extent[2]) ** 2
    narrowed = body.vertices * np.concatenate([taper, taper, np.ones_like(taper)], 1)
    return _soft(dataclasses.replace(body, vertices=narrowed.astype(np.float32)), rng, 0.05)


def plush(rng: Rng, paint: Paint) -> TexturedMesh:
    """A sitting animal: belly, head, ears, arms and legs, the same on both sides."""
    fur = paint.other()
    patch = paint.other() if rng.random() < 0.5 else fur
    belly, head = rng.uniform(0.4, 0.6), rng.uniform(0.32, 0.5)
    tall = belly * rng.uniform(1, 1.4)
    parts = [superellipsoid(np.array([belly, belly, tall]), (1, 1), fur)]
    skull = superellipsoid(np.array([head, head * rng.uniform(1, 1.2), head]), (1, 1), fur)
    parts.append(transformed(skull, translation(0.05, 0, 0.9 * tall)))
    snout = superellipsoid(np.full(3, 0.4 * head), (1, 1), patch)
    parts.append(transformed(snout, translation(0.05 + 0.45 * head, 0, 0.9 * tall + 0.2 * head)))
    ear = superellipsoid(np.array([0.1, 0.35 * head, head * rng.uniform(0.3, 0.9)]), (1, 1), patch)
    arm = superellipsoid(np.array([0.6 * belly, 0.16, 0.16]), (1, 1), fur)
    leg = superellipsoid(np.array([0.75 * belly, 0.22, 0.2]), (1, 1), fur)
    down, spread = rng.uniform(0.2, 1.0), rng.uniform(0.3, 0.7)
    for side in (-1, 1):
        parts.append(transformed(ear, translation(0.03, side * 0.38 * head, 0.9 * tall + 0.85 * head)))
        turned_arm = rotation(2, side * spread) @ rotation(1, down)
        parts.append(transformed(arm, translation(0.25 * belly, side * 0.45 * belly, 0.6 * tall) @ turned_arm))
        parts.append(transformed(leg, translation(0.45 * belly, side * 0.32 * belly, 0) @ rotation(2, side * 0.3)))
    return _soft(joined(parts), rng, 0.015)


def shoe(rng: Rng, paint: Paint) -> TexturedMesh:
    """A sole, an upper that rises to the heel, and its opening."""
    length, width, rise = 1.0, rng.uniform(0.34, 0.42), rng.uniform(0.35, 0.6)
    sole = superellipsoid(np.array([length, width, 0.14]), (0.4, 0.8), paint.plain())
    upper = superellipsoid(np.array([0.95 * length, 0.92 * width, rise]), (0.8, 0.8), paint.other())
    low = 1 - 0.55 * np.clip(upper.vertices[:, :1] / length + 0.5, 0, 1) ** 1.5  # lower towards the toe
    sloped = upper.vertices * np.concatenate([np.ones_like(low), np.ones_like(low), low], 1)
    shaped = _soft(dataclasses.replace(upper, vertices=sloped.astype(np.float32)), rng, 0.02)
    opening = superellipsoid(np.array([0.4, 0.6 * width, 0.06]), (0.6, 1), paint.plain())
    return joined([
        sole,
        transformed(shaped, translation(0, 0, 0.08)),
        transformed(opening, translation(-0.24, 0, 0.06 + 0.88 * rise)),
    ])  # fmt: skip


def _soft(mesh: TexturedMesh, rng: Rng, most: float) -> TexturedMesh:
    """The mesh with dents and bulges of at most that height."""
    return rippled(mesh, rng.uniform(0, most), rng.normal(0, 7, (4, 3)), rng.uniform(0, 2 * np.pi, 4))

"""Render the example of `unscene orbit`: a lettered mug with its depth, into src/unscene/objects/example/."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from PIL import Image

from unscene.geometry.turntable import object_cameras
from unscene.objects import example
from unscene.objects.lettering import lettering
from unscene.objects.mesh import normalized, rotation, transformed
from unscene.objects.parts import Paint, mug
from unscene.objects.ray_tracer import Lighting, RayTracer

SEED, SIZE, DISTANCE = 3, 384, 3.0
TURN = 60.0  # degrees: lettering to the front, handle to the right
LIGHTING = Lighting((0.45, -0.5, 0.74), ambient=0.55, specular=0.15)


class LetteredPaint(Paint):
    """Paints the largest face with one word."""

    def main(self) -> np.ndarray:
        return lettering(self.size, self.rng, "TEA 42")


def main() -> None:
    rng = np.random.default_rng(SEED)
    mesh = normalized(transformed(mug(rng, LetteredPaint(rng, 512)), rotation(2, np.radians(TURN))))
    camera = object_cameras(
        torch.zeros(1), torch.tensor([example.ELEVATION]), torch.tensor([DISTANCE]),
        field_of_view=example.FIELD_OF_VIEW, size=SIZE,
    )  # fmt: skip
    view = RayTracer(mesh, LIGHTING).render(camera, 0, samples=4)
    example.FOLDER.mkdir(exist_ok=True)
    color = torch.cat([view.color, view.alpha[..., None]], -1)
    Image.fromarray((color.clamp(0, 1) * 255).round().byte().numpy(), "RGBA").save(example.PHOTO, optimize=True)
    cv2.imwrite(str(example.DEPTH), (view.depth / example.DEPTH_UNIT).round().numpy().astype(np.uint16))


if __name__ == "__main__":
    main()

"""What benchmarks on the still life share: folders of one run's settings, figures of a removal, tables over seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unscene.evaluation.consistency import view_consistency
from unscene.evaluation.score import score
from unscene.fields.field import RadianceField, render_view
from unscene.files import write_json, write_png
from unscene.priors.diffusion.autoencoder_features import AutoencoderFeatures
from unscene.scenes.scene import Scene
from unscene.scenes.still_life import true_depth
from unscene.training.events import Event

QUALITY = {"psnr": 2, "perceptual": 3, "sharpness": 2, "inconsistency": 4}
"""Columns that every table has, and their digits."""


def claim(out: Path, settings: dict[str, Any]) -> None:
    """Record the settings in a folder, or end if it belongs to others."""
    recorded, settings = out / "settings.json", json.loads(json.dumps(settings, default=str))
    if recorded.is_file() and json.loads(recorded.read_text()) != settings:
        raise SystemExit(f"{out}: expected a folder of a run with these settings; choose another --out.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(recorded, settings)


def finish(events: Generator[Event, None, Any], keep: Callable[[Event], Any] = lambda event: None) -> Any:
    """Run a generator of events; returns its value. keep: is shown every event."""
    while True:
        try:
            keep(next(events))
        except StopIteration as done:
            return done.value


def removal_figures(scene: Scene, field: RadianceField, folder: Path) -> dict[str, float]:
    """What a field without the object shows in the test views inside its mask; its renders go into ``seen/``.

    perceptual: in the bundled autoencoder's features. inconsistency: of neighbouring test views, warped by true depth.
    """
    assert scene.masks is not None
    test = scene.test.tolist()
    images = [render_view(field, scene.cameras, view).color for view in test]
    for view, image in zip(test, images, strict=True):
        write_png(folder / "seen" / f"{scene.names[view][:3]}.png", (image * 255).round().byte().numpy())
    truth, masks = [scene.image(view) for view in test], [scene.masks[view] for view in test]
    result = score(images, truth, masks, AutoencoderFeatures())
    assert result.psnr_masked and result.perceptual_masked and result.sharpness_ratio
    return {
        "psnr": result.psnr_masked,
        "perceptual": result.perceptual_masked,
        "sharpness": result.sharpness_ratio,
        "inconsistency": disagreement(scene, scene.test, images, scene.masks[scene.test]),
    }


def disagreement(scene: Scene, views: Tensor, images: list[Tensor], masks: Tensor) -> float:
    """Mean absolute difference of neighbouring views (V), warped by true depth, inside the masks (V H W bool)."""
    return view_consistency(scene.cameras[views], images, [true_depth(view) for view in views.tolist()], masks)


def print_table(rows: Mapping[str, Sequence[Mapping[str, float | None]]], columns: dict[str, int]) -> None:
    """Mean and standard deviation over seeds, as Markdown. columns: and their digits."""
    print("\n| row | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, figures in rows.items():
        cells = []
        for key, digits in columns.items():
            values = [value for row in figures if (value := row.get(key)) is not None]
            spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.{digits}f}{spread}" if values else "-")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

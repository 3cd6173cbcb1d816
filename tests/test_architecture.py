"""Imports run downward only, and each heavy package has its one door."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "unscene"

LEVELS = [
    {"files", "geometry", "ranges", "warp_runtime"},
    {"scenes", "fields", "objects", "priors", "losses", "evaluation.metrics"},
    {"training"},
    {"methods"},
    {"evaluation", "export", "doctor", "results", "screen", "viewer"},
    {"orbit_methods", "orbit_options", "orbit_pipeline", "pipeline"},
    {"__main__", "cli", "commands", "training_commands"},
]
SIDEWAYS = {  # imports within one level that are allowed
    ("__main__", "cli"),
    ("cli", "commands"),
    ("evaluation.metrics", "losses"),
    ("geometry", "warp_runtime"),
    ("commands", "training_commands"),
    ("orbit_pipeline", "orbit_methods"),
    ("orbit_pipeline", "orbit_options"),
    ("orbit_methods", "orbit_options"),
}

IMPORTERS = {  # heavy package -> the modules that may import it
    "accelerate": {"training.training_loop"},
    "diffusers": {
        "priors.architecture",
        "priors.diffusion_checkpoints",
        "priors.novel_view_checkpoints",
        "priors.shap_e",
        "training.prior_export",
        "training.prior_objectives",
    },
    "pycolmap": {"scenes.colmap"},
    "torchvision": set(),
    "transformers": {
        "priors.architecture",
        "priors.depth_network",
        "priors.diffusion_checkpoints",
        "priors.photo_token",
        "priors.shap_e",
        "priors.zero123_hub",
    },
    "trimesh": {"export", "objects.mesh_files"},
    "tyro": {"commands", "orbit_options", "training.prior_evaluation", "training_commands"},
    "warp": {"fields.hash_grid", "fields.processor", "geometry.epipolar", "objects.ray_tracer", "warp_runtime"},
}
ONE_IMPORTER = {
    "gsplat",
    "imageio",
    "jinja2",
    "mitsuba",
    "onnxruntime",
    "peft",
    "rich",
    "skimage",
    "torchmetrics",
    "viser",
    "webdataset",
}


def imported_names(path: Path) -> set[str]:
    """Every dotted name a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full, not relative"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


IMPORTS = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): imported_names(path)
    for path in sorted(SOURCE.rglob("*.py"))
    if path != SOURCE / "__init__.py"  # the package's front door opens on everything
}


def level_of(module: str) -> tuple[str, int]:
    """The unit of the table a module (without the leading ``unscene.``) belongs to, and the unit's level."""
    levels = {unit: level for level, units in enumerate(LEVELS) for unit in units}
    fitting = [unit for unit in levels if f"{module}.".startswith(f"{unit}.")]
    assert fitting, f"unscene.{module} has no level: add it to LEVELS in {Path(__file__).name}"
    unit = max(fitting, key=len)
    return unit, levels[unit]


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_run_downward_only(module: str) -> None:
    unit, level = level_of(module)
    for name in IMPORTS[module]:
        if name.startswith("unscene."):
            other, below = level_of(name.removeprefix("unscene."))
            allowed = other == unit or below < level or (unit, other) in SIDEWAYS
            assert allowed, f"unscene.{module} (level {level}) may not import {name} (level {below})"


def test_heavy_packages_are_imported_where_they_belong() -> None:
    importers = defaultdict(set)
    for module, names in IMPORTS.items():
        for name in names:
            importers[name.split(".")[0]].add(module)
    for package, allowed in IMPORTERS.items():
        assert importers[package] <= allowed, f"{package} is imported outside {sorted(allowed)}"
    for package in ONE_IMPORTER:
        assert len(importers[package]) <= 1, f"{package} has several importers: {sorted(importers[package])}"

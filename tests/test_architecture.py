"""Imports run downward only, and each heavy package has its one door."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "unscene"

LEVELS = [
    {"device", "file_names", "files", "geometry", "memory", "ranges", "threads", "warp_runtime"},
    {"scenes", "fields", "objects", "priors", "splat_files", "losses", "evaluation.metrics", "evaluation.statistics"},
    {"training"},
    {"capture", "pretraining", "segmentation", "stages"},
    {"methods"},
    {"evaluation", "results"},
    {"jobs"},
    {"studio"},
    {"__main__", "cli", "commands", "doctor", "screen", "studio_commands", "training_commands"},
]
SIDEWAYS = {  # imports within one level that are allowed
    ("__main__", "cli"),
    ("cli", "commands"),
    ("cli", "studio_commands"),
    ("commands", "doctor"),
    ("commands", "screen"),
    ("commands", "training_commands"),
    ("geometry", "warp_runtime"),
    ("results", "evaluation"),
    ("scenes", "splat_files"),  # sparse points are PLY, too
    ("training_commands", "screen"),
}

IMPORTERS = {  # heavy package -> the modules, or packages of them, that may import it
    "accelerate": {"pretraining.training_loop"},
    "diffusers": {
        "priors.diffusion",
        "priors.novel_views",
        "pretraining.prior_export",
        "pretraining.prior_objectives",
    },
    "pycolmap": {"capture", "scenes.colmap_binary"},
    "torchvision": set(),
    "transformers": {"priors.diffusion", "priors.depth.network", "priors.novel_views", "segmentation.sam2"},
    "trimesh": {"objects.mesh_files"},
    "tyro": {
        "commands",
        "jobs.mask_options",
        "jobs.orbit_options",
        "pretraining.prior_evaluation",
        "studio_commands",
        "training_commands",
    },
    "warp": {
        "fields.cuda_splats",
        "fields.hash_encoding",
        "fields.hash_kernels",
        "fields.processor",
        "geometry.swept_lines",
        "objects.ray_tracer",
        "warp_runtime",
    },
}
SLOW = {"accelerate", "diffusers", "mitsuba", "peft", "sklearn", "torchmetrics", "transformers", "viser"}  # to import
ONE_IMPORTER = {
    "gsplat",
    "imageio",
    "jinja2",
    "mitsuba",
    "onnxruntime",
    "peft",
    "pillow_heif",
    "psutil",
    "rich",
    "skimage",
    "torchmetrics",
    "viser",
    "webdataset",
    "zstandard",
}


def imported_names(path: Path) -> set[str]:
    """Every dotted name a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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
        outside = {m for m in importers[package] if not any(f"{m}.".startswith(f"{place}.") for place in allowed)}
        assert not outside, f"{package} is imported in {sorted(outside)}, outside {sorted(allowed)}"
    for package in ONE_IMPORTER:
        assert len(importers[package]) <= 1, f"{package} has several importers: {sorted(importers[package])}"


def test_no_module_needs_one_that_needs_it() -> None:
    """Modules that import each other, however far round, cannot be understood one by one."""
    needs = {
        module: {other for name in names if (other := _module_of(name)) and other != module}
        for module, names in IMPORTS.items()
    }
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module not in done:
            for other in sorted(needs[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in needs:
        visit(module, ())


def test_the_command_line_starts_without_slow_packages() -> None:
    """A mistyped option is answered at once: what takes seconds to import is imported where it is used."""
    reached, waiting = set[str](), {"commands"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        names = names_at_import(SOURCE.joinpath(*module.split(".")))
        slow = SLOW & {name.split(".")[0] for name in names}
        assert not slow, f"unscene.{module} imports {sorted(slow)} when it is imported, and unscene.commands imports it"
        waiting |= {other for name in names if (other := _module_of(name))} - reached


def names_at_import(path: Path) -> set[str]:
    """The dotted names that a module (without its suffix) or package imports as soon as it is imported."""
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    statements = ast.parse(file.read_text(encoding="utf-8")).body  # neither functions nor ``if TYPE_CHECKING``
    names = {alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names}
    return names | {
        f"{node.module}.{alias.name}" for node in statements if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def _module_of(name: str) -> str | None:
    """The module of ours that an imported name lies in."""
    parts = name.removeprefix("unscene.").split(".") if name.startswith("unscene.") else []
    return next((".".join(parts[:end]) for end in range(len(parts), 0, -1) if ".".join(parts[:end]) in IMPORTS), None)

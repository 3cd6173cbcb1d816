"""The run folder: everything a run leaves behind, written so that nothing finished is ever lost."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from unscene.file_names import portable, view_files
from unscene.files import to_uint8, write_json, write_png
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Picture, ViewInpainted, ViewUpdated, Watch

RECORDED_PACKAGES = ("unscene", "torch", "warp-lang", "diffusers", "transformers", "opencv-contrib-python-headless")


# settings that may change when a run goes on: they say where and how safely, not what
WHERE_NOT_WHAT = ("device", "offload", "attention_slicing", "checkpoint_seconds")
ITEM_SECONDS = 0.5  # between items that the log keeps


class RunError(ValueError):
    """A run folder that cannot be used; the text says what was expected, what came and what to do."""


class RunFolder:
    """A folder with ``config.json``, ``events.jsonl``, ``checkpoint/`` and the results."""

    def __init__(self, path: Path):
        self.path = path
        self.view_files: dict[str, str] = {}
        """What files about the scene's views are called, by the names of their photos."""

    @staticmethod
    def create(path: Path, config: dict[str, Any], *, resume: bool) -> RunFolder:
        """Start a run, or go on with one. Raises RunError if the folder is in use or belongs to other settings."""
        run, recorded = RunFolder(path), path / "config.json"
        if resume and recorded.is_file():
            differing = run._differences(config)
            if differing:
                raise RunError(
                    f"{path}: expected --resume with the settings the run began with, got other values for "
                    f"{', '.join(differing)}; repeat the first command with --resume added, or choose another --out."
                )
            if "device" in config:
                write_json(recorded, run.config | {"device": str(config["device"])})  # where it goes on
            return run
        RunFolder.check_free(path, resume=False)
        path.mkdir(parents=True, exist_ok=True)
        write_json(recorded, as_recorded(config) | {"versions": _versions()})
        return run

    @staticmethod
    def check_free(path: Path, *, resume: bool) -> None:
        """Raise RunError if a new run cannot be put there, before it costs anything."""
        goes_on = resume and (path / "config.json").is_file()
        if not goes_on and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path}: expected a new or empty output folder, but it exists; choose another --out, delete it, "
                "or add --resume to go on with it."
            )

    @staticmethod
    def open(path: Path) -> RunFolder:
        """A run that exists. Raises RunError otherwise."""
        if not (path / "config.json").is_file():
            raise RunError(f"{path}: expected a run folder with a config.json; give the --out of a fit or remove.")
        return RunFolder(path)

    @property
    def config(self) -> dict[str, Any]:
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    def checkpoints(self, seed: int) -> Checkpoints:
        return Checkpoints(self.path / "checkpoint", seed)

    def log(self, event: Event) -> None:
        """Append an event to events.jsonl; pictures go to ``previews/``, those of updated views if exemplary."""
        if isinstance(event, Picture):
            name = event.name if event.view is None else f"{event.name}-{self._view_file(event.view)}"
            self.write_image(f"previews/{portable(name)}.png", event.image)
            return
        fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
        if isinstance(event, ViewUpdated):
            image = fields.pop("image")
            if event.exemplary:
                self.write_image(f"previews/update-{self._view_file(event.view)}-{event.update:02}.png", image)
        line = {"event": type(event).__name__, "time": round(time.time(), 3)} | fields
        with (self.path / "events.jsonl").open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line) + "\n")

    def logging(self, watch: Watch) -> Watch:
        """Passes events on to ``watch`` and appends those worth keeping to the log."""
        last_item = 0.0

        def log_and_watch(event: Event) -> None:
            nonlocal last_item
            if isinstance(event, ItemDone):
                if (now := time.monotonic()) - last_item > ITEM_SECONDS or event.done == event.total:
                    last_item = now
                    self.log(event)
            elif not isinstance(event, ViewInpainted):
                self.log(event)
            watch(event)

        return log_and_watch

    def write_image(self, name: Path | str, image: Tensor) -> Path:
        """Write H W 3 (float in [0, 1] or uint8) or a mask H W bool as PNG, atomically."""
        return write_png(self.path / name, to_uint8(image).cpu().numpy())

    def _view_file(self, view: str) -> str:
        return self.view_files.get(view) or view_files([view])[view]

    def _differences(self, config: dict[str, Any]) -> list[str]:
        recorded = self.config
        named = (key for key in config if key not in WHERE_NOT_WHAT)
        return sorted(key for key in named if not is_as_recorded(config[key], recorded.get(key)))


def is_as_recorded(value: Any, recorded: Any) -> bool:
    """Whether settings are the recorded ones, but for those that say where things are computed, not what: a run may go
    on elsewhere. An option that came after the record has to have its default."""
    if not isinstance(value, dict) and not _is_settings(value):
        return as_recorded(value) == recorded
    if not isinstance(recorded, dict):
        return False
    settings, defaults = value, {}
    if not isinstance(value, dict):
        settings = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        defaults = {field.name: as_recorded(_default(field)) for field in dataclasses.fields(value)}
    settings, recorded = (
        {name: part for name, part in parts.items() if name not in WHERE_NOT_WHAT}
        for parts in (settings, defaults | recorded)
    )
    return settings.keys() == recorded.keys() and all(
        is_as_recorded(settings[name], recorded[name]) for name in settings
    )


def as_recorded(value: Any) -> Any:
    """A value as it stands in config.json."""
    return json.loads(json.dumps(value, default=_plain))


def _default(field: dataclasses.Field[Any]) -> Any:
    """A setting's default, or `dataclasses.MISSING`, which is no setting's value."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _is_settings(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if _is_settings(value) else str(value)

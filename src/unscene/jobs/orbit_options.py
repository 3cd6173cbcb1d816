"""What can be asked of `unscene orbit`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unscene.jobs.deviations import Preset
from unscene.methods.invs import InvsConfig
from unscene.methods.shap_e import ShapEConfig
from unscene.methods.zero123 import Zero123Config
from unscene.objects import example
from unscene.ranges import check_ranges
from unscene.stages.method_error import MethodError

Turn = Literal["agreeing", "independent"]
OrbitMethod = Literal["invs", "zero123", "shap-e"]
GUESSED_ELEVATION = 15.0  # degrees


@dataclass(frozen=True)
class OrbitOptions:
    """See an object from all around."""

    method: OrbitMethod = "invs"
    """The paper to follow."""
    preset: Preset = "laptop"
    """What all other options are if they are not given: laptop, what serves the bundled model best, or paper, what the
    method's paper or release states. The report lists what departs from the paper."""
    weights: str | None = None
    """The method's model: a folder of `unscene train`, or, but for invs, one of the hub; by default the bundled one
    (invs) or the published ones (zero123, shap-e)."""
    depth: str | None = None
    """For invs. A greyscale image of the photo's depth, in any unit, zoedepth, depth-anything-v2, a network's folder,
    or outline, a guess from the outline alone, as if the object were blown up; by default NAME.depth.png beside the
    photo, else a depth network that this machine has."""
    field_of_view: float | None = None
    """For invs. Of the photo's longer side, degrees; by default what its EXIF says, else 45."""
    elevation: float | None = None
    """Degrees of the photo's camera above the object's horizon; by default 15, a guess."""
    contamination: float | None = None
    """For invs. Share of points that are outliers of the depth, and get their neighbours'; by default 0.3 of a
    network's, as in iNVS's release lineage, and none of a depth image's."""
    box: tuple[int, int, int, int] | None = None
    """X Y WIDTH HEIGHT around the object, in pixels of the photo: GrabCut cuts it out."""
    largest: bool = False
    """Of several objects take the largest."""
    pose: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """AZIMUTH,ELEVATION,DISTANCE of a single view instead of a turn: degrees to the right and upwards, and a multiple
    of the photo's distance, all relative to the photo. May be repeated; to the left it is --pose=-30,0,1."""
    frames: int = 24
    """Views of the turn."""
    turn: Turn = "agreeing"
    """For invs. How the views of a turn are made: agreeing, outwards from the photo, each told what those before it
    show (ours), or independent, each from the photo alone, as in the paper and as views of --pose are."""
    device: str = "auto"
    """Where to compute: auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps."""
    seed: int = 0
    """Of all random numbers."""
    invs: InvsConfig = field(default_factory=InvsConfig)
    """Settings of iNVS."""
    zero123: Zero123Config = field(default_factory=Zero123Config)
    """Settings of Zero-1-to-3."""
    shap_e: ShapEConfig = field(default_factory=ShapEConfig)
    """Settings of Shap-E."""

    @property
    def settings(self) -> InvsConfig | Zero123Config | ShapEConfig:
        """The chosen method's."""
        return getattr(self, self.method.replace("-", "_"))

    @property
    def known_elevation(self) -> float:
        """What was told, or the guess."""
        return GUESSED_ELEVATION if self.elevation is None else self.elevation


def with_example(photo: Path, options: OrbitOptions) -> tuple[Path, OrbitOptions]:
    """The photo and its facts; `example` is the one that travels with the package."""
    if str(photo) != "example":
        return photo, options
    facts = {"field_of_view": example.FIELD_OF_VIEW, "elevation": example.ELEVATION}
    return example.PHOTO, dataclasses.replace(options, **facts)


def check_options(options: OrbitOptions) -> None:
    """Raise MethodError for numbers that mean nothing."""
    ranges: dict[str, tuple[float | None, float, float]] = {
        "frames": (options.frames, 1, 10_000),
        "field-of-view": (options.field_of_view, 1, 120),
        "elevation": (options.elevation, -90, 90),
        "contamination": (options.contamination, 0, 0.5),
        "invs.widest": (options.invs.widest, 0, 180),
        "invs.reuse-angle": (options.invs.reuse_angle, 0, 180),
        "invs.steps": (options.invs.steps, 1, 1000),
        "invs.strength": (options.invs.strength, 0.01, 1),
        "invs.rounds": (options.invs.rounds, 1, 100),
        "zero123.steps": (options.zero123.steps, 1, 1000),
        "zero123.guidance": (options.zero123.guidance, 0, 100),
        "shap-e.steps": (options.shap_e.steps, 1, 1000),
        "shap-e.guidance": (options.shap_e.guidance, 0, 100),
    }
    check_ranges(ranges, MethodError)

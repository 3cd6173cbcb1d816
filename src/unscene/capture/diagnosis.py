"""Why photos did not become one scene, in words: what stands apart, what is blurred, a camera that only turned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pycolmap
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unscene.capture.capture_error import CaptureError
from unscene.capture.database import Pair
from unscene.capture.photos import ENOUGH
from unscene.scenes.capture import listing

FEW_FEATURES = 150  # of a photo that is blurred, dark or shows a blank wall
MOST_NAMES = 12
SMALLEST_GROUP = 3
ONE_HOMOGRAPHY = (
    pycolmap.TwoViewGeometryConfiguration.PANORAMIC,
    pycolmap.TwoViewGeometryConfiguration.PLANAR_OR_PANORAMIC,
)


@dataclass(frozen=True)
class Evidence:
    """What is known of a capture's photos. names, features: by view. pairs: those that show the same things."""

    names: Sequence[str]
    features: Mapping[int, int]
    pairs: Mapping[Pair, pycolmap.TwoViewGeometry]

    def groups(self) -> list[list[int]]:
        """Views that are connected by pairs, the largest group first."""
        first, second = np.array(list(self.pairs), int).reshape(-1, 2).T
        edges = coo_array((np.ones(len(first)), (first, second)), shape=(len(self.names),) * 2)
        _, label = connected_components(edges, directed=False)
        groups = [np.flatnonzero(label == group).tolist() for group in range(label.max() + 1)]
        return sorted(groups, key=lambda group: (-len(group), group))

    def poor(self) -> list[int]:
        """Views with hardly any features."""
        return [view for view in range(len(self.names)) if self.features.get(view, 0) < FEW_FEATURES]

    def looks_flat(self) -> bool:
        """Whether one homography explains each of most pairs: of a plane, or of a camera that only turned."""
        flat = sum(geometry.config in ONE_HOMOGRAPHY for geometry in self.pairs.values())
        return 2 * flat > len(self.pairs)

    def listed(self, views: Sequence[int]) -> str:
        return listing([self.names[view] for view in views], MOST_NAMES)


def no_model(evidence: Evidence) -> CaptureError:
    """The error for photos of which not even three could be placed."""
    groups, poor, photos = evidence.groups(), evidence.poor(), len(evidence.names)
    expected = "expected photos that show one place from several sides"
    if len(poor) > photos / 2:
        return CaptureError(
            f"{expected}, but {len(poor)} of {photos} are blurred, dark or of plain surfaces: less than "
            f"{FEW_FEATURES} features in {evidence.listed(poor)}; take sharp ones (hold still, more light), from "
            "a little farther away, with things of texture in view."
        )
    if len(groups[0]) < SMALLEST_GROUP:
        return CaptureError(
            f"{expected}, but no {SMALLEST_GROUP} of {photos} overlap: {_apart(evidence, groups)}; take photos in "
            f"small steps: {ENOUGH}."
        )
    return CaptureError(
        f"{expected}, but none of them could be placed: {_apart(evidence, groups)}, with too few matches or too small "
        "a distance between the places they were taken from; walk around the object in steps of about 10 degrees, or "
        "try --size 2000."
    )


def turned_camera(evidence: Evidence) -> CaptureError:
    """The error for photos that were all taken from one point."""
    return CaptureError(
        "expected photos from different places, but the camera only turned, or stood still: "
        f"{len(evidence.groups()[0])} of {len(evidence.names)} photos overlap without any parallax, which shows no "
        "depth; walk around the object, as far between photos as a tenth of its distance."
    )


def missing_notes(evidence: Evidence, registered: Set[int]) -> list[str]:
    """Notes on photos without a pose, by their reason."""
    missing = [view for view in range(len(evidence.names)) if view not in registered]
    poor = [view for view in missing if view in set(evidence.poor())]
    near = {view for pair in evidence.pairs for view in pair if not registered.isdisjoint(pair)}
    weak = [view for view in missing if view in near and view not in poor]
    apart = [view for view in missing if view not in near and view not in poor]
    reasons = (
        (poor, "are blurred, dark or of plain surfaces: take them again"),
        (apart, "show nothing that the scene's photos show: take photos in between"),
        (weak, "overlap with the scene's photos too little: take photos in between"),
    )
    return [
        f"{len(views)} of {len(evidence.names)} photos have no pose, as they {why}: {evidence.listed(views)}"
        for views, why in reasons
        if views
    ]


def models_note(sizes: Sequence[int], chosen: int) -> str:
    """A note on models that do not connect. chosen: which one the scene is, from 1."""
    others = [number for number in range(1, len(sizes) + 1) if number != chosen]
    return (
        f"the photos fall into {len(sizes)} models that do not connect, of {', '.join(map(str, sizes))} photos; the "
        f"scene is number {chosen}; --resume --model {others[0]} takes another, photos in between would join them"
    )


def _apart(evidence: Evidence, groups: Sequence[Sequence[int]]) -> str:
    """Which photos belong together, and which stand alone."""
    together = [f"{evidence.listed(group)} belong together" for group in groups if len(group) > 1]
    alone = [group[0] for group in groups if len(group) == 1]
    parts = together[:3] + ([f"{evidence.listed(alone)} stand{'s' * (len(alone) == 1)} apart"] if alone else [])
    return "; ".join(parts)

"""Matches of features between photos, each verified by a geometry of two views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pycolmap

from unscene.capture.database import Pair, compared_pairs, working_name
from unscene.files import write_bytes
from unscene.training.events import ItemDone, Watch

AT_ONCE = 150  # pairs between two reports of progress


def match_pairs(database: Path, pairs: Sequence[Pair], *, stage: str, seed: int, watch: Watch) -> None:
    """Compare pairs of views that are not in the database yet; what is found goes there."""
    compared = compared_pairs(database)
    missing = [pair for pair in pairs if pair not in compared]
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    matching = pycolmap.FeatureMatchingOptions()
    matching.num_threads = 1  # two are a fifth faster, but now and then lose matches of a pair (pycolmap 4.2)
    listed = pycolmap.ImportedPairingOptions()
    listed.match_list_path = database.with_name("pairs.txt")
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        lines = (f"{working_name(first)} {working_name(second)}\n" for first, second in part)
        write_bytes(database.with_name("pairs.txt"), "".join(lines).encode())
        pycolmap.match_image_pairs(
            database,
            matching_options=matching,
            pairing_options=listed,
            verification_options=verification,
            device=pycolmap.Device.cpu,
        )
        watch(ItemDone(stage, len(pairs) - len(missing) + start + len(part), len(pairs)))

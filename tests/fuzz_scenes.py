"""Captures of every layout, whole and damaged: `load_scene` gives a true scene or says in words what is wrong.

    python -m tests.fuzz_scenes --cases 3000 --seed 1

A case fails if it ends in anything else than a Scene or a SceneError, takes more than 0.2 seconds of the processor or
60 of the clock, lets memory grow past 1 GB, leaves something in the user's folder, or if the scene's cameras see
points elsewhere than the files say, read by `tests.scenes.reference_cameras`.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.scenes.damage import Damage, damages
from tests.scenes.layouts import LAYOUTS, place_cameras
from tests.scenes.reference_cameras import ReferenceCamera, reference_cameras, stem
from tests.scenes.tiny_scenes import TinyScene
from unscene.scenes.load import load_scene
from unscene.scenes.scene import Scene, SceneError

MOST_SECONDS, MOST_BYTES, PATIENCE = 0.5, 10**9, 60
TRIALS = 3  # of which the quickest counts: a busy machine stretches a processor's seconds too
LONGEST_MESSAGE = 4000  # characters
VIEWS, POINTS = 5, 8


@dataclass(frozen=True)
class Case:
    """A capture of a layout with cameras placed by ``seed``, damaged, and the scale that it is loaded at."""

    layout: str
    seed: int
    masks: bool
    scale: float
    damages: tuple[Damage, ...]


def cases() -> st.SearchStrategy[Case]:
    return st.builds(
        Case,
        layout=st.sampled_from(sorted(LAYOUTS)),
        seed=st.integers(0, 999),
        masks=st.booleans(),
        scale=st.sampled_from((1, 1, 2)),
        damages=st.lists(damages(), max_size=3).map(tuple),
    )


def check(case: Case) -> str:
    """AssertionError if loading the case breaks one of the rules above; else how it ended: "scene" or "error"."""
    with tempfile.TemporaryDirectory() as folder:
        tiny = TinyScene(Path(folder) / "scene", views=VIEWS)
        place_cameras(tiny, np.random.default_rng(case.seed))
        LAYOUTS[case.layout](tiny)
        if case.masks:
            tiny.masks()
        for damage in case.damages:
            damage(tiny.root)
        before = sorted(Path(folder).rglob("*"))
        scene = _load(tiny.root, case.scale)
        assert sorted(Path(folder).rglob("*")) == before, "something was written into the user's folder"
        if scene is None:
            assert case.damages, "a whole capture was refused"
            return "error"
        _check_scene(scene)
        _check_cameras(scene, reference_cameras(case.layout, tiny.root, set(map(stem, scene.names))), case.seed)
        return "scene"


def _load(root: Path, scale: float) -> Scene | None:
    """The scene, or None for a SceneError in words that can be printed; within the limits of time and memory."""
    signal.signal(signal.SIGALRM, _lost_patience)
    memory, seconds = _peak_memory(), list[float]()
    while not seconds or (min(seconds) > MOST_SECONDS and len(seconds) < TRIALS):
        signal.alarm(PATIENCE)
        start = time.process_time()
        try:
            scene = load_scene(root, scale=scale, holdout=0)
        except SceneError as error:
            scene, text = None, str(error)
            assert text.encode() and len(text) <= LONGEST_MESSAGE, f"a message of {len(text)} characters"
        finally:
            signal.alarm(0)
            seconds.append(time.process_time() - start)
    grown = _peak_memory() - memory
    assert min(seconds) <= MOST_SECONDS, f"{min(seconds):.2f} s of the processor"
    assert grown <= MOST_BYTES, f"memory grew by {grown / 1e9:.1f} GB"
    return scene


def _lost_patience(signum: int, frame: object) -> None:
    raise AssertionError(f"no end after {PATIENCE} s")


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _check_scene(scene: Scene) -> None:
    cameras = scene.cameras
    views, size = len(cameras), (cameras.height, cameras.width)
    assert scene.images.shape == (views, *size, 3) and scene.images.dtype == torch.uint8
    assert scene.masks is None or (scene.masks.shape == (views, *size) and scene.masks.dtype == torch.bool)
    assert len(scene.names) == len(set(scene.names)) == views
    split = [*scene.train.tolist(), *scene.test.tolist()]  # file lists may leave views out of both
    assert len(set(split)) == len(split) and set(split) <= set(range(views))
    for values in (cameras.T_world_camera, cameras.focal, cameras.principal, cameras.distortion):
        assert values.isfinite().all(), "cameras hold numbers that are not finite"
    assert all(note.encode() and len(note) <= LONGEST_MESSAGE for note in scene.notes)


def _check_cameras(scene: Scene, references: list[ReferenceCamera], seed: int) -> None:
    """Each view sees points where the camera of its name in the files sees them, and its rays go back there."""
    listed = Counter(stem(camera.name) for camera in references)
    by_stem = {stem(camera.name): camera for camera in references}
    rng, width, height = np.random.default_rng(seed), scene.cameras.width, scene.cameras.height
    for view, name in enumerate(scene.names):
        if listed[stem(name)] != 1:  # found by other rules than its name
            continue
        camera = by_stem[stem(name)]
        half = np.array(camera.size) / camera.lens[:2] / 2
        plane, depth = rng.uniform(-half, half, (POINTS, 2)), rng.uniform(1, 10, POINTS)
        expected = camera.project(plane, width, height)
        points = torch.from_numpy(camera.unproject(plane, depth) - scene.origin.numpy()).float()
        index = torch.full((POINTS,), view)
        got, _ = scene.cameras.project(index, points)
        np.testing.assert_allclose(
            got, expected, atol=_tolerance(camera, expected, scene.origin.numpy()), rtol=1e-4, err_msg=name
        )
        rays = scene.cameras.rays(index, got)
        again, _ = scene.cameras.project(
            index, rays.origins + rays.directions * torch.from_numpy(depth).float()[:, None]
        )
        np.testing.assert_allclose(
            again, got, atol=_tolerance(camera, expected, scene.origin.numpy()), rtol=1e-4, err_msg=f"rays of {name}"
        )


def _tolerance(camera: ReferenceCamera, pixels: np.ndarray, origin: np.ndarray) -> float:
    """Pixels: what numbers of 24 bits lose, more of it far from the origin, for wide angles and long focal lengths."""
    reach = np.abs(camera.position - origin).max() + 10 * (1 + np.max(np.array(camera.size) / camera.lens[:2]))
    return 2e-3 + 4e-6 * (reach * camera.lens[:2].max() + np.abs(pixels).max())


def fuzz(cases_: int, seed: int | None) -> Counter[str]:
    """Check ``cases_`` cases, the same ones for the same seed; how they ended."""
    ends: Counter[str] = Counter()
    check(Case("colmap binary", 0, True, 1, ()))  # imports what later cases are timed without

    @settings(
        max_examples=cases_,
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(cases())
    def run(case: Case) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ends[check(case)] += 1

    (hypothesis.seed(seed)(run) if seed is not None else run)()
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    start = time.perf_counter()
    ends = fuzz(arguments.cases, arguments.seed)
    print(f"{ends['scene']} scenes and {ends['error']} errors in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    sys.exit(main())

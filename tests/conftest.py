"""Fixtures of the end-to-end tests: a tiny traced scene, a field small enough to fit it in a moment."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
import torch

from tests.box_scene import BoxScene, box_scene
from unscene.fields.hash_grid import HashGridConfig
from unscene.fields.nerf import NerfConfig
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event

TINY_NERF = NerfConfig(
    grid=HashGridConfig(levels=4, features=2, coarsest=8, finest=64, log2_table_size=12),
    proposal_grid=HashGridConfig(levels=3, features=1, coarsest=8, finest=32, log2_table_size=12),
    hidden=16,
    view_dependence=False,
)


LONGEST = (
    "tests/studio/test_browser.py",
    "tests/pretraining/test_novel_views.py",
    "tests/methods/test_mald_nerf.py",
    "tests/test_documentation.py",
    "tests/jobs/test_capture.py",
    "tests/priors/diffusion/test_customize.py",
    "tests/test_portability.py",
    "tests/accelerator/test_diffusion_steps.py",
    "tests/pretraining/test_inpainting_prior.py",
    "tests/scenes/test_fuzz.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest go first: where files are shared out among processes, none is left alone with them
    in the end."""
    rank = {file: place for place, file in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.split("::")[0], len(LONGEST)))


@pytest.fixture(scope="session")
def room() -> BoxScene:
    """Eight training views of 48x36 pixels."""
    return box_scene()


@pytest.fixture(scope="session")
def room_with_tests() -> BoxScene:
    """Eight views of 48x36 pixels, the last two of them for testing."""
    return box_scene(test_views=2)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Threads only stand in each other's way on networks and images as small as these."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def photos_tell_no_depths() -> Iterator[None]:
    """All scenes of the tests are of few photos, whose depths are looked for first: for long, and of so few pixels in
    vain. tests/training/test_photo_depths.py has larger ones."""

    def nothing(scene: Scene, checkpoints: Checkpoints) -> Generator[Event, None, None]:
        yield from ()

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("unscene.training.photo_depths.photo_depths", nothing)
        yield


@pytest.fixture
def report_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unscene.training.meter.REPORT_SECONDS", 0.0)

"""Which scene the demo takes, and how many of its photos."""

from __future__ import annotations

import pytest

from unscene import commands
from unscene.results.truth import Truth
from unscene.scenes.scene import Scene, SceneError
from unscene.scenes.still_life import still_life


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Scene, dict[str, object], Truth]]:
    """Scene, source and truth of removals that were asked for, which then end."""
    removals: list[tuple[Scene, dict[str, object], Truth]] = []

    def remove(
        scene: Scene, out: object, options: object, *, source: dict[str, object], truth: Truth, **_: object
    ) -> None:
        removals.append((scene, source, truth))
        raise InterruptedError

    monkeypatch.setattr(commands, "remove", remove)
    return removals


def test_the_demo_is_the_whole_still_life(asked: list[tuple[Scene, dict[str, object], Truth]]) -> None:
    with pytest.raises(InterruptedError):
        commands.run("demo", [])
    [(scene, source, truth)] = asked
    whole = still_life()
    assert scene.names == whole.names and source == {"scene": "still life"}
    assert scene.train.equal(whole.train) and scene.test.equal(whole.test) and len(truth.images) == 20


@pytest.mark.parametrize(("every", "photos"), [(1, 36), (3, 12)])
def test_the_demo_in_the_room_takes_all_or_a_few_photos(
    asked: list[tuple[Scene, dict[str, object], Truth]], every: int, photos: int
) -> None:
    with pytest.raises(InterruptedError):
        commands.run("demo", ["--scene", "room", "--every", str(every)])
    [(scene, source, truth)] = asked
    assert len(scene.train) == photos and len(scene.test) == len(truth.images) == 18
    assert source == {"scene": "room"} | ({"every": every} if every > 1 else {})


@pytest.mark.parametrize("every", ["0", "-3", "37"])
def test_a_demo_of_no_photos_is_refused(asked: list[tuple[Scene, dict[str, object], Truth]], every: str) -> None:
    with pytest.raises(SceneError, match=r"--every: expected 1 to 36"):
        commands.run("demo", ["--scene", "room", f"--every={every}"])
    assert not asked

"""Checkpoints: what is saved comes back, and nothing that happens while saving can lose it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unscene.training.checkpoints import Checkpoints

STAGE = "find what no view has seen"


class Killed(BaseException):
    """Stands for a kill in mid-write."""


def save(checkpoints: Checkpoints, number: float, *, finished: bool = False) -> None:
    checkpoints.save(STAGE, {"number": torch.tensor(number)}, finished=finished, values={"step": int(number)})


def saved_number(checkpoints: Checkpoints) -> float | None:
    state = checkpoints.load(STAGE)
    return None if state is None else state[0]["number"].item()


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    tensors = {
        "half": torch.randn(3, 2).half(),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "empty": torch.zeros(0),
        "strided": torch.randn(4, 3).t(),
        "scalar": torch.tensor(7),
    }
    Checkpoints(tmp_path, 0).save(STAGE, tensors, finished=False, values={"step": 3, "seconds": 1.5})
    state = Checkpoints(tmp_path, 0).load(STAGE)
    assert state is not None
    loaded, values, finished = state
    assert set(loaded) == set(tensors) and all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert values == {"step": 3, "seconds": 1.5} and finished is False


def test_tensors_that_share_memory_are_saved(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    Checkpoints(tmp_path, 0).save(STAGE, {"whole": whole, "part": whole[2:4]}, finished=True)
    product = Checkpoints(tmp_path, 0).product(STAGE)
    assert product is not None and product["part"].tolist() == [2, 3]


def test_the_newest_state_wins(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    save(checkpoints, 1)
    save(checkpoints, 2)
    assert saved_number(checkpoints) == 2


def test_only_finished_stages_have_a_product(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    assert checkpoints.load(STAGE) is None and checkpoints.product(STAGE) is None
    save(checkpoints, 1)
    assert checkpoints.product(STAGE) is None
    save(checkpoints, 2, finished=True)
    product = checkpoints.product(STAGE)
    assert product is not None and product["number"] == 2


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "deleted"])
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    save(checkpoints, 0)
    for index in range(len(files_of(tmp_path))):
        save(checkpoints, 1)
        path = files_of(tmp_path)[index]
        content = path.read_bytes()
        if damage == "deleted":
            path.unlink()
        else:
            half, noise = content[: len(content) // 2], bytes(range(255, 0, -1))
            path.write_bytes({"truncated": half, "garbage": noise, "empty": b""}[damage])
        assert checkpoints.load(STAGE) is None, path
    save(checkpoints, 2)
    assert saved_number(checkpoints) == 2


@pytest.mark.parametrize("function", ["unscene.training.checkpoints.save_file", "os.replace"])
def test_a_kill_while_saving_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    checkpoints = Checkpoints(tmp_path, 0)
    save(checkpoints, 1)

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(function, killed)
        with pytest.raises(Killed):
            save(checkpoints, 2)
    assert saved_number(checkpoints) == 1
    save(checkpoints, 3)
    assert saved_number(checkpoints) == 3


def test_without_a_folder_nothing_is_kept() -> None:
    checkpoints = Checkpoints(None, 0)
    save(checkpoints, 1, finished=True)
    assert checkpoints.load(STAGE) is None and checkpoints.product(STAGE) is None


def test_random_numbers_depend_on_seed_and_stage_only(tmp_path: Path) -> None:
    def draw(checkpoints: Checkpoints, stage: str) -> float:
        return torch.rand((), generator=checkpoints.generator(stage)).item()

    assert draw(Checkpoints(None, 3), "a") == draw(Checkpoints(tmp_path, 3), "a")
    assert draw(Checkpoints(None, 3), "a") != draw(Checkpoints(None, 3), "b")
    assert draw(Checkpoints(None, 3), "a") != draw(Checkpoints(None, 4), "a")

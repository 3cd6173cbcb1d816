"""Training of the novel-view models on views of a sphere, at a size that takes seconds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import Tensor

from tests.pretraining.sphere_shards import SIZE, write_sphere_shards
from tests.priors.tiny_checkpoints import tiny_checkpoint
from unscene.cli import main
from unscene.geometry.turntable import pose_numbers
from unscene.pretraining import launch as launch_module
from unscene.pretraining import novel_views, training_loop
from unscene.pretraining.launch import launch
from unscene.pretraining.novel_views import NovelViewTraining, train_invs, train_zero123
from unscene.pretraining.object_shards import ShardError
from unscene.pretraining.view_pairs import loaded
from unscene.priors.novel_views.view_inpainter import load_view_inpainter
from unscene.priors.novel_views.zero123 import load_zero123
from unscene.training.run import RunError

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = {"invs": train_invs, "zero123": train_zero123}
LOAD = {"invs": load_view_inpainter, "zero123": load_zero123}


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """accelerate keeps its state for the whole process; leave none behind."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def blank_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than training here: only the runs of `whole` do it."""
    monkeypatch.setattr(novel_views, "_sheet", lambda *_: np.zeros((8, 8, 3), np.uint8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint("sd-1.5", tmp_path_factory.mktemp("checkpoints") / "sd-1.5")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of two samples of three views: with batches of two, one process or two see an epoch's every object in
    two steps, or in one."""
    return write_sphere_shards(tmp_path_factory.mktemp("shards"), 2, 2)


def tiny(shards: Path, initial: Path, out: Path, **changes) -> NovelViewTraining:
    settings = {
        "steps": 4, "batch": 2, "warmup": 2, "checkpoint_every": 3, "learning_rate": 1e-3, "size": SIZE,
    } | changes  # fmt: skip
    return NovelViewTraining(shards, out, str(initial), **settings)


@pytest.fixture(scope="module", params=sorted(TRAIN))
def whole(
    request: pytest.FixtureRequest, shards: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory,
    one_thread: None,
) -> tuple[str, Path]:  # fmt: skip
    """A model's name and the run folder of its uninterrupted training."""
    out = tmp_path_factory.mktemp("runs") / request.param
    assert TRAIN[request.param](tiny(shards, checkpoint, out)) == out / "model"
    AcceleratorState._reset_state(reset_partial_state=True)
    return request.param, out


def weights(model: Path) -> dict[str, Tensor]:
    """All tensors of a saved model by file and name."""
    files = sorted(model.rglob("*.safetensors"))
    return {
        f"{file.relative_to(model)}:{name}": value for file in files for name, value in load_file(str(file)).items()
    }


def views(name: str, folder: Path) -> Tensor:
    """What a saved model draws of noise."""
    model = LOAD[name](folder)
    generator = torch.Generator().manual_seed(0)
    source = torch.rand(1, SIZE, SIZE, 3, generator=generator)
    poses = pose_numbers(torch.tensor([30.0]), torch.zeros(1), torch.zeros(1))
    noise = torch.randn(1, *model.latent_shape, generator=generator)
    if name == "zero123":
        return model.generate(source, poses, noise=noise, steps=2)
    soft = torch.full((1, SIZE, SIZE), 0.2)
    return model.complete(source, soft, soft > 1, source, poses, noise=noise, steps=2)


def logged(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "losses.jsonl").read_text().splitlines()]


# A run and what it leaves


def test_a_run_leaves_a_model_sheets_losses_and_settings(whole: tuple[str, Path]) -> None:
    name, out = whole
    assert views(name, out / "model").isfinite().all()
    assert views(name, out / "model").shape == (1, SIZE, SIZE, 3)
    sheets = sorted(file.name for file in (out / "samples").iterdir())
    assert sheets == [f"{name}-{step:07d}.png" for step in (3, 4)]
    rows = {"invs": 6, "zero123": 3}[name]
    image = cv2.imread(str(out / "samples" / sheets[0]))
    assert image.shape[0] >= rows * SIZE and image.shape[1] >= 8 * SIZE and image.std() > 10
    (entry,) = [json.loads(line) for line in (out / "losses.jsonl").read_text().splitlines()]
    assert entry["stage"] == name and entry["step"] == 4 and 0 < entry["loss"] < 10
    settings = json.loads((out / "settings.json").read_text())
    assert settings["steps"] == 4 and settings["processes"] == 1 and settings["told_photo"] is True
    assert not list(out.rglob("*.partial*"))


def test_what_is_exported_is_the_average_of_the_weights(whole: tuple[str, Path]) -> None:
    name, out = whole
    (kept,) = (out / "checkpoints" / name).iterdir()
    live, average = (load_file(str(kept / f"{part}.safetensors")) for part in ("network", "average"))
    exported = load_file(str(out / "model" / "unet" / "diffusion_pytorch_model.safetensors"))
    assert all(torch.equal(value, average[f"module.unet.{key}"].half()) for key, value in exported.items())
    assert not all(torch.equal(value, live[f"unet.{key}"].half()) for key, value in exported.items())
    token = load_file(str(out / "model" / "tensors.safetensors"))
    assert torch.equal(token["weight"], average["module.photo_token.camera_projection.weight"])
    assert not torch.equal(token["weight"], live["photo_token.camera_projection.weight"])


def test_a_killed_run_resumes_to_the_same_weights(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = whole

    def loaded_until_killed(batches, workers):
        for index, batch in enumerate(loaded(batches, workers)):
            if index == 3:  # right after a checkpoint
                raise KeyboardInterrupt
            yield batch

    config = tiny(shards, checkpoint, tmp_path / "killed")
    monkeypatch.setattr(novel_views, "loaded", loaded_until_killed)
    with pytest.raises(KeyboardInterrupt):
        TRAIN[name](config)
    monkeypatch.setattr(novel_views, "loaded", loaded)
    assert [path.name for path in (tmp_path / "killed" / "checkpoints" / name).iterdir()] == ["step-0000003"]
    expected, got = weights(out / "model"), weights(TRAIN[name](config))
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert len(logged(tmp_path / "killed")) == len(logged(out))  # a mean since the resume, so not the same number


def test_a_run_killed_between_its_last_checkpoint_and_its_model_still_leaves_the_model(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, out = whole
    config, drawn = tiny(shards, checkpoint, tmp_path / "killed"), []

    def killed_at_the_second(*_) -> np.ndarray:
        drawn.append(1)
        if len(drawn) == 2:  # the checkpoint of step 4 is written, its sheet and model are not
            raise KeyboardInterrupt
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(novel_views, "_sheet", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        TRAIN[name](config)
    assert [path.name for path in (config.out / "checkpoints" / name).iterdir()] == ["step-0000004"]
    expected, stale = weights(out / "model"), weights(config.out / "model")
    assert not all(torch.equal(expected[key], stale[key]) for key in expected)
    AcceleratorState._reset_state(reset_partial_state=True)
    got = weights(TRAIN[name](config))
    assert expected.keys() == got.keys() and all(torch.equal(expected[key], got[key]) for key in expected)
    assert (config.out / "samples" / f"{name}-0000004.png").is_file() and len(drawn) == 3
    AcceleratorState._reset_state(reset_partial_state=True)
    TRAIN[name](config)
    assert len(drawn) == 3  # once it is kept there is nothing left to do


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 1}, r"seed \(0, now 1\)"),
        ({"batch": 1, "learning_rate": 0.5}, r"batch \(2, now 1\), learning_rate \(0\.001, now 0\.5\)"),
        ({"noise_bias": 0.0}, r"noise_bias \(1\.0, now 0\.0\)"),
    ],
)
def test_a_run_does_not_go_on_under_other_settings(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, changes: dict[str, float], told: str
) -> None:
    name, out = whole
    before = (out / "settings.json").read_bytes()
    with pytest.raises(
        RunError, match=f"began with, got other values for {told}; repeat them to go on with it, choose"
    ):
        TRAIN[name](tiny(shards, checkpoint, out, steps=9, **changes))
    assert (out / "settings.json").read_bytes() == before


def test_a_run_of_a_setting_that_is_there_no_more_does_not_go_on_unnoticed(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """How noise levels were drawn before there was a bias cannot be repeated."""
    name, out = whole
    shutil.copytree(out, tmp_path / "old")
    record = json.loads((out / "settings.json").read_text())
    del record["noise_bias"]
    (tmp_path / "old" / "settings.json").write_text(json.dumps(record | {"noise_centre": 0.5}))
    with pytest.raises(RunError, match=r"other values for noise_centre \(0\.5, now gone\)"):
        TRAIN[name](tiny(shards, checkpoint, tmp_path / "old"))


def test_a_run_does_not_go_on_as_another_model_or_in_another_number_of_processes(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, tmp_path: Path
) -> None:
    name, out = whole
    (other,) = TRAIN.keys() - {name}
    with pytest.raises(RunError, match=rf"got other values for model \({name}, now {other}\);"):
        TRAIN[other](tiny(shards, checkpoint, out))
    assert not (out / "checkpoints" / other).exists()
    recorded = json.loads((out / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(recorded | {"processes": 2}))
    with pytest.raises(RunError, match=r"got other values for processes \(2, now 1\);"):
        TRAIN[name](tiny(shards, checkpoint, tmp_path))


def test_a_run_may_be_made_longer_and_its_folder_moved(
    whole: tuple[str, Path], shards: Path, checkpoint: Path, tmp_path: Path
) -> None:
    name, out = whole
    shutil.copytree(out, tmp_path / "moved")
    longer = tiny(shards, checkpoint, tmp_path / "moved", steps=5, checkpoint_every=50, minutes=60)
    assert views(name, TRAIN[name](longer)).isfinite().all()
    assert [path.name for path in (longer.out / "checkpoints" / name).iterdir()] == ["step-0000005"]
    assert json.loads((longer.out / "settings.json").read_text())["steps"] == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch", 0), ("size", 0), ("learning_rate", 0.0), ("learning_rate", -1.0),
     ("learning_rate", float("nan")), ("warmup", -1), ("noise_bias", -1.0), ("untold", 1.0), ("untold", -0.1),
     ("seed", -1), ("average_decay", 1.0), ("checkpoint_every", 0), ("minutes", 0.0), ("processes", 0),
     ("workers", -1)],
)  # fmt: skip
def test_numbers_that_mean_nothing_are_refused_before_anything_is_written(
    name: str, value: float, tmp_path: Path
) -> None:
    for train in TRAIN.values():
        option = name.replace("_", "-")
        with pytest.raises(RunError, match=f"^--{option}: expected .* to .*, got {value:g}\\."):
            train(tiny(tmp_path, tmp_path, tmp_path / "run", **{name: value}))
    assert not (tmp_path / "run").exists()


def test_there_may_be_no_warm_up(shards: Path, checkpoint: Path, tmp_path: Path) -> None:
    train_invs(tiny(shards, checkpoint, tmp_path, warmup=0, steps=1))
    assert np.isfinite(logged(tmp_path)).all()


def test_a_finished_model_can_be_trained_further(whole: tuple[str, Path], shards: Path, tmp_path: Path) -> None:
    name, out = whole
    further = tiny(shards, out / "model", tmp_path / "further", steps=1, learning_rate=1e-4, warmup=1)
    before, after = weights(out / "model"), weights(TRAIN[name](further))
    assert before.keys() == after.keys()
    moved = {key: (before[key].float() - after[key].float()).abs().max() for key in before}
    assert all(value < 1e-3 for value in moved.values())
    trained = [key for key in moved if not key.startswith("vae") and "prompt" not in key]
    assert max(moved[key] for key in trained) > 0
    assert all(moved[key] == 0 for key in moved if key not in trained)


def test_a_model_trained_further_is_told_what_the_run_says(shards: Path, checkpoint: Path, tmp_path: Path) -> None:
    plain = train_invs(tiny(shards, checkpoint, tmp_path / "plain", steps=1, told_symmetry=False))
    assert json.loads((plain / "novel_view.json").read_text())["told_symmetry"] is False
    for told in (True, False):
        further = tiny(shards, plain, tmp_path / f"told-{told}", steps=1, told_symmetry=told)
        assert json.loads((train_invs(further) / "novel_view.json").read_text())["told_symmetry"] is told
    with pytest.raises(RunError, match="is told the photo, which its weights decide; say --told-photo"):
        train_invs(tiny(shards, plain, tmp_path / "untold", steps=1, told_photo=False))
    assert not (tmp_path / "untold").exists()


def test_a_model_of_the_other_kind_is_not_trained_further(
    whole: tuple[str, Path], shards: Path, tmp_path: Path
) -> None:
    name, out = whole
    (other,) = TRAIN.keys() - {name}
    arguments = ["train", other, "--shards", str(shards), "--out", str(tmp_path / "run"), "--size", str(SIZE)]
    assert main([*arguments, "--initial", str(out / "model")]) == 1
    assert not (tmp_path / "run").exists()


def test_a_time_limit_leaves_a_checkpoint_to_go_on_from(shards: Path, checkpoint: Path, tmp_path: Path) -> None:
    model = train_invs(tiny(shards, checkpoint, tmp_path, minutes=1e-6))
    assert [path.name for path in (tmp_path / "checkpoints" / "invs").iterdir()] == ["step-0000001"]
    assert views("invs", model).isfinite().all()


def test_invs_may_not_be_told_the_photo(shards: Path, checkpoint: Path, tmp_path: Path) -> None:
    model = train_invs(tiny(shards, checkpoint, tmp_path, told_photo=False, steps=1))
    assert json.loads((model / "novel_view.json").read_text())["told_photo"] is False
    assert json.loads((tmp_path / "settings.json").read_text())["told_photo"] is False
    assert not (model / "image_encoder").exists()
    assert load_view_inpainter(model).photo_token is None
    trained = load_file(str(tmp_path / "checkpoints" / "invs" / "step-0000001" / "network.safetensors"))
    assert trained and all(key.startswith("unet.") for key in trained)
    assert views("invs", model).isfinite().all()


@pytest.mark.parametrize("name", sorted(TRAIN))
def test_the_loss_falls_when_two_pairs_are_learnt(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_loop, "LOG_EVERY", 1)
    shards = write_sphere_shards(tmp_path / "shards", 2, views=2)
    changes = {"steps": 40, "learning_rate": 1e-2, "checkpoint_every": 1000, "noise_bias": 6.0}
    TRAIN[name](tiny(shards, checkpoint, tmp_path, **changes))
    losses = logged(tmp_path)
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])  # 0.55 to 0.66 for three seeds of either


# Shards that do not fit


def test_missing_shards_are_told_of_before_anything_is_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--shards", str(tmp_path), "--out", str(tmp_path / "run"), "--initial", str(checkpoint)]
    assert main(["train", "invs", *arguments]) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith(f"{tmp_path}: expected shards with a shards.json, found none; make them with `unscene shards`.")
    )
    assert not (tmp_path / "run").exists()


def test_shards_of_another_size_are_refused(shards: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="expected views of 64 pixels, got 32; set --size, or render others"):
        train_invs(tiny(shards, checkpoint, tmp_path / "run", size=64))
    assert not (tmp_path / "run").exists()


# Several processes

STEPS = 4
RECORDED = """
import os, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from unscene.cli import main
from unscene.pretraining import novel_views
from unscene.pretraining import training_loop

training_loop.LOG_EVERY = 1
train = novel_views.train_network

def recorded(stage, objective, batches, config, accelerator, folder, **rest):
    done = train(stage, objective, batches, config, accelerator, folder, **rest)
    state = {name: value.contiguous() for name, value in objective.network.state_dict().items()}
    save_file(state, str(folder / f"rank-{accelerator.process_index}.safetensors"))
    return done

novel_views.train_network = recorded
sys.exit(main(sys.argv[1:]))
"""


def test_two_processes_learn_as_one_with_the_doubled_batch(
    shards: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes long, half a minute on a busy core: three processes load torch.

    Each epoch is one step here, so at every step two processes and one learn from the same pairs: the curves are to be
    equal, not only alike.
    """
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    script = tmp_path / "recorded.py"
    script.write_text(RECORDED)

    def start_recorded(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(script), *arguments], env=environment)

    monkeypatch.setattr(launch_module, "start", start_recorded)
    options = {
        "shards": shards, "out": tmp_path / "two", "initial": checkpoint, "size": SIZE, "steps": STEPS, "batch": 2,
        "warmup": 2, "learning-rate": 1e-3, "checkpoint-every": 1000,
    }  # fmt: skip
    arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert launch(2, ["train", "invs", *arguments])
    monkeypatch.setattr(training_loop, "LOG_EVERY", 1)
    train_invs(tiny(shards, checkpoint, tmp_path / "one", batch=4, steps=STEPS, checkpoint_every=1000))

    first, second = (load_file(str(tmp_path / "two" / f"rank-{rank}.safetensors")) for rank in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert json.loads((tmp_path / "two" / "settings.json").read_text())["processes"] == 2

    # what is logged is the mean over both, and each learnt from the other's pairs: with three seeds the curves were
    # equal to the last of the log's five decimals; other pairs change a step's loss by several per cent
    one, two = (logged(tmp_path / folder) for folder in ("one", "two"))
    assert len(one) == STEPS and len(set(one)) == STEPS
    assert two == pytest.approx(one, rel=1e-3)
    assert two[0] == pytest.approx(one[0], abs=2e-5)  # before they learn there is nothing but rounding

"""The command line: help at once, commands that work, and errors that a reader can act on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from tests.box_scene import BoxScene, write_capture
from unscene import cli
from unscene.cli import COMMANDS, main
from unscene.training.fit import DivergedError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def capture(room_with_tests: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("captures") / "room", room_with_tests.scene)


@pytest.fixture(scope="module")
def bare_capture(room_with_tests: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos and poses, no masks."""
    return write_capture(tmp_path_factory.mktemp("captures") / "bare", room_with_tests.scene.with_masks(None))


@pytest.fixture(scope="module")
def run(one_thread: None, capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `unscene fit`."""
    out = tmp_path_factory.mktemp("runs") / "fit"
    assert main(["fit", str(capture), "--out", str(out), "--steps", "3"]) == 0
    return out


def failure(arguments: list[str], capsys: pytest.CaptureFixture, *hidden: Path, status: int = 1) -> str:
    """What a command that fails says on standard error, without the names of the test's own folders."""
    capsys.readouterr()
    assert main(arguments) == status
    printed = capsys.readouterr()
    assert printed.out == "" and "Traceback" not in printed.err
    text = printed.err
    for folder in hidden:
        text = text.replace(str(folder), "HERE")
    return text.strip()


# Help


def test_help_answers_within_a_second() -> None:
    command, seconds = Path(sys.executable).with_name("unscene"), []
    for _ in range(3):
        started = time.monotonic()
        finished = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
        seconds.append(time.monotonic() - started)
        assert all(name in finished.stdout for name in COMMANDS)
    assert statistics.median(seconds) < 1


@pytest.mark.parametrize("module", ["unscene", "unscene.cli"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "numpy", "cv2", "warp", "diffusers", "transformers"}
    code = f"import sys, {module}; print(*({heavy!r} & set(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.split() == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"unscene {command}" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "options"), [
    ("fit", ["--out", "--scale", "--holdout", "--seconds"]),
    ("remove", ["--out", "--scale", "--method", "--prior", "--seed", "--fill", "--masks", "--resume"]),
    ("render", ["--cameras", "--out"]),
    ("export", ["--format", "--out"]),
    ("evaluate", ["--truth", "--json"]),
    ("demo", ["--out", "--scene", "--every"]),
    ("customize", ["--out", "--prior", "--holdout", "--seed", "--resume"]),
])  # fmt: skip
def test_commands_take_the_options_they_promise(
    command: str, options: list[str], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = capsys.readouterr().out.replace(",", " ").split()
    assert set(options) <= set(words)


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 2
    assert "usage: unscene COMMAND" in capsys.readouterr().out


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("unscene 0.")


# Readers that go away


def without_a_reader(arguments: list[str], *, lost: str = "stdout", unbuffered: bool = False) -> tuple[int, str]:
    """Exit status of a Python process whose pipe nobody reads, and what its other stream says."""
    read, write = os.pipe()
    os.close(read)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {lost: write}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    environment |= {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    try:
        done = subprocess.run([sys.executable, *arguments], env=environment, text=True, check=False, **streams)
    finally:
        os.close(write)
    return done.returncode, done.stderr or done.stdout or ""


needs_pipes = pytest.mark.skipif(os.name == "nt", reason="a broken pipe is another error there")


@needs_pipes
@pytest.mark.parametrize("unbuffered", [False, True], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []], ids=["help", "version", "none"])
def test_a_reader_that_goes_away_ends_a_command_without_a_word(arguments: list[str], unbuffered: bool) -> None:
    assert without_a_reader(["-m", "unscene", *arguments], unbuffered=unbuffered) == (141, "")


@needs_pipes
def test_the_help_of_a_command_ends_like_that_too() -> None:
    assert without_a_reader(["-m", "unscene", "fit", "--help"]) == (141, "")


RUN = "import sys; from unscene import cli; cli._answer = {answer}; sys.exit(cli.main(['fit']))"


@needs_pipes
def test_so_does_a_command_whose_progress_nobody_reads() -> None:
    show = "lambda *_: __import__('rich.console').console.Console(stderr=True).print('progress')"
    assert without_a_reader(["-c", RUN.format(answer=show)], lost="stderr") == (141, "")


@needs_pipes
def test_another_pipe_that_breaks_is_an_error_of_ours() -> None:
    """As that to a video encoder that died."""
    breaks = "lambda *_: __import__('os').write({}, b'frame')"
    read, write = os.pipe()
    os.close(read)
    code = RUN.format(answer=breaks.format(write))
    done = subprocess.run([sys.executable, "-c", code], pass_fds=[write], capture_output=True, text=True, check=False)
    os.close(write)
    assert done.returncode == 1 and "BrokenPipeError" in done.stderr


@needs_pipes
def test_an_error_is_told_though_nobody_reads_the_output() -> None:
    status, told = without_a_reader(["-m", "unscene", "no-command"])
    assert status == 1 and told.startswith("unscene: expected a command")


def test_what_the_system_refuses_is_explained_without_loading_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unscene.device", None)  # importing it fails; it loads torch
    assert cli._explain(BrokenPipeError(), "fit") is None
    assert "the disk is full" in str(cli._explain(OSError(errno.ENOSPC, "No space left on device"), "fit"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_to_a_full_disk_is_an_error_in_words() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "unscene", "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("the disk is full")


# Commands that work


def test_fit_prints_its_metrics(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"psnr", "rays_per_second", "peak_memory_gb"} <= metrics.keys()


def test_remove_takes_the_short_options(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    monkeypatch.setattr("unscene.commands.remove", lambda scene, out, options, **more: asked.update(
        scene=scene, out=out, options=options, **more) or Stub())  # fmt: skip
    masks = shutil.copytree(capture / "masks", tmp_path / "other")
    assert main([
        "remove", str(capture), "--out", str(tmp_path / "run"), "--scale", "2", "--method", "in-n-out", "--prior",
        "exemplar", "--seed", "3", "--fill", "mask", "--masks", str(masks), "--resume",
    ]) == 0  # fmt: skip
    assert asked["scene"].images.shape[1:3] == (18, 24) and asked["resume"] and asked["out"] == tmp_path / "run"
    options = asked["options"]
    assert (options.prior, options.seed, options.fill, options.method) == ("exemplar", 3, "mask", "in-n-out")


class Stub:
    """Stands for a finished run."""

    metrics: dict[str, float] = {}  # noqa: RUF012


def test_fit_takes_steps_or_seconds(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("unscene.commands.fit", lambda scene, out, options, **_: asked.append(options.fit) or Stub())
    for more in ([], ["--seconds", "5"], ["--steps", "7"]):
        assert main(["fit", str(capture), "--out", str(tmp_path / "run"), *more]) == 0
    assert [(fit.seconds, fit.steps) for fit in asked] == [(60, None), (5, None), (None, 7)]


def test_render_writes_where_it_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["render", str(run), "--out", str(tmp_path / "test")]) == 0
    assert sorted(path.name for path in (tmp_path / "test").iterdir()) == ["006.png", "007.png"]
    cameras = run / "cameras.json"
    assert main(["render", str(run), "--cameras", str(cameras), "--out", str(tmp_path / "all")]) == 0
    assert len(list((tmp_path / "all").iterdir())) == 8
    assert f"8 images in {tmp_path / 'all'}" in capsys.readouterr().out


@pytest.mark.parametrize(("format", "name"), [("ply", "scene.ply"), ("video", "video.mp4")])
def test_export_writes_into_the_run_or_elsewhere(
    run: Path, tmp_path: Path, format: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unscene.jobs.export.PATH_FRAMES", 2)
    monkeypatch.setattr("unscene.jobs.export.POINTS", 1000)
    copy = shutil.copytree(run, tmp_path / "run")
    assert main(["export", str(copy), "--format", format]) == 0
    assert main(["export", str(copy), "--format", format, "--out", str(tmp_path / f"other-{name}")]) == 0
    assert (copy / name).stat().st_size > 0 and (tmp_path / f"other-{name}").stat().st_size > 0


def test_evaluate_prints_json(run: Path, capture: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run), "--truth", str(capture), "--json"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    figures = json.loads(printed)["figures"]
    assert figures and all(one["views"] == 8 and one["protocol"] for one in figures)


@pytest.mark.parametrize("command", ["fit", "remove", "customize"])
def test_every_command_with_masks_takes_one_label_of_them(
    command: str, capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it was is recorded, so that --resume knows."""
    import numpy as np
    from PIL import Image

    labelled, seen = shutil.copytree(capture, tmp_path / "labelled"), []
    for file in (labelled / "masks").iterdir():
        labels = (np.asarray(Image.open(file).convert("L")) > 0).astype(np.uint8)
        labels[:4, :4] = 2
        Image.fromarray(labels).save(file)
    monkeypatch.setattr(
        f"unscene.commands.{command}", lambda scene, out, *_, source, **__: seen.append((scene, source)) or Stub()
    )
    for more in ([], ["--mask-label", "2"]):
        assert main([command, str(labelled), "--out", str(tmp_path / "run"), *more]) == 0
    assert ["mask_label" in source for _, source in seen] == [False, True] and seen[1][1]["mask_label"] == 2
    both, one = (scene.masks for scene, _ in seen)
    assert one[:, :4, :4].all() and one.sum() == 16 * len(one) and (both >= one).all() and both.sum() > one.sum()


def test_the_truth_of_a_spin_nerf_folder_is_what_it_lists(
    run: Path, capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """The other photos show the object; masks there are 0 and 1."""
    published = tmp_path / "published"
    shutil.copytree(capture / "images", published / "images_4")
    (published / "images_4" / "test_label").mkdir()
    for stem in ("006", "007"):
        shutil.copy(capture / "masks" / f"{stem}.png", published / "images_4" / "test_label")
    capsys.readouterr()
    for folder in (published, published / "images_4"):
        assert main(["evaluate", str(run), "--truth", str(folder), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["figures"]
        assert {one["views"] for one in found if one["metric"] == "PSNR"} == {2}
        assert {one["region"] for one in found} == {"image", "mask", "box"}


def test_truth_may_be_of_the_original_resolution(
    capture: Path, bare_capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """A run at half resolution keeps its masks at that; the truth comes as it was taken."""
    out = tmp_path / "run"
    assert main(["fit", str(capture), "--out", str(out), "--scale", "2", "--steps", "1"]) == 0
    shutil.copytree(capture / "masks", out / "masks")
    _halve(out / "masks")
    capsys.readouterr()
    assert main(["evaluate", str(out), "--truth", str(bare_capture), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["figures"]
    assert "mask" in {one["region"] for one in found if one["metric"] == "PSNR"}


def test_a_run_is_judged_without_the_truth_too(run: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith("sharpness ↑  ") and "; whole images; variance of" in row for row in rows)
    assert main(["evaluate", str(run), "--metrics", "sharpness", "--regions", "image", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["figures"]
    assert (found["metric"], found["region"], found["better"]) == ("sharpness", "image", "higher")


@pytest.mark.parametrize(("arguments", "told"), [
    (["--metrics", "psnr"], "PSNR needs what is really there (--truth) for at least 1 views"),
    (["--metrics", "sharpness", "--regions", "mask"], "sharpness needs renders for at least 1 views that show"),
    (["--metrics", "c-frechet"], "at boundaries needs masks of the object, the photos and masks of a removal for"),
])  # fmt: skip
def test_metrics_that_a_run_cannot_have(
    run: Path, capsys: pytest.CaptureFixture, arguments: list[str], told: str
) -> None:
    assert told in failure(["evaluate", str(run), *arguments], capsys, run)


def test_a_metric_without_its_weights(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    assert "or measure in the bundled features: --metrics perceptual frechet kernel." in failure(
        ["evaluate", str(run), "--metrics", "lpips-vgg"], capsys, run
    )


def _halve(folder: Path) -> None:
    import cv2

    for file in folder.iterdir():
        mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(file), cv2.resize(mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def test_priors_tells_what_is_usable_and_what_the_rest_lacks(capsys: pytest.CaptureFixture) -> None:
    assert main(["priors"]) == 0
    lines = {line.split()[1]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["exemplar"].startswith("yes") and lines["bundled"].startswith("yes")
    assert {"sd-1.5", "sd-2", "sdxl", "lama", "files:DIR"} <= lines.keys()
    assert all(len(line.split(maxsplit=2)) == 3 for line in lines.values())  # each says why


def test_doctor_reports_devices_memory_versions_and_caches(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (torch.__version__, "GB", "compiled kernels"))


def test_a_prior_that_is_not_there_leaves_no_run(capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    text = failure(["remove", str(capture), "--out", str(tmp_path / "run"), "--prior", "nothing"], capsys)
    assert text == "nothing: expected a folder, a .safetensors file or a hub checkpoint's name, found none."
    assert not (tmp_path / "run").exists()


# Errors: what was expected, what came, what to do


def test_an_unknown_command_names_the_known_ones(capsys: pytest.CaptureFixture) -> None:
    assert failure(["paint"], capsys) == (
        "unscene: expected a command, one of demo, capture, fit, mask, remove, render, view, studio, export, "
        "evaluate, customize, orbit, priors, doctor, shards, train; got 'paint'."
    )


def test_train_without_a_model_lists_the_models(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train"])
    assert stopped.value.code == 2
    text = capsys.readouterr().out
    assert "usage: unscene train MODEL" in text
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["prior", "invs", "zero123"]


def test_train_names_the_known_models(capsys: pytest.CaptureFixture) -> None:
    assert failure(["train", "shap-e"], capsys) == "train: expected one of prior, invs, zero123, got 'shap-e'."


@pytest.mark.parametrize("arguments", [["train", "invs"], ["train", "zero123"], ["shards"]])
def test_training_and_its_data_without_options_show_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: unscene {' '.join(arguments)}" in text and "--out" in text


def test_shards_of_a_folder_without_meshes(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["shards", "--out", str(tmp_path / "shards"), "--meshes", str(tmp_path)]
    assert failure(arguments, capsys, tmp_path) == (
        "Expected a folder with .glb, .gltf, .obj files at HERE, found none there or below; check the path, or unpack "
        "the archive of meshes into it."
    )
    assert not (tmp_path / "shards").exists()


def test_a_scene_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["remove", str(tmp_path / "statue"), "--out", str(tmp_path / "run")]
    assert failure(arguments, capsys, tmp_path) == (
        "HERE/statue: expected a scene folder or its transforms.json, found nothing; check the path."
    )
    assert not (tmp_path / "run").exists()


def test_a_scene_without_masks(bare_capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["remove", str(bare_capture), "--out", str(tmp_path / "run")]
    assert failure(arguments, capsys) == (
        "bare: expected masks of the object to remove, found none; put one per photo (white = remove) into masks/, "
        "or name their folder with --masks."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["fit", "remove"])
def test_an_output_folder_that_exists(
    capture: Path, tmp_path: Path, capsys: pytest.CaptureFixture, command: str
) -> None:
    (tmp_path / "notes.txt").touch()
    prior = ["--prior", "telea"] if command == "remove" else []
    assert failure([command, str(capture), "--out", str(tmp_path), *prior], capsys, tmp_path) == (
        "HERE: expected a new or empty output folder, but it exists; choose another --out, delete it, or add "
        "--resume to go on with it."
    )
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("arguments", [
    ["render", "RUN", "--out", "renders"], ["export", "RUN", "--format", "ply"], ["evaluate", "RUN", "--truth", "RUN"],
])  # fmt: skip
def test_a_folder_that_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str]) -> None:
    there = [str(tmp_path) if argument == "RUN" else argument for argument in arguments]
    assert failure(there, capsys, tmp_path) == (
        "HERE: expected a run folder with a config.json; give the --out of a fit or remove."
    )


def test_a_run_that_was_not_finished(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copy(run / "config.json", tmp_path)
    assert failure(["render", str(tmp_path), "--out", str(tmp_path / "renders")], capsys, tmp_path) == (
        "HERE: expected a finished run, but it has no field yet; finish it with --resume."
    )


def test_a_data_set_that_a_fit_does_not_have(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["export", str(run), "--format", "dataset", "--out", str(tmp_path / "dataset")]
    assert failure(arguments, capsys, run) == (
        "HERE/dataset: expected the cleaned data set of a finished `remove`, found none."
    )


def test_truth_that_names_other_views(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.copy(run / "renders" / "006.png", tmp_path / "left.png")
    assert failure(["evaluate", str(run), "--truth", str(tmp_path)], capsys) == (
        "truth: expected images named like the run's views (000, ...), got left; rename them."
    )


def test_truth_that_is_not_there(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert failure(["evaluate", str(run), "--truth", str(tmp_path / "truth")], capsys, tmp_path) == (
        "HERE/truth: expected a folder of true images, found none; check --truth."
    )


def test_cameras_that_are_not_there(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["render", str(run), "--cameras", str(tmp_path / "orbit.json"), "--out", str(tmp_path / "renders")]
    assert failure(arguments, capsys, tmp_path) == (
        "HERE/orbit.json: expected a transforms.json with cameras, found no such file; check the path."
    )
    assert not (tmp_path / "renders").exists()


def test_a_wrong_option_is_explained_without_a_traceback(capture: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["remove", str(capture), "--out", "run", "--fill", "everything"])
    assert stopped.value.code == 2
    text = capsys.readouterr().err
    assert "--fill" in text and "everything" in text and "Traceback" not in text


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next load of a scene end in an error."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("unscene.commands.load_scene", fail)


def allocation_error() -> RuntimeError:
    """What torch really says."""
    try:
        torch.empty(10**15)
    except RuntimeError as error:
        return error
    raise AssertionError("a petabyte fits?")


@pytest.mark.parametrize("error", [
    MemoryError(), allocation_error(), OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
], ids=["python", "torch", "mmap"])  # fmt: skip
def test_out_of_memory_suggests_a_larger_scale(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, error: BaseException
) -> None:
    fail_with(error, monkeypatch)
    assert failure(["fit", str(capture), "--out", "run"], capsys) == (
        "out of memory: expected the scene to fit; use a larger --scale (4 takes a sixteenth of the pixels)."
    )


def test_a_full_disk_at_the_first_write(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("unscene.files.os.fsync", full)
    assert failure(["fit", str(capture), "--out", str(tmp_path / "run")], capsys) == (
        "the disk is full: nothing finished was lost; free some space and repeat the command with --resume."
    )
    assert list((tmp_path / "run").iterdir()) == []


def test_a_full_disk_while_saving_tensors(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """safetensors has an error of its own for it."""

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("unscene.training.checkpoints.save_file", full)
    text = failure(["fit", str(capture), "--out", str(tmp_path / "run"), "--steps", "1"], capsys)
    assert text.splitlines()[-1] == (
        "the disk is full: nothing finished was lost; free some space and repeat the command with --resume."
    )


def test_a_folder_that_may_not_be_written(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    fail_with(PermissionError(errno.EACCES, "Permission denied", "/runs"), monkeypatch)
    assert failure(["fit", str(capture), "--out", "/runs"], capsys) == (
        "cannot write /runs: expected a folder that may be written to; choose another --out."
    )


def test_divergence_tells_what_to_try(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    fail_with(DivergedError("the loss of stage 'fit' is not finite at step 3: reconstruction = nan"), monkeypatch)
    assert failure(["fit", str(capture), "--out", "run"], capsys) == (
        "the loss of stage 'fit' is not finite at step 3: reconstruction = nan; lower the learning rate, or check the "
        "poses. --resume goes on from the last checkpoint."
    )


@pytest.mark.parametrize("command", ["fit", "remove"])
def test_an_interrupt_tells_how_to_go_on(
    capture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, command: str
) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert failure([command, str(capture), "--out", "run"], capsys, status=130) == (
        "interrupted; repeat the command with --resume to go on."
    )


def test_an_interrupt_promises_no_option_that_is_not_there(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("unscene.commands.open_run", interrupt)
    assert "--resume" not in failure(["render", str(run), "--out", "renders"], capsys, status=130)


def test_errors_of_our_own_keep_their_traceback(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError("a bug"), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        main(["fit", str(capture), "--out", "run"])

"""The device asked for, from the command line to the models, and what is said when there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import unscene
from tests.box_scene import BoxScene, write_capture
from tests.conftest import TINY_NERF
from unscene.cli import main
from unscene.device import (
    DeviceError,
    choose_device,
    device_name,
    explain_failure,
    field_device,
    has_room,
    is_quick_in_bfloat16,
)
from unscene.jobs.customize import CustomizeOptions, customize
from unscene.jobs.removal_forecast import ways_to_fit
from unscene.methods import InNOutConfig
from unscene.priors.choose import load_prior
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.stages.single_view_prior import SingleViewPrior
from unscene.training.fit import FitConfig

pytestmark = pytest.mark.usefixtures("one_thread")

KNOWN = "auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps"
NO_CUDA = "no CUDA device, or a build of torch without CUDA"


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine as most are, wherever the test runs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    works = torch.ones

    def ones(*arguments: Any, device: Any = "cpu", **more: Any) -> torch.Tensor:
        if str(device) != "cpu":
            raise RuntimeError("PyTorch is not linked with support for mps devices.\nmore for developers")
        return works(*arguments, device=device, **more)

    monkeypatch.setattr("unscene.device.torch.ones", ones)


@pytest.fixture
def one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with cuda:0 and nothing else."""
    works = torch.ones
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "A Card")

    def ones(*arguments: Any, device: Any = "cpu", **more: Any) -> torch.Tensor:
        if str(device) not in ("cpu", "cuda", "cuda:0"):
            raise RuntimeError("CUDA error: invalid device ordinal\nCUDA kernel errors might be reported later")
        return works(*arguments, **more)

    monkeypatch.setattr("unscene.device.torch.ones", ones)


# What a name means


def test_auto_is_the_processor_where_nothing_else_works(no_accelerator: None) -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")


def test_auto_is_the_processor_where_a_card_is_seen_but_does_not_work(
    one_card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

    monkeypatch.setattr("unscene.device.torch.ones", broken)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(DeviceError, match=r"got 'cuda' \(CUDA error: no kernel image .* on the device\); leave"):
        choose_device("cuda")


def test_a_card_has_its_number(one_card: None) -> None:
    assert choose_device("auto") == choose_device("cuda") == choose_device("cuda:0") == torch.device("cuda:0")
    assert device_name(choose_device("auto")) == "cuda:0 (A Card)" and device_name(torch.device("cpu")) == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "meta", "", "CPU", "xla"])
def test_other_names_are_unknown(name: str) -> None:
    with pytest.raises(DeviceError) as raised:
        choose_device(name)
    assert str(raised.value) == f"--device: expected {KNOWN}, got '{name}'."


@pytest.mark.parametrize("name", ["cuda", "cuda:9"])
def test_a_card_that_is_not_there(no_accelerator: None, name: str) -> None:
    with pytest.raises(DeviceError) as raised:
        choose_device(name)
    assert str(raised.value) == absent(name, NO_CUDA)


def absent(name: str, why: str) -> str:
    return (
        f"--device: expected one that this machine has, got '{name}' ({why}); leave --device out, or see "
        "`unscene doctor`."
    )


def test_a_card_beyond_the_last(one_card: None) -> None:
    with pytest.raises(DeviceError) as raised:
        choose_device("cuda:9")
    assert str(raised.value) == absent("cuda:9", "CUDA error: invalid device ordinal")


def test_metal_that_is_not_there(no_accelerator: None) -> None:
    with pytest.raises(DeviceError) as raised:
        choose_device("mps")
    assert str(raised.value) == absent("mps", "PyTorch is not linked with support for mps devices")


def test_fields_compute_wherever_their_kernels_do() -> None:
    assert field_device(torch.device("mps")) == torch.device("cpu")
    for name in ("cpu", "cuda:1"):
        assert field_device(torch.device(name)) == torch.device(name)


def test_room_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 8000))
    assert has_room(torch.device("cuda:0"), 700) and not has_room(torch.device("cuda:0"), 701)
    assert has_room(torch.device("cpu"), 10**15) and has_room(torch.device("mps"), 10**15)


# The command line


@pytest.fixture(scope="module")
def capture(room_with_tests: BoxScene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("captures") / "room", room_with_tests.scene)


@pytest.fixture(scope="module")
def run(one_thread: None, capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "fit"
    assert main(["fit", str(capture), "--out", str(out), "--steps", "1"]) == 0
    return out


COMMANDS = {
    "fit": ["fit", "CAPTURE", "--out", "OUT"],
    "remove": ["remove", "CAPTURE", "--out", "OUT"],
    "demo": ["demo", "--out", "OUT"],
    "customize": ["customize", "CAPTURE", "--out", "OUT"],
    "orbit": ["orbit", "example", "--out", "OUT"],
    "render": ["render", "RUN", "--out", "OUT"],
    "export": ["export", "RUN", "--format", "ply", "--out", "OUT"],
    "evaluate": ["evaluate", "RUN", "--truth", "CAPTURE"],
}


@pytest.mark.parametrize(("name", "told"), [
    ("cuda", absent("cuda", NO_CUDA)),
    ("cuda:9", absent("cuda:9", NO_CUDA)),
    ("mps", absent("mps", "PyTorch is not linked with support for mps devices")),
    ("gpu", f"--device: expected {KNOWN}, got 'gpu'."),
])  # fmt: skip
@pytest.mark.parametrize("command", COMMANDS)
def test_a_device_that_is_not_there_is_a_paragraph_and_leaves_nothing(
    command: str, name: str, told: str, capture: Path, run: Path, tmp_path: Path, no_accelerator: None,
    capsys: pytest.CaptureFixture,
) -> None:  # fmt: skip
    places = {"CAPTURE": str(capture), "RUN": str(run), "OUT": str(tmp_path / "out")}
    arguments = [places.get(argument, argument) for argument in COMMANDS[command]]
    capsys.readouterr()
    assert main([*arguments, "--device", name]) == 1
    printed = capsys.readouterr()
    assert printed.err.strip() == told and printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_record_holds_what_was_asked_and_what_was_used(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["device"] == "auto"
    assert config["device"] == device_name(choose_device("auto"))


# What models are told


def test_a_device_for_models_that_is_not_there_is_named_by_its_option(
    room: BoxScene, one_card: None, tmp_path: Path
) -> None:
    options = unscene.RemoveOptions(diffusion=DiffusionConfig(device="cuda:1"))
    with pytest.raises(DeviceError, match=r"^--diffusion\.device: expected one that this machine has, got 'cuda:1'"):
        unscene.remove(room.scene, tmp_path / "run", options)
    assert not (tmp_path / "run").exists()


class Stop(Exception):
    """Enough has been seen."""


@pytest.mark.parametrize(("given", "settled"), [
    ({}, ("cuda:0", "float16")),
    ({"precision": "float32"}, ("cuda:0", "float32")),
    ({"device": "cpu"}, ("cpu", "float32")),
    ({"device": "cpu", "precision": "bfloat16"}, ("cpu", "bfloat16")),
    ({"device": "cuda"}, ("cuda:0", "float16")),
])  # fmt: skip
@pytest.mark.parametrize("job", ["remove", "customize"])
def test_models_go_where_everything_goes_unless_told_otherwise(
    job: str, given: dict, settled: tuple, room: BoxScene, one_card: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    seen: list[DiffusionConfig] = []

    def load(name: str, config: DiffusionConfig) -> None:
        seen.append(config)
        raise Stop

    monkeypatch.setattr(f"unscene.jobs.{job}.load_prior", load)
    with pytest.raises(Stop):
        if job == "remove":
            unscene.remove(room.scene, tmp_path, unscene.RemoveOptions(diffusion=DiffusionConfig(**given)))
        else:
            customize(room.scene, tmp_path, CustomizeOptions(diffusion=DiffusionConfig(**given)))
    assert (seen[0].device, seen[0].precision) == settled


@pytest.mark.parametrize(("device", "precision"), [
    ("cpu", "float32"), ("mps", "float32"), ("cuda", "float16"), ("cuda:3", "float16"),
])  # fmt: skip
def test_precision_follows_the_device(device: str, precision: str) -> None:
    config = DiffusionConfig(prompt="a room", steps=7)
    assert config.on(device) == replace(config, device=device, precision=precision)
    assert config.on(device).on("cpu") == config.on(device)  # settled once and for all


def test_the_guide_of_copies_is_placed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, grey = [], torch.full((1, 32, 32, 3), 0.5)

    class Grey:
        def expected_fill(self, images, masks, *, generator):
            return grey

    def load(config: DiffusionConfig) -> Grey:
        seen.append((config.device, config.precision))
        return Grey()

    monkeypatch.setattr("unscene.priors.diffusion.latent_diffusion.LatentDiffusionInpainter.load", load)
    prior = load_prior("guided-exemplar", DiffusionConfig(prompt="unheard of").on("cuda:2"))
    assert prior.name == "exemplar guided by bundled-diffusion" and not seen  # it is loaded when it is asked
    masks = torch.zeros(1, 32, 32, dtype=torch.bool)
    masks[:, 14:18, 14:18] = True
    for _ in range(2):
        prior.inpaint(grey, masks, generator=torch.Generator())
    assert seen == [("cuda:2", "float16")]


@pytest.mark.parametrize(("capabilities", "quick"), [
    ({}, False), ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False), ({"avx512_bf16": True}, True),
    ({"amx_bf16": True}, True),
])  # fmt: skip
def test_bfloat16_saves_time_where_there_are_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], quick: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert is_quick_in_bfloat16(torch.device("cpu")) == quick
    assert is_quick_in_bfloat16(torch.device("cuda", 0))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not is_quick_in_bfloat16(torch.device("cpu"))  # what cannot be asked is not relied upon


# Words for devices that fail


FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB")
LOST = [
    torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with more"),
    RuntimeError("CUDA error: unspecified launch failure\nCompile with more"),
]


def test_a_full_device() -> None:
    kept = "Nothing finished was lost: go on with --resume and --device cpu"
    assert str(explain_failure(FULL, "'fit'")) == (
        f"the device's memory is full: 'fit' asked for 2.00 GiB, more than is left. {kept}."
    )
    assert str(explain_failure(FULL, "'fit'", ways=["with A", "start anew with B"])).endswith(
        f"{kept}; or with A; or start anew with B."
    )
    assert str(explain_failure(torch.OutOfMemoryError("no more"), "'render'", resumable=False)) == (
        "the device's memory is full: 'render' asked for more than is left. Repeat the command with --device cpu."
    )


@pytest.mark.parametrize("error", LOST)
def test_a_lost_device(error: RuntimeError) -> None:
    lost = "the device was lost: 'fit' ended with 'CUDA error: unspecified launch failure'."
    assert str(explain_failure(error, "'fit'")) == (
        f"{lost} Nothing finished was lost: go on with --resume and another --device."
    )
    again = str(explain_failure(error, "'fit'", resumable=False))
    assert again == f"{lost} Repeat the command with another --device."


def test_a_command_offers_only_what_it_knows() -> None:
    """Offloading needs a diffusion model that is not taught the scene; the demo has no --scale."""
    diffusion, copies = load_prior("bundled"), load_prior("exemplar")
    scaled = {"scale": 1}
    plain = ways_to_fit(diffusion, unscene.RemoveOptions(prior="bundled"), scaled)
    assert [any(word in way for way in plain) for word in ("offload", "views-at-once", "--scale", "batch")] == [
        True, True, True, False,
    ]  # fmt: skip
    assert ways_to_fit(copies, unscene.RemoveOptions(prior="exemplar"), {}) == []
    distilled = ways_to_fit(diffusion, unscene.RemoveOptions(method="inpaint3d"), scaled)
    assert distilled[0].endswith("--inpaint3d.window") and not any("offload" in way for way in distilled)
    taught = ways_to_fit(diffusion, unscene.RemoveOptions(method="mald-nerf"), scaled)
    assert [any(word in way for way in taught) for word in ("offload", "views-at-once", "batch")] == [
        False, False, True,
    ]  # fmt: skip


def test_other_errors_are_not_the_devices() -> None:
    assert explain_failure(RuntimeError("shapes do not match"), "'fit'") is None


@pytest.mark.parametrize("error", [FULL, *LOST])
def test_commands_without_resume_do_not_promise_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, error: RuntimeError
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("unscene.results.run.render_view", fail)
    assert main(["render", str(run), "--out", str(tmp_path / "renders")]) == 1
    text = capsys.readouterr().err.splitlines()[-1]  # behind the bar of progress
    assert "'render'" in text and "--device" in text and "--resume" not in text


# Failures in mid-run


OPTIONS = unscene.RemoveOptions(
    prior="exemplar", video_frames=0, fill="mask",
    in_n_out=InNOutConfig(
        nerf=TINY_NERF, reconstruction=FitConfig(steps=2), prior=FitConfig(steps=3, checkpoint_seconds=0),
        joint=FitConfig(steps=1), rays=64, prior_rays=16, joint_prior_rays=16, candidates=1,
    ),
)  # fmt: skip


@pytest.mark.parametrize(("error", "told"), [
    (FULL, "the device's memory is full: 'single-view prior' asked for 2.00 GiB"),
    (LOST[0], "the device was lost: 'single-view prior' ended with"),
    (LOST[1], "the device was lost: 'single-view prior' ended with"),
])  # fmt: skip
def test_a_run_whose_device_fails_goes_on_elsewhere(
    room: BoxScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: RuntimeError, told: str
) -> None:
    monkeypatch.setattr("unscene.jobs.remove.write_results", lambda *_: None)
    monkeypatch.setattr("unscene.jobs.remove.report_run", lambda *_: None)
    works, steps, failing = SingleViewPrior.__call__, [], [True]

    def step(self, step: int, *more: Any) -> dict:
        if failing and step == 2:
            raise error
        steps.append(step)
        return works(self, step, *more)

    monkeypatch.setattr(SingleViewPrior, "__call__", step)
    with pytest.raises(DeviceError, match=told) as raised:
        unscene.remove(room.scene, tmp_path / "run", OPTIONS)
    assert "--resume" in str(raised.value) and raised.value.__cause__ is error
    failing.clear()
    elsewhere = replace(OPTIONS, device="cpu", diffusion=DiffusionConfig(offload="model", attention_slicing=True))
    unscene.remove(room.scene, tmp_path / "run", elsewhere, resume=True)
    assert steps == [0, 1, 2, 0]  # the last is the joint optimisation's, which has this objective as a part

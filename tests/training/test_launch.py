"""Several processes from one command."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from unscene.training import launch as module
from unscene.training.launch import launch
from unscene.training.run import RunError


@pytest.fixture(autouse=True)
def outside_any_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME"):
        monkeypatch.delenv(name, raising=False)


def recorded(
    monkeypatch: pytest.MonkeyPatch, *, status: int = 0, accelerators: int = 0
) -> list[tuple[list[str], dict]]:
    """Command and environment of what would have been started, on a machine with so many accelerators."""
    started = []

    def start(command: list[str], *, env: dict[str, str], check: bool) -> subprocess.CompletedProcess:
        started.append((command, env))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(module.subprocess, "run", start)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: accelerators > 0)
    return started


@pytest.mark.parametrize(("processes", "accelerators"), [(1, 0), (1, 4), (None, 0), (None, 1)])
def test_one_process_does_it_itself(monkeypatch: pytest.MonkeyPatch, processes: int | None, accelerators: int) -> None:
    started = recorded(monkeypatch, accelerators=accelerators)
    assert launch(processes, ["train", "invs"]) is False
    assert started == []


@pytest.mark.parametrize("processes", [None, 2])
def test_inside_a_launcher_nothing_is_started(monkeypatch: pytest.MonkeyPatch, processes: int | None) -> None:
    started = recorded(monkeypatch, accelerators=2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch(processes, ["train", "invs"]) is False
    assert started == []


def test_the_same_command_runs_in_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    assert launch(3, ["train", "invs", "--steps", "7"]) is True
    ((command, _),) = started
    assert command[0] == sys.executable
    assert "--nproc-per-node=3" in command
    assert command[-6:] == ["-m", "unscene", "train", "invs", "--steps", "7"]


def test_by_default_there_is_a_process_per_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch, accelerators=4)
    assert launch(None, ["train", "invs"]) is True
    ((command, environment),) = started
    assert "--nproc-per-node=4" in command
    assert "GLOO_SOCKET_IFNAME" not in environment


def test_on_processors_the_processes_talk_over_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")  # whatever the shell says
    assert launch(2, ["train", "invs"]) is True
    ((command, environment),) = started
    assert "--standalone" in command
    assert environment["GLOO_SOCKET_IFNAME"] == ("lo0" if sys.platform == "darwin" else "lo")


def test_the_processes_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    launch(2, ["train"])
    launch(16, ["train"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    launch(2, ["train"])
    assert [environment["OMP_NUM_THREADS"] for _, environment in started] == ["4", "1", "3"]


def test_a_process_that_fails_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch, status=7)
    with pytest.raises(RunError, match="one of 2 processes ended with status 7; its own message stands above"):
        launch(2, ["train", "invs"])


def test_real_processes_that_fail_raise_too_and_say_why(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(RunError, match="one of 2 processes ended with status 1"):
        launch(2, ["juggle"])
    assert "got 'juggle'" in capfd.readouterr().err

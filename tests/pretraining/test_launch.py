"""Several processes from one command."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
import torch

from unscene.pretraining import launch as module
from unscene.pretraining.launch import RENDEZVOUS, launch
from unscene.training.run import RunError


@pytest.fixture(autouse=True)
def outside_any_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "OMP_NUM_THREADS", "GLOO_SOCKET_IFNAME", RENDEZVOUS):
        monkeypatch.delenv(name, raising=False)


def recorded(
    monkeypatch: pytest.MonkeyPatch, *, script: str = "pass", accelerators: int = 0
) -> list[tuple[list[str], dict[str, str]]]:
    """Arguments and environment of what is started: a script instead, on a machine with so many accelerators."""
    started = []

    def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
        started.append((arguments, environment))
        return subprocess.Popen([sys.executable, "-c", script], env=environment)

    monkeypatch.setattr(module, "start", start)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: accelerators)
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


def test_the_same_command_runs_in_every_process_each_with_its_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    assert launch(3, ["train", "invs", "--steps", "7"]) is True
    assert [arguments for arguments, _ in started] == [["train", "invs", "--steps", "7"]] * 3
    assert [(env["RANK"], env["LOCAL_RANK"], env["WORLD_SIZE"]) for _, env in started] == [
        (str(rank), str(rank), "3") for rank in range(3)
    ]
    assert len({env[RENDEZVOUS] for _, env in started}) == 1


def test_by_default_there_is_a_process_per_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch, accelerators=4)
    assert launch(None, ["train", "invs"]) is True
    assert len(started) == 4


def test_the_processes_talk_over_loopback_whatever_the_shell_says(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    assert launch(2, ["train", "invs"]) is True
    assert all(env["GLOO_SOCKET_IFNAME"] in ("lo", "lo0") for _, env in started)


@pytest.mark.skipif(not os.path.exists("/proc/net/tcp"), reason="needs Linux's list of sockets")
def test_nothing_listens_beyond_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import os
from unscene.pretraining.launch import join_processes
import torch
def sockets():
    own = {os.readlink(f"/proc/self/fd/{fd}")[8:-1] for fd in os.listdir("/proc/self/fd")
           if os.path.islink(f"/proc/self/fd/{fd}") and os.readlink(f"/proc/self/fd/{fd}").startswith("socket:[")}
    rows = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and row[9] in own]
join_processes("cpu")
total = torch.ones(1)
torch.distributed.all_reduce(total)
assert total.item() == 2
loopback = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
assert all(address.split(":")[0] in loopback for address in sockets()), sockets()
torch.distributed.barrier()
"""
    recorded(monkeypatch, script=script)
    assert launch(2, ["train", "invs"]) is True


def test_the_processes_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    started = recorded(monkeypatch)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    launch(2, ["train"])
    launch(4, ["train"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    launch(2, ["train"])
    assert [env["OMP_NUM_THREADS"] for _, env in started] == ["4"] * 2 + ["2"] * 4 + ["3"] * 2


def test_one_that_fails_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(monkeypatch, script="import os, sys, time; sys.exit(7) if os.environ['RANK'] == '1' else time.sleep(600)")
    began = time.monotonic()
    with pytest.raises(RunError, match="one of 2 processes ended with status 7; its own message stands above"):
        launch(2, ["train", "invs"])
    assert time.monotonic() - began < 60


def test_one_that_does_not_end_when_told_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import os, signal, sys, time
from pathlib import Path
deaf = Path(os.environ["UNSCENE_RENDEZVOUS"] + "-deaf")
if os.environ["RANK"] == "0":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf.touch()
    time.sleep(600)
while not deaf.exists():
    time.sleep(0.01)
sys.exit(7)
"""
    recorded(monkeypatch, script=script)
    monkeypatch.setattr(module, "END_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(RunError, match="status 7"):
        launch(2, ["train", "invs"])
    assert time.monotonic() - began < 60


def test_a_process_that_cannot_be_started_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
        if environment["RANK"] == "2":
            raise OSError("no more processes")
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env=environment))
        return started[-1]

    monkeypatch.setattr(module, "start", start)
    with pytest.raises(OSError, match="no more processes"):
        launch(3, ["train", "invs"])
    assert len(started) == 2 and all(process.returncode is not None for process in started)


@pytest.mark.parametrize("processes", [0, -1])
def test_fewer_processes_than_one_are_refused(monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    started = recorded(monkeypatch, accelerators=2)
    with pytest.raises(RunError, match=f"--processes: expected at least 1, got {processes}; leave it out"):
        launch(processes, ["train", "invs"])
    assert started == []


def test_real_processes_that_fail_raise_too_and_say_why(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(RunError, match="one of 2 processes ended with status 1"):
        launch(2, ["juggle"])
    assert "got 'juggle'" in capfd.readouterr().err

"""Several processes from one command: this one starts the others and waits.

They meet through a file: torch's own launcher opens a port on every network of the machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from unscene.training.run import RunError

RENDEZVOUS = "UNSCENE_RENDEZVOUS"
POLL_SECONDS = 0.2
END_SECONDS = 20.0  # to end by itself, once told to


def launch(processes: int | None, arguments: list[str], device: str = "auto") -> bool:
    """Run `unscene ARGUMENTS` in several processes of this machine; False if this process should do it itself.

    processes: None is one per accelerator, or a single one if ``device`` names one. Inside a launcher's process
    (`accelerate launch -m unscene ...`, also over several machines) nothing is started. Raises RunError if a process
    fails, after ending the others.
    """
    if processes is not None and processes < 1:
        raise RunError(f"--processes: expected at least 1, got {processes}; leave it out for one per accelerator.")
    count = processes or (max(1, torch.cuda.device_count()) if device in ("auto", "cuda") else 1)
    if count == 1 or "WORLD_SIZE" in os.environ:
        return False
    loopback = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)  # Windows has no such names
    with tempfile.TemporaryDirectory() as folder:
        shared = {
            "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),
            **os.environ,
            **(dict.fromkeys(("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"), loopback) if loopback else {}),
            **dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(count)),
            RENDEZVOUS: str(Path(folder) / "processes"),
        }
        started: list[subprocess.Popen] = []
        try:
            for rank in range(count):
                started.append(start(arguments, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}))
            status = _first_failure(started)
        finally:
            _end(started)
    if status:
        raise RunError(f"train: one of {count} processes ended with status {status}; its own message stands above.")
    return True


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen:
    """One process."""
    return subprocess.Popen([sys.executable, "-m", "unscene", *arguments], env=environment)


def join_processes(device: str) -> None:
    """In a process that `launch` started: meet the others, to compute on this type of device."""
    if RENDEZVOUS in os.environ and not torch.distributed.is_initialized():
        rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        backend = "nccl" if device == "cuda" and torch.distributed.is_nccl_available() else "gloo"
        store = torch.distributed.FileStore(os.environ[RENDEZVOUS], count)
        torch.distributed.init_process_group(backend, store=store, rank=rank, world_size=count)


def _end(processes: list[subprocess.Popen]) -> None:
    """Ask all to end, and end those that do not: one may hang where it hears no signal."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _first_failure(processes: list[subprocess.Popen]) -> int:
    """Wait for all, or for the first that fails: its status, else 0."""
    waiting = list(processes)
    while waiting:
        for process in list(waiting):
            try:
                status = process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            if status:
                return status
            waiting.remove(process)
    return 0

"""Several processes from one command: this one starts the others and waits."""

from __future__ import annotations

import os
import subprocess
import sys

import torch

from unscene.training.run import RunError


def launch(processes: int | None, arguments: list[str]) -> bool:
    """Run `unscene ARGUMENTS` in several processes of this machine; False if this process should do it itself.

    processes: None is one per accelerator. Inside a launcher's process (`accelerate launch -m unscene ...`, also over
    several machines) nothing is started. Raises RunError if a process fails.
    """
    count = processes or max(1, torch.cuda.device_count())
    if count == 1 or "WORLD_SIZE" in os.environ:
        return False
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    environment = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))} | dict(os.environ)
    if not torch.cuda.is_available():
        environment |= {"GLOO_SOCKET_IFNAME": _loopback()}  # what they learn from each other stays here
    status = subprocess.run([*command, "-m", "unscene", *arguments], env=environment, check=False).returncode
    if status:
        raise RunError(f"train: one of {count} processes ended with status {status}; its own message stands above.")
    return True


def _loopback() -> str:
    return "lo0" if sys.platform == "darwin" else "lo"

"""Where things are computed: the device a user asked for, what it is called, and how much room it has."""

from __future__ import annotations

from collections.abc import Sequence

import torch

HELP = "auto (CUDA where it works, else the processor), cpu, cuda, cuda:N or mps"
ROOM_SHARE = 0.7  # of a device's free memory that photos and what is made of them may take, beside fields and models


class DeviceError(RuntimeError):
    """A device that is not there, too small, or gone; the text says what was expected, what came, what to do."""


def choose_device(asked: str, option: str = "--device") -> torch.device:
    """The device of a name, with its index; `auto` takes CUDA where it works. DeviceError names the option."""
    if asked == "auto":
        return torch.device("cuda", torch.cuda.current_device()) if _failure("cuda") is None else torch.device("cpu")
    try:
        device = torch.device(asked)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"{option}: expected {HELP}, got '{asked}'.")
    if (reason := _failure(asked)) is not None:
        raise DeviceError(
            f"{option}: expected one that this machine has, got '{asked}' ({reason}); leave {option} out, or see "
            "`unscene doctor`."
        )
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu") if device.type == "cpu" else device


def field_device(device: torch.device) -> torch.device:
    """Where a radiance field computes if everything else does so on ``device``: its kernels know no Metal."""
    return torch.device("cpu") if device.type == "mps" else device


def device_name(device: torch.device) -> str:
    """In words, for the run's record: cpu, or cuda:0 and the card's name."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def is_quick_in_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 saves time there: a processor without instructions for it takes ten times as long as else."""
    if device.type != "cpu":
        return True
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # none before torch 2.9
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def has_room(device: torch.device, size: int) -> bool:
    """Whether ``size`` bytes fit on the device beside what computes there; main memory is taken for large enough."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return size <= ROOM_SHARE * free


def peak_device_memory_gb(device: torch.device) -> float | None:
    """The most that tensors have taken of a CUDA device in this process, in 10^9 bytes; None elsewhere."""
    return torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None


def _failure(name: str) -> str | None:
    """Why a device cannot be used, None if it can."""
    try:
        if torch.device(name).type == "cuda" and not torch.cuda.is_available():
            return "no CUDA device, or a build of torch without CUDA"
        (torch.ones(2, device=name) + 1).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).strip().splitlines()[0].rstrip(".") or type(error).__name__
    return None


def explain_failure(
    error: RuntimeError, doing: str, *, resumable: bool = True, ways: Sequence[str] = ()
) -> DeviceError | None:
    """Words for a CUDA device that is too small or went away while ``doing`` something; None for any other error.

    resumable: whether the command knows --resume. ways: what takes less memory in this command, beside the processor;
    clauses that go on after "go on with --device cpu; or".
    """
    again = "Nothing finished was lost: go on with --resume and" if resumable else "Repeat the command with"
    if isinstance(error, torch.OutOfMemoryError):
        wanted = str(error).partition("Tried to allocate ")[2].partition(". ")[0].rstrip(".")
        asked = f"asked for {f'{wanted}, ' if wanted else ''}more than is left"
        others = "".join(f"; or {way}" for way in ways)
        return DeviceError(f"the device's memory is full: {doing} {asked}. {again} --device cpu{others}.")
    lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or "CUDA error" in str(error)
    if not lost:
        return None
    reason = str(error).strip().splitlines()[0]
    return DeviceError(f"the device was lost: {doing} ended with '{reason}'. {again} another --device.")

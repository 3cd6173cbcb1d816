"""The command line. Each command loads what it needs when it runs, so that --help answers at once."""

from __future__ import annotations

import errno
import importlib
import os
import select
import sys
from typing import TextIO

COMMANDS = {
    "demo": "take the object out of a bundled scene, a still life or a room, and compare with the truth",
    "capture": "make a scene of photos or a video: where each was taken from",
    "fit": "fit a radiance field to a captured scene",
    "mask": "mask an object in all photos of a capture from a few clicks",
    "remove": "take the masked object out of a captured scene",
    "render": "render a finished run from its test views, along a path, or from a file of cameras",
    "view": "look at a run, or a file of Gaussian splats, in the browser from any angle",
    "studio": "take an object out of photos, a video or a scene in the browser, from the first click to the last file",
    "export": "write a run's cleaned data set, points, video or Gaussian splats somewhere else",
    "evaluate": "score a run by the papers' metrics, with or without images of what is really there",
    "customize": "teach a diffusion prior a scene, for remove and for diffusers",
    "orbit": "see the object of one photo from all around",
    "priors": "list what can fill images on this machine, and why the rest cannot",
    "doctor": "report devices, memory, versions and caches",
    "shards": "render objects into training data for the novel-view models",
    "train": "train the bundled models",
}
RESUMABLE = ("demo", "capture", "fit", "remove", "customize", "orbit")
RICH_S_BROKEN_PIPE = 1  # rich turns a BrokenPipeError into this SystemExit
READER_GONE = 141  # what a shell reports of a program that SIGPIPE ended: 128 + 13
HELP = """usage: unscene COMMAND [OPTIONS]

Take objects out of 3D scenes: photos with camera poses and object masks in, the scene without the object out.

commands:
{commands}

unscene COMMAND --help tells the options of a command."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status. Expected errors are one paragraph on standard error, no traceback.

    A reader that goes away (``unscene fit --help | head -1``) ends the command without a word, as SIGPIPE would. The
    signal itself stays ignored, as a pipe to a video encoder may break as well, which must not end us without a word.
    """
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        if not _lost_readers():
            raise
    except SystemExit as stop:
        if stop.code != RICH_S_BROKEN_PIPE or not _lost_readers():
            raise
    return READER_GONE


def _run(arguments: list[str]) -> int:
    command = arguments[0] if arguments else ""
    try:
        try:
            return _answer(command, arguments[1:])
        finally:  # print now, where an error has a handler, and not when the interpreter ends
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        how = "; repeat the command with --resume to go on." if command in RESUMABLE else "."
        return _fail(f"interrupted{how}", status=130)
    except Exception as error:
        explanation = _explain(error, command)
        if explanation is None:
            raise
        return _fail(explanation)


def _answer(command: str, arguments: list[str]) -> int:
    if command in ("", "-h", "--help"):
        print(HELP.format(commands="\n".join(f"  {name:<10}{summary}" for name, summary in COMMANDS.items())))
        return 0 if command else 2
    if command == "--version":
        from importlib.metadata import version

        print(f"unscene {version('unscene')}")
        return 0
    if command not in COMMANDS:
        return _fail(f"unscene: expected a command, one of {', '.join(COMMANDS)}; got '{command}'.")
    return run(command, arguments)


def run(command: str, arguments: list[str]) -> int:
    """Run a command of `COMMANDS`; returns the exit status."""
    module = "unscene.studio_commands" if command in ("view", "studio") else "unscene.commands"
    return importlib.import_module(module).run(command, arguments)


def _lost_readers() -> bool:
    """Whether nobody reads our output or our errors any more; what is left to print then goes nowhere."""
    lost = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_broken(stream)]
    for stream in lost:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(lost)


def _is_broken(stream: TextIO) -> bool:
    """Whether a stream is a pipe without a reader."""
    try:
        descriptor = stream.fileno()
        stream.flush()
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # no file of the system's
        return False
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(descriptor, 0)  # an unbuffered stream has nothing left to flush, but its end still tells
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _explain(error: Exception, command: str) -> str | None:
    """Words for errors that are the input's or the machine's, None for our own."""
    if isinstance(error, OSError):
        return _explain_machine(error)  # our own are not of this kind, and importing them loads torch, for seconds
    from unscene.capture.capture_error import CaptureError
    from unscene.device import DeviceError, explain_failure
    from unscene.evaluation.metric_error import MetricError
    from unscene.objects.object_error import ObjectError
    from unscene.priors.prior_error import PriorError
    from unscene.scenes.scene import SceneError
    from unscene.segmentation.prompts import PromptError
    from unscene.splat_files.splat_error import SplatError
    from unscene.stages.method_error import MethodError
    from unscene.studio.studio_error import StudioError
    from unscene.training.fit import DivergedError
    from unscene.training.run import RunError

    ours = (
        CaptureError | DeviceError | MethodError | MetricError | ObjectError | PriorError | PromptError | RunError
        | SceneError | SplatError | StudioError
    )  # fmt: skip
    if isinstance(error, ours):
        return str(error)
    if isinstance(error, DivergedError):
        return f"{error}; lower the learning rate, or check the poses. --resume goes on from the last checkpoint."
    if isinstance(error, RuntimeError):
        explained = explain_failure(error, f"'{command}'", resumable=command in RESUMABLE)
        if explained is not None:
            return str(explained)
    return _explain_machine(error)


def _explain_machine(error: Exception) -> str | None:
    if isinstance(error, MemoryError) or ("memory" in str(error).lower() and "alloc" in str(error).lower()):
        return "out of memory: expected the scene to fit; use a larger --scale (4 takes a sixteenth of the pixels)."
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if full or "os error 28" in str(error).lower() or "no space left" in str(error).lower():  # safetensors has its own
        return "the disk is full: nothing finished was lost; free some space and repeat the command with --resume."
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"cannot write {error.filename}: expected a folder that may be written to; choose another --out."
    return None


def _fail(text: str, status: int = 1) -> int:
    print(text, file=sys.stderr)
    return status

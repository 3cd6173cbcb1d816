"""The package on Windows, as far as Linux can play it: a script that hides what is Unix's and runs commands.

The modules of Unix are hidden from the package only: torch and the like import them on Linux by good right.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import pkgutil
import signal
import sys

HIDDEN_MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
HIDDEN_NAMES = {
    os: ("fork", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "nice", "setsid",
         "sched_getaffinity", "statvfs", "sysconf", "uname"),
    signal: ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "alarm"),
}  # fmt: skip


def is_ours(depth: int = 2) -> bool:
    """Whether the nearest caller that is no part of Python's library or of this module belongs to the package."""
    frame = sys._getframe(depth)
    while frame and frame.f_globals.get("__name__", "").split(".")[0] in ("pathlib", "io", "importlib", "posixpath"):
        frame = frame.f_back
    return bool(frame) and frame.f_globals.get("__name__", "").split(".")[0] == "unscene"


def hide() -> None:
    import_module, open_file = builtins.__import__, io.open

    def guarded_import(name, globals=None, locals=None, fromlist=(), level=0):
        importer = (globals or {}).get("__name__", "")
        if name.split(".")[0] in HIDDEN_MODULES and importer.split(".")[0] == "unscene":
            raise ModuleNotFoundError(f"No module named '{name}' for {importer}", name=name)
        return import_module(name, globals, locals, fromlist, level)

    def guarded_open(file, *arguments, **more):
        if str(file).startswith("/proc") and is_ours():
            raise FileNotFoundError(f"no {file}")
        return open_file(file, *arguments, **more)

    builtins.__import__ = guarded_import
    builtins.open = io.open = guarded_open
    for module, names in HIDDEN_NAMES.items():
        module.__class__ = guarded(module, names)


def guarded(module, names: tuple[str, ...]) -> type:
    kept = {name: getattr(module, name) for name in names if hasattr(module, name)}

    def find(self, name: str):
        if name in kept and not is_ours():
            return kept[name]
        raise AttributeError(f"module '{module.__name__}' has no attribute '{name}'")

    for name in kept:
        delattr(module, name)
    return type("Module", (type(module),), {"__getattr__": find})


def import_everything() -> None:
    """Every module of the package; a third-party package that is not installed is no fault of the system's."""
    import unscene

    for found in pkgutil.walk_packages(unscene.__path__, "unscene."):
        if found.name == "unscene.__main__":
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in HIDDEN_MODULES | {"unscene"}:
                raise
            print(f"{found.name}: no {error.name}")
    print("imported")


if __name__ == "__main__":
    hide()
    for index, command in enumerate(sys.argv[1:]):
        if index:
            print("\f")
        if command == "import":
            import_everything()
        elif status := importlib.import_module("unscene.cli").main([command]):
            sys.exit(status)

"""A page on this machine: viser behind a door, at an address that is there."""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unscene.studio.door import LOOPBACK, Door, watching
from unscene.studio.studio_error import StudioError

PORT = 8010  # the first that is tried; the next free one is taken


def open_server(host: str = LOOPBACK, port: int = PORT, label: str = "Unscene") -> tuple[Any, str]:
    """A viser server behind its door, and its page's address.

    Raises StudioError without viser, and for an address that is not this machine's.
    """
    try:
        import viser
    except ImportError as error:
        raise StudioError("the studio needs viser; install it with: pip install 'unscene[studio]'") from error
    _check_address(host, port)
    door = Door(host)
    with watching(door), contextlib.redirect_stdout(io.StringIO()):  # it prints an address without the token
        server = viser.ViserServer(host, port, label=label, verbose=False)
    server.gui.configure_theme(control_layout="fixed", dark_mode=True, show_logo=False, show_share_button=False)
    return server, door.address(server.get_port())


@dataclass(frozen=True)
class OpenPage:
    """A page that is served. closing: what has to end before the server does."""

    server: Any
    address: str
    closing: Callable[[], None]

    def close(self) -> None:
        """Serve it no longer."""
        self.closing()
        with contextlib.redirect_stdout(io.StringIO()):
            self.server.stop()


def keep_open(
    page: OpenPage, *, browser: bool, announce: Callable[[str], None], ended: threading.Event | None = None
) -> None:
    """Serve until it is ended, or interrupted from the keyboard. announce: is told the page's address."""
    ended = ended or threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    announce(f"{page.address}  (Ctrl-C ends it)")
    if browser:
        webbrowser.open(page.address)
    try:
        ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        page.close()


def plain(text: str) -> str:
    """Names of files and scenes are shown as they are: no Markdown, no HTML."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()#+-.!|<>&~" else letter for letter in text)


def _check_address(host: str, port: int) -> None:
    """viser would try a thousand ports of an address that is not here, and then wait for ever."""
    if not 0 < port < 2**16:
        raise StudioError(f"--port: expected a number from 1 to {2**16 - 1}, got {port}.")
    try:
        family, *_, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as probe:
            probe.bind(address)
    except OSError as error:
        raise StudioError(f"--host {host}: expected an address of this machine ({error}); 127.0.0.1 is.") from error

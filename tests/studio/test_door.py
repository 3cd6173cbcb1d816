"""The studio answers its own page on this machine, and nobody else."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator

import pytest

viser = pytest.importorskip("viser", reason="the studio's extra is not installed: pip install 'unscene[studio]'")

from unscene.studio.door import Door, is_loopback, watching  # noqa: E402

UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with watching(Door()):
        server = viser.ViserServer("127.0.0.1", free_port(), verbose=False)
    yield server.get_port()
    server.stop()


@pytest.fixture(scope="module")
def guarded() -> Iterator[tuple[int, Door]]:
    """As if it listened on all of this machine's addresses."""
    door = Door("0.0.0.0", token="the-token")
    with watching(door):
        server = viser.ViserServer("127.0.0.1", free_port(), verbose=False)
    yield server.get_port(), door
    server.stop()


def ask(port: int, path: str = "/", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest("GET", path, skip_host=True)
    for name, value in ({"Host": f"127.0.0.1:{port}"} | named).items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def test_the_page_opens_on_this_machine(port):
    answer = ask(port)
    assert answer.status == 200 and answer.headers["X-Frame-Options"] == "DENY"
    assert ask(port, Host=f"localhost:{port}", Origin=f"http://localhost:{port}").status == 200


def test_its_own_page_gets_a_socket_and_another_one_does_not(port):
    assert ask(port, **UPGRADE, Origin=f"http://127.0.0.1:{port}").status == 101
    refused = ask(port, **UPGRADE, Origin="http://evil.example")
    assert refused.status == 403 and b"another page" in refused.read()
    assert ask(port, **UPGRADE, Origin="null").status == 403  # sandboxed frames and local files


def test_a_foreign_name_for_this_machine_is_refused(port):
    """DNS rebinding: the browser takes evil.example for the origin, and its address for ours."""
    rebound = f"evil.example:{port}"
    assert ask(port, Host=rebound, Origin=f"http://{rebound}").status == 403
    assert ask(port, **UPGRADE, Host=rebound, Origin=f"http://{rebound}").status == 403


def test_others_than_this_machine_need_the_token(guarded):
    port, door = guarded
    host = f"192.168.0.7:{port}"
    assert ask(port, Host=host).status == 401
    assert ask(port, "/?token=wrong", Host=host).status == 401
    opened = ask(port, "/?token=the-token", Host=host)
    assert opened.status == 200 and "HttpOnly" in opened.headers["Set-Cookie"]
    assert ask(port, **UPGRADE, Host=host, Origin=f"http://{host}").status == 401
    kept = opened.headers["Set-Cookie"].split(";")[0]
    assert ask(port, **UPGRADE, Host=host, Origin=f"http://{host}", Cookie=kept).status == 101
    assert ask(port, **UPGRADE, Host=host, Origin="http://evil.example", Cookie=kept).status == 403
    assert door.address(port).endswith("?token=the-token")


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("", False), ("192.168.0.7", False)],
)
def test_what_only_this_machine_can_reach(host, alone):
    assert is_loopback(host) == alone

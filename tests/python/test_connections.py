"""More HTTP connections than the server has places for: VIPs are served, others are told so, probes are answered."""
import contextlib
import http.client
import json
import resource
import socket
import urllib.parse

import pytest

from conftest import running_server, wait_until

SESSIONS_MAX = 1024
VIP_COUNT = 40
CONFIG = """
tenants:
  - name: important
    api_keys: [vip-key]
    lanes: [vip, realtime]
  - name: flood
    api_keys: [flood-key]
    lanes: [async]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * SESSIONS_MAX:
        pytest.skip(f"only {hard} files may be open")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16 * SESSIONS_MAX), hard))
    config = tmp_path_factory.mktemp("connections") / "server.yaml"
    config.write_text(CONFIG)
    with running_server("--config", str(config)) as running:
        yield running
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def place_of(server) -> tuple[str, int]:
    parts = urllib.parse.urlsplit(server.http)
    return parts.hostname, parts.port


def connect(server) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(*place_of(server), timeout=60)


def status_of(connection, key: str, lane: str) -> int:
    connection.request("POST", "/v1/completions", json.dumps({"prompt": "Hi", "max_tokens": 2, "lane": lane}),
                       {"Authorization": f"Bearer {key}", "X-Troupe-Lane": lane, "Content-Type": "application/json"})
    reply = connection.getresponse()
    reply.read()
    return reply.status


def ask(server, key: str, lane: str) -> int:
    with contextlib.closing(connect(server)) as connection:
        return status_of(connection, key, lane)


def probe(server, path: str) -> int:
    with contextlib.closing(connect(server)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


@contextlib.contextmanager
def open_sockets(server, count: int, first_bytes: bytes = b""):
    sockets = []
    try:
        for _ in range(count):
            sockets.append(socket.create_connection(place_of(server), timeout=60))
            sockets[-1].sendall(first_bytes)
        yield sockets
    finally:
        for each in sockets:
            each.close()


def check_who_is_served(server):
    for _ in range(VIP_COUNT):
        assert ask(server, "vip-key", "vip") == 200
    with contextlib.closing(connect(server)) as kept:
        assert [status_of(kept, "vip-key", "vip") for _ in range(10)] == [200] * 10
    assert [ask(server, "flood-key", "async") for _ in range(10)] == [503] * 10
    assert ask(server, "flood-key", "vip") == 503
    assert ask(server, "vip-key", "realtime") == 503
    assert [probe(server, path) for path in ("/health", "/metrics", "/version")] == [200] * 3


def test_a_flood_of_connections_keeps_no_vip_out(server):
    body_begun = (b"POST /v1/completions HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer flood-key\r\n"
                  b"X-Troupe-Lane: async\r\nContent-Length: 1000\r\n\r\n{")
    assert ask(server, "flood-key", "async") == 200
    with open_sockets(server, SESSIONS_MAX + 300, body_begun):
        check_who_is_served(server)
        with open_sockets(server, 500), open_sockets(server, 500, b"POST /v1/completions HTTP/1.1\r\n"):
            check_who_is_served(server)
    wait_until(lambda: ask(server, "flood-key", "async") == 200, what="a place for others")


def test_connections_that_say_nothing_give_way(server):
    with open_sockets(server, SESSIONS_MAX):
        wait_until(lambda: ask(server, "flood-key", "async") == 200, what="a place")
        assert ask(server, "vip-key", "realtime") == 200

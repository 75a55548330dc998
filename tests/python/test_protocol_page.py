"""docs/protocol.md against the Python side: its minimal client runs as printed, and its tables of kinds and
error codes are those of the package."""

import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))
sys.path.insert(0, str(ROOT / "tests" / "python"))

from fake_server import FakeServer, accepted, delta, failed, finished  # noqa: E402
from troupe import errors, wire  # noqa: E402
from troupe.wire import Frame, Kind, decode  # noqa: E402

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def section(title):
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.fixture(scope="module")
def listing():
    code = re.search(r"```python\n(.*?)```", section("11. A minimal client"), re.S).group(1)
    names = {"__name__": "listing"}
    exec(compile(code, "docs/protocol.md", "exec"), names)
    return names["generate"]


def test_the_minimal_client_streams(listing):
    def script(server, identity, frame):
        server.send(identity, accepted(frame))
        server.send(identity, delta(frame, 0, "Hel", tokens=2))
        server.send(identity, delta(frame, 0, "Hel", tokens=2))
        server.send(identity, delta(frame, 2, "lo", finish="stop"))
        server.send(identity, finished(frame))

    with FakeServer(script) as server:
        pieces = list(listing(server.endpoint, prompt="hi", max_tokens=3))
        assert pieces == [(0, "Hel"), (0, "lo")]
        assert server.expect(Kind.SUBMIT).payload == {"prompt": "hi", "max_tokens": 3}


def test_the_minimal_client_raises(listing):
    def script(server, identity, frame):
        server.send(identity, failed(frame, "overloaded", "full"))

    with FakeServer(script) as server:
        with pytest.raises(RuntimeError, match="overloaded: full"):
            list(listing(server.endpoint, prompt="hi"))


def test_the_tables_are_the_package():
    kinds = re.findall(r"^\| (\d+) \| `(\w+)` \|", section("3. Kinds"), re.M)
    assert [(int(number), name.upper()) for number, name in kinds] == [(k.value, k.name) for k in Kind]
    codes = re.findall(r"^\| `(\w+)` \| (no|later) \|", section("8. Error codes"), re.M)
    package = {code: kind.retryable for code, kind in errors._BY_CODE.items()}
    assert {code: retry == "later" for code, retry in codes} == package


def test_the_limits_are_the_package():
    limits = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", section("9. Limits"), re.M))
    assert int(limits["payload_bytes_max"]) == wire.SUBMIT_BYTES_MAX
    assert int(limits["request_id_bytes_max"]) == wire.REQUEST_ID_BYTES_MAX
    assert int(limits["deadline_ms_max"]) == wire.DEADLINE_MS_MAX


def test_the_example_is_what_the_package_reads_and_writes():
    lines = re.findall(r"^(?:header |payload) ?([0-9a-f ]+)$", section("10. An example in bytes"), re.M)
    frames = [bytes.fromhex(line) for line in lines]
    messages = [decode(frames[i : i + 2]) for i in range(0, len(frames), 2)]
    assert [message.kind for message in messages] == [1, 2, 3, 3, 7, 8]
    assert [message.encode() for message in messages] == [frames[i : i + 2] for i in range(0, 12, 2)]
    assert messages[0] == Frame(
        Kind.SUBMIT, "req-1", payload={"prompt": "Hi", "max_tokens": 2, "temperature": 0.0}
    )

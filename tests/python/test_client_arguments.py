"""What one request brings is its own trouble: arguments that cannot be sent raise in the call, replies of wrong types
end their request, and the client's other requests go on. Against a scripted server in this process."""

import asyncio
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))
sys.path.insert(0, str(ROOT / "tests" / "python"))

import troupe  # noqa: E402
from fake_server import FakeServer, accepted, delta, finished  # noqa: E402
from troupe.wire import Frame, Kind  # noqa: E402

UNSENDABLE = [
    ({"deadline_ms": 2**70}, "deadline_ms"),
    ({"deadline_ms": -1}, "deadline_ms"),
    ({"deadline_ms": float("nan")}, "deadline_ms"),
    ({"deadline_ms": "soon"}, "deadline_ms"),
    ({"seed": 2**70}, "seed"),
    ({"priority": 2**70}, "priority"),
    ({"max_tokens": -(2**70)}, "max_tokens"),
    ({"stop": object()}, "stop"),
    ({"stop": ["\ud800"]}, "stop"),
    ({"prompt": "\ud800"}, "prompt"),
    ({"prompt": 5}, "prompt"),
    ({"prompt": ["x"]}, "prompt"),
    ({"prompt": [2**70]}, "prompt_token_ids"),
    ({"prompt": None, "messages": 5}, "messages"),
    ({"prompt": None, "messages": [{"role": object()}]}, "messages"),
    ({"prompt": "x" * (8 << 20)}, "bytes"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"logit_bias": {1: "x"}}, "logit_bias"),
    ({"lane": None}, "lane"),
    ({"lane": 5}, "lane"),
    ({"lane": "express"}, "lane"),
    ({"request_id": "two words"}, "request_id"),
    ({"request_id": "x" * 129}, "request_id"),
    ({"request_id": 5}, "request_id"),
]


def waits_for_its_turn(server, identity, frame):
    """Ends what runs when a request of id `last` comes."""
    if frame.kind != Kind.SUBMIT:
        return
    server.send(identity, accepted(frame))
    if frame.request_id == "last":
        for submitted in (Frame(Kind.SUBMIT, "other"), frame):
            server.send(identity, delta(submitted, 0, "x", finish="stop"))
            server.send(identity, finished(submitted))


@pytest.mark.parametrize("arguments, named", UNSENDABLE, ids=lambda value: str(value)[:40])
def test_what_cannot_be_sent_raises_where_it_is_said(arguments, named):
    with FakeServer(waits_for_its_turn) as server, troupe.Client(server.endpoint) as client:
        other = client.stream("hi", request_id="other")
        with pytest.raises(troupe.InvalidArgument, match=named):
            client.stream(**{"prompt": "hi", **arguments})
        assert client.generate("hi", request_id="last").text == "x"
        assert [part.text for part in other] == ["x"]


def test_async_what_cannot_be_sent_raises_where_it_is_said():
    async def main(server):
        async with troupe.AsyncClient(server.endpoint) as client:
            other = client.stream("hi", request_id="other")
            for arguments, named in UNSENDABLE:
                with pytest.raises(troupe.InvalidArgument, match=named):
                    await client.generate(**{"prompt": "hi", **arguments})
            assert (await client.generate("hi", request_id="last")).text == "x"
            assert [part.text async for part in other] == ["x"]

    with FakeServer(waits_for_its_turn) as server:
        asyncio.run(main(server))


def test_a_deadline_is_rounded_up():
    with FakeServer(waits_for_its_turn) as server, troupe.Client(server.endpoint) as client:
        stream = client.stream("hi", deadline_ms=0.25)
        assert server.expect(Kind.SUBMIT).deadline_ms == 1
        stream.close()


def test_a_request_is_what_it_was_when_it_was_sent():
    messages = [{"role": "user", "content": "x"}]
    with FakeServer(lambda *_: None) as server:
        with troupe.Client(server.endpoint, heartbeat=0.05, reconnect=0.2) as client:
            server.answer_pings = False
            stream = client.stream(messages=messages)
            assert server.expect(Kind.SUBMIT).payload == {"messages": [{"role": "user", "content": "x"}]}
            messages[0]["content"] = object()
            again = server.expect(Kind.SUBMIT)  # after the silence
            assert again.payload == {"messages": [{"role": "user", "content": "x"}]}
            stream.close()


def test_a_reply_of_wrong_types_ends_its_request_alone():
    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT and frame.request_id == "broken":
            broken = delta(frame, 0, "x")
            broken.payload["token_ids"] = 5
            server.send(identity, broken)
        else:
            waits_for_its_turn(server, identity, frame)

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        other = client.stream("hi", request_id="other")
        with pytest.raises(troupe.CorruptData, match="broken"):
            client.generate("hi", request_id="broken")
        assert server.expect(Kind.CANCEL).request_id == "broken"
        assert client.generate("hi", request_id="last").text == "x"
        assert [part.text for part in other] == ["x"]

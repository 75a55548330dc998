"""The Python client against a scripted server in this process: results, streams, repeats and gaps, cancels,
reconnects, errors and deadlines. No fixed sleeps: each wait is for a condition, with a deadline."""

import asyncio
import gc
import pathlib
import sys
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))
sys.path.insert(0, str(ROOT / "tests" / "python"))

import troupe  # noqa: E402
from fake_server import FakeServer, accepted, delta, failed, finished, raw_header  # noqa: E402
from troupe.aio import _take  # noqa: E402
from troupe.requests import RequestTable  # noqa: E402
from troupe.wire import Frame, Kind, decode  # noqa: E402


def wait_for(condition, what):
    ends_at = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_at, f"never happened: {what}"
        time.sleep(0.002)


def says(*frames):
    """A script that answers each submit with frames made of it."""

    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            for make in frames:
                server.send(identity, make(frame))

    return script


HELLO = says(
    accepted,
    lambda f: delta(f, 0, "Hel", tokens=2),
    lambda f: delta(f, 2, "lo", finish="stop"),
    finished,
)


def test_generate_collects_everything():
    with FakeServer(HELLO) as server, troupe.Client(server.endpoint) as client:
        result = client.generate("hi", max_tokens=5, stop="x", logit_bias={7: 1}, seed=None)
        assert result.text == "Hello"
        assert result.sequences[0].token_ids == [0, 1, 2]
        assert result.finish_reason == "stop"
        assert (result.prompt_tokens, result.completion_tokens, result.cached_tokens) == (3, 3, 1)
        assert (result.queue_ms, result.ttft_ms, result.e2e_ms) == (0.5, 1.5, 2.5)
        sent = server.expect(Kind.SUBMIT)
        assert sent.payload == {
            "prompt": "hi",
            "max_tokens": 5,
            "stop": ["x"],
            "logit_bias": {"7": 1.0},
        }
        assert sent.lane == "realtime" and sent.deadline_ms == 0


def test_what_is_submitted():
    with FakeServer(HELLO) as server, troupe.Client(server.endpoint) as client:
        client.generate([1, 2], lane="vip", deadline_ms=70, request_id="mine")
        sent = server.expect(Kind.SUBMIT)
        assert sent.payload == {"prompt_token_ids": [1, 2]}
        assert (sent.lane, sent.deadline_ms, sent.request_id) == ("vip", 70, "mine")
        client.generate(messages=[{"role": "user", "content": "x"}])
        assert server.expect(Kind.SUBMIT).payload == {
            "messages": [{"role": "user", "content": "x"}]
        }


def test_stream_yields_deltas_then_the_result():
    with FakeServer(HELLO) as server, troupe.Client(server.endpoint) as client:
        with client.stream("hi") as stream:
            deltas = list(stream)
        assert [(d.offset, d.text, d.token_ids) for d in deltas] == [(0, "Hel", [0, 1]), (2, "lo", [2])]
        assert stream.result.text == "Hello"
        assert list(stream) == []


def test_sequences_are_kept_apart():
    script = says(
        lambda f: delta(f, 0, "a", sequence=1),
        lambda f: delta(f, 0, "x", sequence=0, finish="stop"),
        lambda f: delta(f, 1, "b", sequence=1, finish="length"),
        finished,
    )
    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        result = client.generate("hi", n=2)
        assert [s.text for s in result.sequences] == ["x", "ab"]
        assert [s.finish_reason for s in result.sequences] == ["stop", "length"]


def test_logprobs_are_typed():
    def with_logprobs(f):
        entry = {"token_id": 5, "token": "a", "bytes": b"a", "logprob": -0.5, "rank": 1}
        frame = delta(f, 0, "a", finish="stop")
        frame.payload["logprobs"] = [{"chosen": entry, "top": [entry]}]
        return frame

    with FakeServer(says(with_logprobs, finished)) as server, troupe.Client(server.endpoint) as client:
        position = client.generate("hi", logprobs=1).sequences[0].logprobs[0]
        assert position.chosen == troupe.LogprobEntry(5, "a", b"a", -0.5, 1)
        assert position.top == [position.chosen]


def test_repeats_are_dropped():
    script = says(
        lambda f: delta(f, 0, "a"),
        lambda f: delta(f, 1, "b"),
        lambda f: delta(f, 0, "a"),
        lambda f: delta(f, 1, "b"),
        lambda f: delta(f, 2, "c", finish="stop"),
        lambda f: delta(f, 2, "c", finish="stop"),
        finished,
        finished,
    )
    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        with client.stream("hi") as stream:
            assert [d.text for d in stream] == ["a", "b", "c"]


def test_a_gap_is_resumed():
    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            server.send(identity, delta(frame, 0, "a"))
            server.send(identity, delta(frame, 3, "d"))  # 1 and 2 are lost
            server.send(identity, delta(frame, 4, "e", finish="stop"))
            server.send(identity, finished(frame))
        elif frame.kind == Kind.RESUME:
            server.send(identity, delta(frame, 1, "bc", tokens=2))
            server.send(identity, delta(frame, 3, "d"))
            server.send(identity, delta(frame, 4, "e", finish="stop"))
            server.send(identity, finished(frame))

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        assert client.generate("hi").text == "abcde"
        assert server.expect(Kind.RESUME).payload == {"offsets": [1]}


def test_an_early_finished_is_resumed():
    def script(server, identity, frame):
        server.send(identity, delta(frame, 0, "a", finish="stop"))
        if frame.kind == Kind.RESUME:
            server.send(identity, delta(frame, 0, "b", sequence=1, finish="stop"))
        server.send(identity, finished(frame))

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        assert [s.text for s in client.generate("hi", n=2).sequences] == ["a", "b"]
        assert server.expect(Kind.RESUME).payload == {"offsets": [1, 0]}


@pytest.mark.parametrize(
    "code, kind, retryable",
    [
        ("invalid_argument", troupe.InvalidArgument, False),
        ("overloaded", troupe.Overloaded, True),
        ("not_found", troupe.NotFound, False),
        ("already_exists", troupe.AlreadyExists, False),
        ("unauthorized", troupe.Unauthorized, False),
        ("permission_denied", troupe.PermissionDenied, False),
        ("rate_limited", troupe.RateLimited, True),
        ("unavailable", troupe.Unavailable, True),
        ("out_of_memory", troupe.OutOfMemory, True),
        ("slow_client", troupe.SlowClient, False),
        ("deadline_exceeded", troupe.DeadlineExceeded, True),
        ("deadline_unmeetable", troupe.DeadlineUnmeetable, True),
        ("unsupported", troupe.Unsupported, False),
        ("corrupt", troupe.CorruptData, False),
        ("aborted", troupe.Aborted, False),
        ("internal", troupe.InternalError, False), ("a_future_code", troupe.TroupeError, False),
    ],
)
def test_errors_are_typed(code, kind, retryable):
    with FakeServer(says(lambda f: failed(f, code))) as server:
        with troupe.Client(server.endpoint) as client:
            with pytest.raises(troupe.TroupeError, match="because") as caught:
                client.generate("hi")
            assert type(caught.value) is kind
            assert caught.value.code == code
            assert caught.value.retryable is retryable


def test_an_error_after_deltas_ends_the_stream():
    script = says(lambda f: delta(f, 0, "a"), lambda f: failed(f, "out_of_memory"))
    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        stream = client.stream("hi")
        assert next(stream).text == "a"
        with pytest.raises(troupe.OutOfMemory):
            next(stream)
        with pytest.raises(StopIteration):
            next(stream)


def test_an_error_without_an_id_ends_everything():
    script = says(lambda f: Frame(Kind.ERROR, payload={"code": "unauthorized", "message": "no"}))
    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        with pytest.raises(troupe.Unauthorized):
            client.generate("hi")


def test_leaving_a_stream_cancels_it():
    with FakeServer(says(lambda f: delta(f, 0, "a"))) as server:
        with troupe.Client(server.endpoint) as client:
            with client.stream("hi", request_id="r1") as stream:
                assert next(stream).text == "a"
            assert server.expect(Kind.CANCEL).request_id == "r1"
            # A stream that is dropped is cancelled as well.
            stream = client.stream("hi", request_id="r2")
            del stream
            gc.collect()
            assert server.expect(Kind.CANCEL).request_id == "r2"


def test_a_finished_stream_is_not_cancelled():
    with FakeServer(HELLO) as server, troupe.Client(server.endpoint) as client:
        with client.stream("hi") as stream:
            list(stream)
        client.generate("again")
        wait_for(lambda: server.seen.qsize() == 2, "both submits")
        assert [server.seen.get().kind for _ in range(2)] == [Kind.SUBMIT, Kind.SUBMIT]


def test_timeouts_cancel():
    with FakeServer(says(lambda f: delta(f, 0, "a"))) as server:
        with troupe.Client(server.endpoint) as client:
            with pytest.raises(troupe.DeadlineExceeded):
                client.generate("hi", timeout=0.05)
            server.expect(Kind.CANCEL)
            stream = client.stream("hi", timeout=0.05)
            assert next(stream).text == "a"
            with pytest.raises(troupe.DeadlineExceeded):
                next(stream)
            server.expect(Kind.CANCEL)


def test_closing_the_client_cancels_and_wakes_waiters():
    with FakeServer(says(accepted)) as server:
        client = troupe.Client(server.endpoint)
        stream = client.stream("hi")
        server.expect(Kind.SUBMIT)
        caught = []

        def wait():
            try:
                next(stream)
            except troupe.TroupeError as error:
                caught.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        client.close()
        waiter.join(10)
        assert isinstance(caught[0], troupe.Aborted)
        server.expect(Kind.CANCEL)
        with pytest.raises(troupe.Aborted):
            client.stream("hi")
        client.close()


def test_ping_and_stats():
    def script(server, identity, frame):
        if frame.kind == Kind.STATS:
            server.send(identity, Frame(Kind.STATS, payload={"values": {"num_requests_running": 2.0}}))

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        assert 0 < client.ping() < 10
        assert client.stats() == {"num_requests_running": 2.0}


def test_waits_for_ping_and_stats_end():
    with FakeServer(says(), answer_pings=False) as server:
        with troupe.Client(server.endpoint) as client:
            with pytest.raises(troupe.DeadlineExceeded):
                client.ping(timeout=0.05)
            with pytest.raises(troupe.DeadlineExceeded):
                client.stats(timeout=0.05)


def test_heartbeats_flow_without_requests():
    with FakeServer(says()) as server, troupe.Client(server.endpoint, heartbeat=0.02):
        wait_for(lambda: server.pings >= 5, "five pings")


def test_a_restarted_connection_is_resumed():
    """The server's socket goes away and comes back at the same address."""
    with FakeServer(says(accepted, lambda f: delta(f, 0, "a"))) as first:
        endpoint = first.endpoint
        client = troupe.Client(endpoint, heartbeat=0.05)
        stream = client.stream("hi", request_id="r")
        assert next(stream).text == "a"

    def script(server, identity, frame):
        if frame.kind == Kind.RESUME:
            server.send(identity, delta(frame, 0, "a"))
            server.send(identity, delta(frame, 1, "b", finish="stop"))
            server.send(identity, finished(frame))

    with FakeServer(script, endpoint=endpoint) as second:
        assert [d.text for d in stream] == ["b"]
        resumed = second.expect(Kind.RESUME)
        assert resumed.request_id == "r" and resumed.payload == {"offsets": [1]}
        client.close()


def test_a_submit_that_may_be_lost_is_sent_again():
    """No answer came before the connection broke; the second server has the request already."""
    with FakeServer(says()) as first:
        endpoint = first.endpoint
        client = troupe.Client(endpoint, heartbeat=0.05)
        stream = client.stream("hi")
        first.expect(Kind.SUBMIT)

    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            server.send(identity, failed(frame, "already_exists"))
        elif frame.kind == Kind.RESUME:
            server.send(identity, delta(frame, 0, "a", finish="stop"))
            server.send(identity, finished(frame))

    with FakeServer(script, endpoint=endpoint):
        assert [d.text for d in stream] == ["a"]
        client.close()


def test_a_silent_server_is_reconnected_to():
    """Silence alone, with the connection open, makes the client resume over a new one."""

    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            server.send(identity, delta(frame, 0, "a"))
        elif frame.kind == Kind.RESUME:
            server.send(identity, delta(frame, 1, "b", finish="stop"))
            server.send(identity, finished(frame))

    with FakeServer(script, answer_pings=False) as server:
        with troupe.Client(server.endpoint, heartbeat=0.05, reconnect=0.2) as client:
            assert client.generate("hi").text == "ab"


def test_a_server_that_stays_away_is_unavailable():
    with FakeServer(says()) as server:
        endpoint = server.endpoint
    with troupe.Client(endpoint, heartbeat=0.02, reconnect=0.05, give_up=0.2) as client:
        with pytest.raises(troupe.Unavailable, match="nothing was heard"):
            client.generate("hi", timeout=10)
        with pytest.raises(troupe.Unavailable):
            client.ping(timeout=10)


def test_a_lost_request_is_not_found():
    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            server.send(identity, delta(frame, 5, "?"))
        elif frame.kind == Kind.RESUME:
            server.send(identity, failed(frame, "not_found"))

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        with pytest.raises(troupe.NotFound):
            client.generate("hi")


@pytest.mark.parametrize(
    "parts",
    [
        (b"",),
        (b"\xc1", b"\x80"),
        (raw_header(1, 3, "r", 0, 0, "realtime", 0), b"\x91\x01"),
        (raw_header(2, 3, "r", 0, 0, "realtime", 0), b"\x80"),
        (raw_header(1, 3, "r"), b"\x80"),
        (raw_header(1, "3", "r", 0, 0, "realtime", 0), b"\x80"),
    ],
)
def test_corrupt_answers_are_errors(parts):
    def script(server, identity, frame):
        if frame.kind == Kind.SUBMIT:
            server.send_raw(identity, *parts)

    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        with pytest.raises(troupe.CorruptData):
            client.generate("hi")
        server.expect(Kind.CANCEL)


def test_duplicate_ids_are_refused_locally():
    with FakeServer(says(accepted)) as server, troupe.Client(server.endpoint) as client:
        stream = client.stream("hi", request_id="r")
        with pytest.raises(troupe.AlreadyExists):
            client.generate("hi", request_id="r")
        # The refusal has not touched the first.
        assert not stream._done


def test_many_threads_share_a_client():
    script = says(lambda f: delta(f, 0, f.payload["prompt"], finish="stop"), finished)
    with FakeServer(script) as server, troupe.Client(server.endpoint) as client:
        texts = {}

        def work(name):
            texts[name] = [client.generate(f"{name}-{i}").text for i in range(20)]

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert texts == {name: [f"{name}-{i}" for i in range(20)] for name in "abcd"}


def test_async_generate_stream_and_ping():
    async def main(server):
        async with troupe.AsyncClient(server.endpoint) as client:
            results = await asyncio.gather(*(client.generate("hi") for _ in range(5)))
            assert [result.text for result in results] == ["Hello"] * 5
            async with client.stream("hi") as stream:
                assert [delta.text async for delta in stream] == ["Hel", "lo"]
            assert stream.result.text == "Hello"
            assert await client.ping() > 0

    with FakeServer(HELLO) as server:
        asyncio.run(main(server))


def test_leaving_an_async_stream_cancels_it():
    async def main(server):
        async with troupe.AsyncClient(server.endpoint) as client:
            async with client.stream("hi", request_id="left") as stream:
                assert (await stream.__anext__()).text == "a"
            assert server.expect(Kind.CANCEL).request_id == "left"

    with FakeServer(says(lambda f: delta(f, 0, "a"))) as server:
        asyncio.run(main(server))


def test_async_deadlines_and_task_cancellation():
    async def main(server):
        async with troupe.AsyncClient(server.endpoint) as client:
            with pytest.raises(troupe.DeadlineExceeded):
                await client.generate("hi", timeout=0.05)
            server.expect(Kind.CANCEL)
            task = asyncio.create_task(client.generate("hi", request_id="task"))
            server.expect(Kind.SUBMIT)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.expect(Kind.CANCEL).request_id == "task"
            with pytest.raises(troupe.DeadlineExceeded):
                await client.stats(timeout=0.05)

    with FakeServer(says(accepted)) as server:
        asyncio.run(main(server))


def test_a_cancellation_that_meets_an_event_is_not_lost():
    async def main():
        queue = asyncio.Queue()
        task = asyncio.create_task(_take(queue, 10.0))
        while not queue._getters:
            await asyncio.sleep(0)
        queue.put_nowait("an event")
        await asyncio.sleep(0)  # the event is taken, and the task not yet told
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_async_errors():
    async def main(server):
        async with troupe.AsyncClient(server.endpoint) as client:
            with pytest.raises(troupe.InvalidArgument):
                await client.generate("hi")

    with FakeServer(says(lambda f: failed(f, "invalid_argument"))) as server:
        asyncio.run(main(server))


def test_frames_survive_the_wire():
    frame = Frame(Kind.DELTA, "id", 2, 7, "async", 9, {"text": "é", "token_ids": [1]})
    assert decode(frame.encode()) == frame


def test_late_frames_of_forgotten_requests_are_ignored():
    table = RequestTable()
    events = []
    submit = table.add(Frame(Kind.SUBMIT, "r", payload={"prompt": "x"}), events.append)
    assert table.cancel("r").kind == Kind.CANCEL
    assert table.cancel("r") is None
    assert table.on_frame(delta(submit, 0, "late")) is None
    assert events == [] and len(table) == 0

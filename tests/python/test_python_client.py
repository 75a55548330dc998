"""The Python client against a running `troupe serve`: both flavours, streams, cancels, typed errors, and a stream that
survives its connection.
"""
import asyncio
import threading
import time

import pytest

troupe = pytest.importorskip("troupe")

from conftest import wait_until  # noqa: E402

PROMPT = "The quick brown fox jumps over the lazy dog. The quick brown"
GREEDY = {"max_tokens": 12, "temperature": 0.0, "ignore_eos": True}
ENDLESS = {"max_tokens": 6000, "ignore_eos": True}
MESSAGES = [{"role": "user", "content": "Say hello."}]


@pytest.fixture(scope="module")
def client(server):
    with troupe.Client(server.zmq, timeout=60) as made:
        yield made


@pytest.fixture(autouse=True)
def leaves_nothing_behind(client):
    yield
    wait_until(lambda: is_idle(client), what="an idle server")


def is_idle(client):
    now = client.stats()
    return not (now["num_requests_running"] or now["num_requests_waiting"] or now["kv_cache_usage_perc"])


def with_async_client(server, use, **options):
    async def run():
        async with troupe.AsyncClient(server.zmq, timeout=60, **options) as client:
            return await use(client)

    return asyncio.run(run())


def test_generate(client):
    result = client.generate(PROMPT, **GREEDY)
    assert result.text and result.finish_reason == "length"
    assert result.completion_tokens == len(result.sequences[0].token_ids) == 12
    assert result.prompt_tokens > 0
    assert client.generate(PROMPT, **GREEDY).sequences[0].token_ids == result.sequences[0].token_ids


def test_stream_says_what_generate_says(client):
    whole = client.generate(PROMPT, **GREEDY)
    with client.stream(PROMPT, **GREEDY) as stream:
        deltas = list(stream)
    assert "".join(delta.text for delta in deltas) == whole.text == stream.result.text
    assert len(deltas) > 1
    assert [delta.offset for delta in deltas] == list(range(len(deltas)))


def test_chat_and_sequences(client):
    assert client.generate(messages=MESSAGES, max_tokens=6, temperature=0.0).text
    several = client.generate(PROMPT, n=3, max_tokens=8, seed=2)
    assert len(several.sequences) == 3
    assert len({tuple(sequence.token_ids) for sequence in several.sequences}) > 1


def test_logprobs(client):
    result = client.generate(PROMPT, max_tokens=3, temperature=0.0, logprobs=2)
    for token_id, position in zip(result.sequences[0].token_ids, result.sequences[0].logprobs, strict=True):
        assert position.chosen.token_id == token_id
        assert len(position.top) == 2 and position.top[0].logprob == position.chosen.logprob


def test_an_echo_without_output_scores_the_prompt(client):
    result = client.generate(PROMPT, max_tokens=0, echo=True, prompt_logprobs=1)
    assert (result.text, result.finish_reason, result.completion_tokens) == (PROMPT, "length", 0)
    assert len(result.sequences[0].prompt_logprobs) == result.prompt_tokens - 1


def test_leaving_a_stream_cancels_it(client):
    with client.stream(PROMPT, **ENDLESS) as stream:
        next(stream)
        assert client.stats()["num_requests_running"] == 1
    wait_until(lambda: is_idle(client), 10, "the end of the request")


def test_ping_and_stats(client):
    assert 0 < client.ping() < 5
    assert client.stats()["num_requests_running"] == 0


@pytest.mark.parametrize("arguments, error", [
    ({"temperature": -1.0}, troupe.InvalidArgument),
    ({"max_tokenz": 5}, troupe.InvalidArgument),
    ({"model": "no-such-model"}, troupe.NotFound),
    ({"deadline_ms": 200, **ENDLESS}, troupe.DeadlineUnmeetable),
    ({"lane": "express"}, troupe.InvalidArgument),
    ({"request_id": "two words"}, troupe.InvalidArgument),
])
def test_typed_errors(server, arguments, error):
    with troupe.Client(server.zmq, timeout=60) as own, pytest.raises(error) as raised:
        own.generate(PROMPT, **arguments)
    assert raised.value.message
    assert isinstance(raised.value, troupe.TroupeError)


def test_an_id_in_use(client):
    with client.stream(PROMPT, request_id="used-once", **GREEDY) as stream:
        for _ in stream:
            pass
    with pytest.raises(troupe.AlreadyExists):
        client.generate(PROMPT, request_id="used-once", **GREEDY)


def test_nobody_answers():
    with troupe.Client("tcp://127.0.0.1:1", timeout=30, give_up=1.0, heartbeat=0.2) as lonely:
        with pytest.raises(troupe.Unavailable):
            lonely.generate(PROMPT, **GREEDY)


def test_streams_of_many_threads(client):
    prompts = [f"Item number {i}:" for i in range(8)]
    alone = [client.generate(prompt, **GREEDY).text for prompt in prompts]
    together = [None] * len(prompts)

    def run(i):
        with client.stream(prompts[i], **GREEDY) as stream:
            together[i] = "".join(delta.text for delta in stream)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert together == alone


def test_async_streams(server, client):
    prompts = [f"Item number {i}:" for i in range(20)]
    alone = [client.generate(prompt, **GREEDY).text for prompt in prompts]

    async def use(own):
        async def one(prompt):
            async with own.stream(prompt, **GREEDY) as stream:
                return "".join([delta.text async for delta in stream])

        return await asyncio.gather(*(one(prompt) for prompt in prompts))

    assert with_async_client(server, use) == alone


def test_async_cancel_and_errors(server, client):
    async def use(own):
        task = asyncio.create_task(own.generate(PROMPT, **ENDLESS))
        while (await own.stats())["num_requests_running"] != 1:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(troupe.InvalidArgument):
            await own.generate(PROMPT, top_p=7.0)
        return (await own.generate(PROMPT, **GREEDY)).text

    assert with_async_client(server, use) == client.generate(PROMPT, **GREEDY).text


class Relay:
    """Passes TCP on between a client and the server, until it is told to cut every connection."""

    def __init__(self, target: str):
        self._target = target.removeprefix("tcp://").split(":")
        self._ready = threading.Event()
        self.connection_count = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def cut(self):
        """Closes what is open; new connections are served."""
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in self._writers])

    def stop(self):
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    async def _run(self):
        self._loop, self._stopped, self._writers = asyncio.get_running_loop(), asyncio.Event(), []
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        self.connection_count += 1
        try:
            to_server = await asyncio.open_connection(*self._target)
            self._writers += [writer, to_server[1]]
            await asyncio.gather(self._pass(reader, to_server[1]), self._pass(to_server[0], writer))
        except (OSError, asyncio.CancelledError):
            pass

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()


def test_streams_survive_a_broken_connection(server, client):
    """The connection is cut again and again; the streams read as if nothing had been."""
    fields = {"temperature": 0.0, "ignore_eos": True, "max_tokens": 100}
    whole = client.generate(PROMPT, **fields)
    relay = Relay(server.zmq)
    try:
        with troupe.Client(relay.endpoint, timeout=60) as fragile, fragile.stream(PROMPT, **fields) as stream:
            deltas = []
            for delta in stream:
                deltas.append(delta)
                if len(deltas) in (5, 30, 60):
                    relay.cut()
            assert "".join(delta.text for delta in deltas) == whole.text
            assert [delta.offset for delta in deltas] == list(range(100))
            assert stream.result.completion_tokens == 100
        assert relay.connection_count >= 2
    finally:
        relay.stop()


def test_closing_cancels_everything(server, client):
    own = troupe.Client(server.zmq, timeout=60)
    streams = [own.stream(PROMPT, **ENDLESS) for _ in range(3)]
    next(streams[0])
    began = time.monotonic()
    own.close()
    assert time.monotonic() - began < 5
    with pytest.raises(troupe.Aborted):
        for _ in streams[1]:
            pass
    wait_until(lambda: is_idle(client), 10, "the end of the requests")

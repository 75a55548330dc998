"""The ZeroMQ wire of a running `troupe serve`, driven by a client written from docs/protocol.md alone: the life of a
request, resuming, heartbeats, clients that vanish or read too slowly, and every kind of bad input.
"""
import json
import os
import signal
import subprocess
import sys
import time

import msgpack
import pytest
import zmq

from bare_wire import (
    ACCEPTED, CANCEL, DELTA, ERROR, FINISHED, PING, PONG, RESUME, STATS, SUBMIT, Message, Reply, Wire, new_id)
from conftest import known_flags, running_server, wait_until

PROMPT = "The quick brown fox jumps over the lazy dog. The quick brown"
GREEDY = {"prompt": PROMPT, "max_tokens": 8, "temperature": 0.0}
#: Runs for far longer than any test.
ENDLESS = {"prompt": PROMPT, "max_tokens": 6000, "ignore_eos": True, "seed": 1}


@pytest.fixture
def wire(server):
    with Wire(server.zmq) as client:
        yield client


@pytest.fixture(autouse=True)
def leaves_nothing_behind(server):
    """After each test the server is idle, all of its blocks are free, and it still serves."""
    yield
    with Wire(server.zmq) as observer:
        wait_until(observer.is_idle, what="an idle server")
        assert observer.generate(prompt="x", max_tokens=1).finished["completion_tokens"] == 1


def read_deltas(wire: Wire, request_id: str, count: int) -> list[Message]:
    """The first deltas of a request that goes on."""
    deltas = []
    while len(deltas) < count:
        message = wire.receive()
        if message.request_id == request_id and message.kind == DELTA:
            deltas.append(message)
    return deltas


# The life of a request.


def test_a_request_from_submit_to_finished(wire):
    reply = wire.generate(**GREEDY)
    assert reply.accepted["prompt_tokens"] == reply.finished["prompt_tokens"] > 0
    assert reply.finished["completion_tokens"] == len(reply.tokens[0]) <= 8
    assert reply.reasons[0] in ("stop", "length")
    assert 0 <= reply.finished["queue_ms"] <= reply.finished["ttft_ms"] <= reply.finished["e2e_ms"]
    assert reply.delta_count > 1, "it streams"
    again = wire.generate(**GREEDY)
    assert (again.text, again.tokens) == (reply.text, reply.tokens)


def test_token_ids_are_the_prompt(wire, server):
    import httpx
    ids = httpx.post(f"{server.http}/tokenize", json={"prompt": PROMPT}, timeout=30).json()["tokens"]
    by_ids = wire.generate(**{**GREEDY, "prompt": None, "prompt_token_ids": ids})
    by_text = wire.generate(**GREEDY)
    assert (by_ids.text, by_ids.tokens) == (by_text.text, by_text.tokens)


def test_messages(wire):
    reply = wire.generate(messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0.0)
    assert reply.text
    assert reply.finished["completion_tokens"] <= 8


def test_sequences_of_one_request(wire):
    reply = wire.generate(prompt=PROMPT, n=2, max_tokens=12, seed=3, ignore_eos=True)
    assert set(reply.tokens) == {0, 1}
    assert reply.tokens[0] != reply.tokens[1]
    assert reply.finished["completion_tokens"] == 24
    assert reply.finished["finish_reasons"] == ["length", "length"]


def test_seed_repeats(wire):
    def draw(seed):
        return wire.generate(prompt=PROMPT, max_tokens=12, seed=seed).tokens[0]

    assert draw(11) == draw(11)
    assert len({tuple(draw(seed)) for seed in range(4)}) > 1


def test_logprobs_have_exact_bytes(wire):
    wire.submit("logprobs", prompt="naïve 東京", max_tokens=4, temperature=0.0, logprobs=2, prompt_logprobs=1)
    deltas = []
    while (message := wire.receive()).kind != FINISHED:
        if message.kind == DELTA:
            deltas.append(message.payload)
        else:
            assert message.kind == ACCEPTED, message
            prompt_tokens = message.payload["prompt_tokens"]
    assert len(deltas[0]["prompt_logprobs"]) == prompt_tokens - 1
    for delta in deltas:
        for token_id, position in zip(delta["token_ids"], delta["logprobs"], strict=True):
            assert position["chosen"]["token_id"] == token_id
            assert position["chosen"]["rank"] == 1, "greedy takes the most probable"
            assert isinstance(position["chosen"]["bytes"], bytes)
            assert position["chosen"]["logprob"] <= 0


def test_every_lane_serves(wire):
    ids = {lane: new_id() for lane in ("vip", "realtime", "async")}
    for lane, request_id in ids.items():
        wire.submit(request_id, lane=lane, **GREEDY)
    replies = wire.collect(*ids.values())
    assert len({reply.text for reply in replies}) == 1
    assert all(reply.finished for reply in replies)


def test_lane_comes_back_in_the_header(wire):
    wire.submit("vip", lane="vip", **GREEDY)
    while (message := wire.receive()).kind != FINISHED:
        assert message.lane == "vip"
    assert message.lane == "vip"


def test_many_requests_of_one_client(wire):
    ids = [new_id() for _ in range(20)]
    for request_id in ids:
        wire.submit(request_id, **GREEDY)
    assert len({reply.text for reply in wire.collect(*ids)}) == 1


def test_cancel(wire):
    wire.submit("cancel", **ENDLESS)
    read_deltas(wire, "cancel", 2)
    wire.send(CANCEL, "cancel")
    assert wire.receive_of(ERROR, FINISHED).payload["code"] == "aborted"


def test_cancel_right_behind_submit(wire):
    ids = [new_id() for _ in range(20)]
    for request_id in ids:
        wire.submit(request_id, **ENDLESS)
        wire.send(CANCEL, request_id)
    assert [reply.code for reply in wire.collect(*ids)] == ["aborted"] * 20


def test_cancel_of_an_unknown_request(wire):
    wire.send(CANCEL, "nobody")
    answer = wire.receive()
    assert (answer.kind, answer.request_id, answer.payload["code"]) == (ERROR, "nobody", "not_found")


def test_cancel_of_a_finished_request_says_nothing(wire):
    wire.generate("done", **GREEDY)
    wire.send(CANCEL, "done")
    wire.send(PING, payload={"nonce": 1})
    assert wire.receive().kind == PONG


def test_deadline(wire):
    began = time.monotonic()
    reply = wire.generate(deadline_ms=300, **ENDLESS)
    assert reply.code == "deadline_exceeded"
    assert 0.3 <= time.monotonic() - began < 10


def test_an_id_in_use_is_refused_and_the_first_goes_on(wire):
    wire.submit("twice", **{**GREEDY, "ignore_eos": True})
    wire.submit("twice", **GREEDY)
    messages = []
    while not messages or messages[-1].kind != FINISHED:
        messages.append(wire.receive())
    refusals = [message for message in messages if message.kind == ERROR]
    assert [refusal.payload["code"] for refusal in refusals] == ["already_exists"]
    reply = Reply("twice")
    for message in messages:
        if message.kind != ERROR:
            reply.take(message)
    assert reply.finished["completion_tokens"] == 8
    wire.submit("twice", **GREEDY)
    assert wire.receive().payload["code"] == "already_exists", "its terminal reply is still kept"


def test_two_clients_with_one_id(server, wire):
    """Ids belong to the tenant: the second is refused, and the first client's stream is its own."""
    with Wire(server.zmq) as other:
        wire.submit("shared", **{**GREEDY, "ignore_eos": True})
        wire.receive_of(ACCEPTED)
        other.submit("shared", **GREEDY)
        refusal = other.receive()
        assert (refusal.kind, refusal.payload["code"]) == (ERROR, "already_exists")
        assert wire.collect("shared")[0].finished["completion_tokens"] == 8


# Pings and stats.


def test_ping(wire):
    for nonce in (0, 7, 2**63):
        wire.send(PING, payload={"nonce": nonce})
        answer = wire.receive()
        assert (answer.kind, answer.request_id, answer.payload.get("nonce", 0)) == (PONG, "", nonce)


def test_stats_count(wire):
    before = wire.stats()
    tokens = wire.generate(**{**GREEDY, "ignore_eos": True}).finished["completion_tokens"]
    after = wait_until(lambda: (now := wire.stats())["request_success_total"]
                       > before["request_success_total"] and now, what="the end of the request")
    assert after["generation_tokens_total"] - before["generation_tokens_total"] == tokens == 8


# Resuming.


@pytest.mark.parametrize("same_routing_id", [True, False])
def test_resume_in_the_middle(server, wire, same_routing_id):
    """The connection is closed and a new one reads on; the whole is what one connection reads."""
    fields = {**GREEDY, "max_tokens": 80, "ignore_eos": True}
    whole = wire.generate(**fields)
    request_id = new_id()
    first = Wire(server.zmq)
    first.submit(request_id, **fields)
    seen = read_deltas(first, request_id, 5)
    first.close()
    with Wire(server.zmq, routing_id=first.routing_id if same_routing_id else None) as second:
        second.send(RESUME, request_id, {"offsets": [3]})
        messages = []
        while not messages or messages[-1].kind not in (FINISHED, ERROR):
            messages.append(second.receive())
    assert messages[-1].kind == FINISHED, messages[-1]
    # Deltas that went out before the resume was read may come in front: a client drops them by offset.
    tokens, text = [], ""
    for message in [*seen[:3], *messages]:
        if message.kind == DELTA and message.offset == len(tokens):
            tokens += message.payload["token_ids"]
            text += message.payload.get("text", "")
    assert (tokens, text) == (whole.tokens[0], whole.text)


def test_resume_after_the_end(server, wire):
    whole = wire.generate("ended", n=2, prompt=PROMPT, max_tokens=10, seed=4, ignore_eos=True)
    with Wire(server.zmq) as other:
        other.send(RESUME, "ended", {"offsets": [4]})
        rest = other.collect("ended", offsets=[4, 0])[0]
    assert rest.tokens == {0: whole.tokens[0][4:], 1: whole.tokens[1]}
    assert rest.finished == whole.finished
    wire.send(RESUME, "ended", {"offsets": [10, 10]})
    assert wire.receive_of(FINISHED).payload == whole.finished


def test_resume_takes_the_stream_over(server, wire):
    wire.submit("moved", **ENDLESS)
    read_deltas(wire, "moved", 2)
    with Wire(server.zmq) as other:
        other.send(RESUME, "moved", {})
        deltas = read_deltas(other, "moved", 8)
        assert [delta.offset for delta in deltas] == list(range(8))
        wire.close()
        read_deltas(other, "moved", 8)
        other.send(CANCEL, "moved")
        assert other.receive_of(ERROR).payload["code"] == "aborted"


def test_resume_of_a_request_that_still_waits_or_prepares(server, wire):
    """A resume right behind the submit, from another connection, gets the stream from its start."""
    with Wire(server.zmq) as other:
        ids = [new_id() for _ in range(10)]
        for request_id in ids:
            wire.submit(request_id, **GREEDY)
        wire.receive_of(ACCEPTED)  # the submits have arrived: one connection keeps its order
        for request_id in reversed(ids):
            other.send(RESUME, request_id, {})
        texts = {}
        finished = set()
        while len(finished) < len(ids):
            message = other.receive()
            if message.kind == DELTA and message.offset == texts.get(message.request_id, (0, ""))[0]:
                count, text = texts.get(message.request_id, (0, ""))
                texts[message.request_id] = (count + 1, text + message.payload.get("text", ""))
            assert message.kind != ERROR, message
            if message.kind == FINISHED:
                finished.add(message.request_id)
        assert len(set(texts.values())) == 1


def test_resume_of_an_unknown_request(wire):
    wire.send(RESUME, "never-seen", {"offsets": [1]})
    answer = wire.receive()
    assert (answer.kind, answer.request_id, answer.payload["code"]) == (ERROR, "never-seen", "not_found")


# Bad input: always one clear error, and the connection goes on.

HEADER = [1, SUBMIT, "bad", 0, 0, "realtime", 0]
PAYLOAD = {"prompt": "x", "max_tokens": 1}


def with_field(index, value):
    return msgpack.packb([*HEADER[:index], value, *HEADER[index + 1:]])


def one_error(wire, *frames) -> Message:
    """Sends it, and checks that exactly one message comes back: an error with a code and a message."""
    wire.send_raw(*frames)
    answer = wire.receive()
    assert answer.kind == ERROR, answer
    assert answer.payload["message"]
    wire.send(PING, payload={"nonce": 99})
    after = wire.receive()
    assert (after.kind, after.payload) == (PONG, {"nonce": 99}), "exactly one answer"
    return answer


GOOD_HEADER, GOOD_PAYLOAD = msgpack.packb(HEADER), msgpack.packb(PAYLOAD)

BAD_FRAMES = {
    "one frame": ([GOOD_HEADER], "corrupt"),
    "three frames": ([GOOD_HEADER, GOOD_PAYLOAD, b""], "corrupt"),
    "twenty frames": ([GOOD_HEADER] * 20, "corrupt"),
    "empty frames": ([b"", b""], "corrupt"),
    "delimiter in front": ([b"", GOOD_HEADER, GOOD_PAYLOAD], "corrupt"),
    "header is noise": ([b"\xc1\xff\x00", GOOD_PAYLOAD], "corrupt"),
    "header is cut": ([GOOD_HEADER[:-2], GOOD_PAYLOAD], "corrupt"),
    "header goes on": ([GOOD_HEADER + b"\x00", GOOD_PAYLOAD], "corrupt"),
    "header is a map": ([msgpack.packb({"version": 1}), GOOD_PAYLOAD], "corrupt"),
    "header is short": ([msgpack.packb(HEADER[:6]), GOOD_PAYLOAD], "corrupt"),
    "header is long": ([msgpack.packb([*HEADER, 0]), GOOD_PAYLOAD], "corrupt"),
    "header claims 2^32 elements": ([b"\xdd\xff\xff\xff\xff", GOOD_PAYLOAD], "corrupt"),
    "header of 513 bytes": ([with_field(2, "x" * 490), GOOD_PAYLOAD], "corrupt"),
    "header of 100 kB": ([b"\x97" + b"\x00" * 100_000, GOOD_PAYLOAD], "corrupt"),
    "version 2": ([with_field(0, 2), GOOD_PAYLOAD], "unsupported"),
    "version is text": ([with_field(0, "1"), GOOD_PAYLOAD], "corrupt"),
    "kind 0": ([with_field(1, 0), GOOD_PAYLOAD], "unsupported"),
    "kind 11": ([with_field(1, 11), GOOD_PAYLOAD], "unsupported"),
    "kind is negative": ([with_field(1, -1), GOOD_PAYLOAD], "corrupt"),
    "kind is a float": ([with_field(1, 1.0), GOOD_PAYLOAD], "corrupt"),
    "a server's kind": ([with_field(1, DELTA), msgpack.packb({})], "invalid_argument"),
    "no id": ([with_field(2, ""), GOOD_PAYLOAD], "corrupt"),
    "id with a space": ([with_field(2, "a b"), GOOD_PAYLOAD], "corrupt"),
    "id with a newline": ([with_field(2, "a\n"), GOOD_PAYLOAD], "corrupt"),
    "id beyond ASCII": ([with_field(2, "é"), GOOD_PAYLOAD], "corrupt"),
    "id of 129 bytes": ([with_field(2, "x" * 129), GOOD_PAYLOAD], "corrupt"),
    "id is a number": ([with_field(2, 5), GOOD_PAYLOAD], "corrupt"),
    "id is nil": ([with_field(2, None), GOOD_PAYLOAD], "corrupt"),
    "negative offset": ([with_field(4, -1), GOOD_PAYLOAD], "corrupt"),
    "unknown lane": ([with_field(5, "express"), GOOD_PAYLOAD], "unsupported"),
    "deadline is negative": ([with_field(6, -1), GOOD_PAYLOAD], "corrupt"),
    "deadline too far": ([with_field(6, 604_800_001), GOOD_PAYLOAD], "corrupt"),
    "payload is empty": ([GOOD_HEADER, b""], "corrupt"),
    "payload is noise": ([GOOD_HEADER, b"\xc1" * 30], "corrupt"),
    "payload is cut": ([GOOD_HEADER, GOOD_PAYLOAD[:-1]], "corrupt"),
    "payload goes on": ([GOOD_HEADER, GOOD_PAYLOAD + b"\xc0"], "corrupt"),
    "payload is deep": ([GOOD_HEADER, b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0"], "invalid_argument"),
    "payload claims 2^32 elements": ([GOOD_HEADER, b"\x81\xa6prompt\xdd\xff\xff\xff\xff"], "corrupt"),
    "payload is an array": ([GOOD_HEADER, msgpack.packb([1])], "invalid_argument"),
    "keys are numbers": ([GOOD_HEADER, msgpack.packb({1: "x"})], "invalid_argument"),
    "text is not UTF-8": ([GOOD_HEADER, b"\x81\xa6prompt\xa2\xff\xfe"], None),
    "text is bin": ([GOOD_HEADER, msgpack.packb({"prompt": b"x"})], "invalid_argument"),
    "an extension type": ([GOOD_HEADER, msgpack.packb({"prompt": msgpack.ExtType(5, b"x")})], None),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames(wire, name):
    frames, code = BAD_FRAMES[name]
    answer = one_error(wire, *frames)
    assert answer.payload["code"] in ((code,) if code else ("corrupt", "invalid_argument")), answer.payload
    is_header_good = len(frames) == 2 and frames[0] in (GOOD_HEADER, with_field(1, DELTA))
    assert answer.request_id == ("bad" if is_header_good else ""), "an error names its request where it can"


BAD_FIELDS = {
    "no prompt": {"prompt": None},
    "two prompts": {"prompt_token_ids": [1]},
    "three prompts": {"prompt_token_ids": [1], "messages": [{"role": "user", "content": "x"}]},
    "empty prompt": {"prompt": ""},
    "no token ids": {"prompt": None, "prompt_token_ids": []},
    "id beyond the vocabulary": {"prompt": None, "prompt_token_ids": [10**6]},
    "negative id": {"prompt": None, "prompt_token_ids": [-1]},
    "huge id": {"prompt": None, "prompt_token_ids": [2**40]},
    "ids are floats": {"prompt": None, "prompt_token_ids": [1.0]},
    "prompt is a number": {"prompt": 7},
    "prompt longer than the context": {"prompt": "word " * 100_000},
    "prompt beyond its bytes": {"prompt": "x" * (2_097_152 + 1)},
    "messages are text": {"prompt": None, "messages": "hello"},
    "messages are texts": {"prompt": None, "messages": ["hello"]},
    "tools without messages": {"tools": [{"name": "f"}]},
    "unknown model": {"model": "no-such-model"},
    "n is 0": {"n": 0},
    "n is 17": {"n": 17},
    "n without sampling": {"n": 2, "temperature": 0},
    "max_tokens is 0": {"max_tokens": 0},
    "max_tokens is negative": {"max_tokens": -5},
    "max_tokens is a float": {"max_tokens": 5.0},
    "max_tokens is text": {"max_tokens": "5"},
    "max_tokens is a bool": {"max_tokens": True},
    "max_tokens beyond the context": {"max_tokens": 10**9},
    "min_tokens above max_tokens": {"min_tokens": 2},
    "temperature is NaN": {"temperature": float("nan")},
    "temperature is infinite": {"temperature": float("inf")},
    "temperature is negative": {"temperature": -0.5},
    "temperature is nil": {"temperature": None},
    "top_p is 0": {"top_p": 0.0},
    "top_p is NaN": {"top_p": float("nan")},
    "top_k is -2": {"top_k": -2},
    "min_p is 2": {"min_p": 2.0},
    "repetition_penalty is 0": {"repetition_penalty": 0.0},
    "presence_penalty is 3": {"presence_penalty": 3.0},
    "priority is huge": {"priority": 10**9},
    "logit_bias names no token": {"logit_bias": {"x": 1.0}},
    "logit_bias beyond the vocabulary": {"logit_bias": {"1000000": 1.0}},
    "logit_bias is NaN": {"logit_bias": {"5": float("nan")}},
    "logprobs are 21": {"logprobs": 21},
    "stop is empty": {"stop": [""]},
    "stop is text": {"stop": "x"},
    "stop is long": {"stop": ["x" * 257]},
    "stops are many": {"stop": ["x"] * 17},
    "stop id beyond the vocabulary": {"stop_token_ids": [10**6]},
    "echo with messages": {"prompt": None, "messages": [{"role": "user", "content": "x"}], "echo": True},
}
#: What the message must say, where it is not the field that the case names first.
NAMED_OTHERWISE = {"unknown model": "no-such-model", "id beyond the vocabulary": "id", "negative id": "id",
                   "huge id": "id", "n without sampling": "greedy", "prompt longer than the context": "context",
                   "max_tokens beyond the context": "max_tokens"}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_fields(wire, name):
    payload = {key: value for key, value in {**PAYLOAD, **BAD_FIELDS[name]}.items()
               if not (key == "prompt" and value is None)}
    answer = one_error(wire, GOOD_HEADER, msgpack.packb(payload))
    assert answer.request_id == "bad"
    assert answer.payload["code"] == ("not_found" if name == "unknown model" else "invalid_argument"), answer
    words = {"prompt", *BAD_FIELDS[name]} if name not in NAMED_OTHERWISE else {NAMED_OTHERWISE[name]}
    assert any(word in answer.payload["message"] for word in words), answer.payload["message"]


@pytest.mark.parametrize("kind", [SUBMIT, CANCEL, RESUME, PING, STATS])
def test_unknown_keys_are_named(wire, kind):
    header = msgpack.packb([1, kind, "bad" if kind in (SUBMIT, CANCEL, RESUME) else "", 0, 0, "realtime", 0])
    answer = one_error(wire, header, msgpack.packb({"max_tokenz": 5}))
    assert answer.payload["code"] == "invalid_argument"
    assert "max_tokenz" in answer.payload["message"]
    if kind == SUBMIT:
        assert "max_tokens" in answer.payload["message"], "and the likely one is suggested"


@pytest.mark.parametrize("offsets", [-1, [-1], ["x"], [1.5], {"0": 1}])
def test_bad_offsets(wire, offsets):
    header = msgpack.packb([1, RESUME, "bad", 0, 0, "realtime", 0])
    answer = one_error(wire, header, msgpack.packb({"offsets": offsets}))
    assert answer.payload["code"] == "invalid_argument"
    assert "offsets" in answer.payload["message"]


def test_a_refused_id_can_be_used_again(wire):
    one_error(wire, GOOD_HEADER, msgpack.packb({**PAYLOAD, "temperature": -1}))
    assert wire.generate("bad", **PAYLOAD).finished


def test_payload_of_9_mb(wire):
    answer = one_error(wire, GOOD_HEADER, msgpack.packb({"prompt": "x" * (9 << 20)}))
    assert answer.payload["code"] in ("corrupt", "invalid_argument")
    assert answer.request_id == "bad"


def test_a_payload_beyond_all_measure_costs_only_its_own_connection(server, wire):
    with Wire(server.zmq) as hostile:
        hostile.send_raw(GOOD_HEADER, b"\x00" * (40 << 20))
        assert wire.generate(**GREEDY).finished


def test_a_req_socket_is_told_what_to_use(server):
    with Wire(server.zmq, socket_type=zmq.REQ, REQ_CORRELATE=0) as request:
        request.send_raw(GOOD_HEADER, GOOD_PAYLOAD)
        # The answer has no delimiter, so that a REQ socket drops it; the server must not mind.
        assert not request.socket.poll(200)


# Clients that vanish, fall silent, or do not read.


def test_a_closed_client_frees_its_blocks(server, wire):
    client = Wire(server.zmq)
    for _ in range(3):
        client.submit(new_id(), **ENDLESS)
    client.receive_of(DELTA)
    assert wire.stats()["kv_cache_usage_perc"] > 0
    client.close()
    wait_until(wire.is_idle, 10, "free blocks")


KILLED_CLIENT = """
import sys
sys.path.insert(0, sys.argv[2])
from bare_wire import DELTA, Wire
client = Wire(sys.argv[1])
client.submit("killed", prompt="x", max_tokens=6000, ignore_eos=True)
client.receive_of(DELTA)
print("streams", flush=True)
while True:
    client.receive()
"""


def test_a_killed_client_frees_its_blocks(server, wire):
    here = os.path.dirname(os.path.abspath(__file__))
    process = subprocess.Popen([sys.executable, "-c", KILLED_CLIENT, server.zmq, here],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "streams"
        assert wire.stats()["num_requests_running"] == 1
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        wait_until(wire.is_idle, 10, "free blocks")
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


def test_a_closed_client_loses_what_waits_too(server, wire):
    """More requests than run at once: the waiting ones send nothing, and go all the same."""
    client = Wire(server.zmq)
    for _ in range(300):
        client.submit(new_id(), **ENDLESS)
    client.receive_of(DELTA)
    client.close()
    wait_until(wire.is_idle, 20, "free blocks and queues")


def test_the_server_pings_a_quiet_client(wire):
    """A client that sends no pings is never taken for silent: the server asks, and any answer will do."""
    wire.submit("quiet", **ENDLESS)
    deadline = time.monotonic() + 15
    while wire.server_pings < 2:
        assert time.monotonic() < deadline
        assert wire.receive().kind in (ACCEPTED, DELTA)
    wire.send(CANCEL, "quiet")
    assert wire.receive_of(ERROR).payload["code"] == "aborted"


@pytest.fixture(scope="module")
def impatient_server(server):
    """A server with a short client_timeout_ms, where that can be set; else the shared one."""
    if "--client-timeout-ms" not in known_flags("serve") or "--heartbeat-ms" not in known_flags("serve"):
        yield server, 10.0
        return
    with running_server("--client-timeout-ms", "1500", "--heartbeat-ms", "500") as started:
        yield started, 1.5


def test_a_client_that_pinged_and_fell_silent_is_dropped(impatient_server):
    """Both clients have pinged and read all the time; the one that goes on pinging is kept."""
    server, client_timeout = impatient_server
    with Wire(server.zmq) as silent, Wire(server.zmq) as kept:
        for client, request_id in ((silent, "silent"), (kept, "kept")):
            client.send(PING, payload={"nonce": 1})
            client.submit(request_id, **ENDLESS)
            client.receive_of(DELTA)
        fell_silent = time.monotonic()
        while kept.stats()["num_requests_running"] == 2:
            kept.send(PING, payload={"nonce": 2})
            assert kept.receive_of(PONG, ERROR).kind == PONG
            while silent.socket.poll(20):
                silent.socket.recv_multipart()  # pings too, unanswered
            assert time.monotonic() - fell_silent < client_timeout + 15
        assert time.monotonic() - fell_silent > client_timeout * 0.8
        kept.send(CANCEL, "kept")
        assert kept.receive_of(ERROR).request_id == "kept"


SLOW_CLIENT = """
import json, sys, time
sys.path.insert(0, sys.argv[2])
from bare_wire import ERROR, RESUME, Wire, new_id
client = Wire(sys.argv[1], RCVBUF=4096)
ids = [new_id() for _ in range(50)]
for request_id in ids:
    # Logprobs make the replies large.
    client.submit(request_id, prompt="Once upon", max_tokens=6000, ignore_eos=True, logprobs=20)
client.receive()
print("asked", flush=True)
codes = {}
deadline = time.monotonic() + 60
while len(codes) < len(ids) and time.monotonic() < deadline:
    if not client.socket.poll(3000):
        # Stopped for so long that libzmq's heartbeats gave the connection up: what was said is read again.
        for request_id in set(ids) - codes.keys():
            client.send(RESUME, request_id, {"offsets": [10**6]})
        continue
    message = client.receive()
    if message.kind == ERROR:
        codes[message.request_id] = message.payload["code"]
again = client.generate(prompt="x", max_tokens=1)
print(json.dumps([len(codes), sorted(set(codes.values())), again.code]), flush=True)
"""


def test_a_slow_reader_harms_nobody(server, wire):
    """Fifty streams of a stopped process: they are cancelled, others go on, and the reader is told when it wakes."""
    here = os.path.dirname(os.path.abspath(__file__))
    process = subprocess.Popen([sys.executable, "-c", SLOW_CLIENT, server.zmq, here],
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().strip() == "asked"
        wait_until(lambda: wire.stats()["num_requests_running"] > 1, what="running requests")
        process.send_signal(signal.SIGSTOP)
        assert wire.generate(lane="vip", **GREEDY).finished
        wait_until(wire.is_idle, 90, "the end of the slow client's requests")
        process.send_signal(signal.SIGCONT)
        count, codes, again = json.loads(process.communicate(timeout=120)[0])
        assert count == 50 and again is None
        # On a machine so busy that a MiB of replies takes 10 s, the heartbeats come first.
        assert codes in (["slow_client"], ["aborted"])
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()

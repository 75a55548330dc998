"""The ZeroMQ wire of a running `troupe serve`, driven by a client written from docs/protocol.md alone: the life of a
request, resuming, heartbeats, clients that vanish or read too slowly. Bad input: test_wire_bad_input.py.
"""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bare_wire import (
    ACCEPTED, CANCEL, DELTA, ERROR, FINISHED, PING, PONG, RESUME, Message, Reply, Wire, new_id)
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


def test_a_deadline_that_cannot_be_met_is_refused_with_the_estimate(wire):
    wire.generate(**GREEDY)  # steps are measured from now on
    began = time.monotonic()
    reply = wire.generate(deadline_ms=1000, **ENDLESS)
    assert reply.code == "deadline_unmeetable"
    assert "expected to finish after" in reply.terminal.payload["message"]
    assert time.monotonic() - began < 0.9


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
            while silent.socket.poll(1):  # empty soon: waiting longer would find the next delta, for ever
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


def test_readers_that_are_back_get_all_in_order():
    """Two clients read nothing until far more replies wait for them than sockets and pipes hold, then everything."""
    count = 30_000
    # Unread heartbeats are unanswered ones: on a machine that stands still at times, ten seconds of them are too few.
    with running_server("--client-timeout-ms", "120000") as patient, Wire(patient.zmq) as wire:
        with Wire(patient.zmq, RCVHWM=1, RCVBUF=4096) as one, Wire(patient.zmq, RCVHWM=1, RCVBUF=4096) as two:
            for nonce in range(count):
                one.send(PING, payload={"nonce": nonce})
                two.send(PING, payload={"nonce": nonce})
            assert wire.generate(lane="vip", **GREEDY).finished
            for client in (two, one):
                assert [client.receive_of(PONG).payload["nonce"] for _ in range(count)] == list(range(count))

"""`troupe` in trouble, and its command line: shutdown, wrong flags and files, memory, full queues, malformed HTTP, many
connections, servers that do not answer. Each failure has one message, on stderr, and its own exit code.
"""
import asyncio
import json
import os
import signal
import socket
import struct
import threading
import time

import httpx
import psutil
import pytest

from bare_wire import DELTA, ERROR, Wire, new_id
from conftest import known_flags, required_file, run_troupe, running_server, wait_until

PROMPT = "The quick brown fox jumps over the lazy dog. The quick brown"
ENDLESS = {"prompt": PROMPT, "max_tokens": 6000, "ignore_eos": True}
OK, FAILURE, USAGE, MODEL, UNREACHABLE, MEMORY = 0, 1, 2, 3, 4, 5


@pytest.fixture
def model():
    return required_file("TROUPE_TEST_MODEL")


def serve(*arguments):
    """A `serve` that is expected to end by itself."""
    return run_troupe("serve", "--http", "127.0.0.1:0", "--zmq", "tcp://127.0.0.1:0", *arguments)


def failed_with(code, finished) -> str:
    """The one message of a failure."""
    assert finished.returncode == code, finished
    assert finished.stdout == ""
    lines = [line for line in finished.stderr.splitlines() if line.startswith("troupe: ")]
    assert len(lines) == 1, finished.stderr
    return lines[0]


# The end of a server.


def test_sigterm_lets_a_running_request_finish():
    with running_server() as server, Wire(server.zmq) as wire:
        wire.submit("last", prompt=PROMPT, max_tokens=60, ignore_eos=True)
        wire.receive_of(DELTA)
        server.process.send_signal(signal.SIGTERM)
        # Refusals say when the draining has begun; requests let in before it are cancelled.
        refusal, http_status = None, None
        seen = []
        while refusal is None:
            request_id = new_id()
            wire.submit(request_id, prompt=PROMPT, max_tokens=1)
            while (message := wire.receive()).request_id != request_id or message.kind == DELTA:
                seen.append(message)
            if message.kind == ERROR:
                refusal = message
                http_status = httpx.post(f"{server.http}/v1/completions", timeout=30,
                                         json={"prompt": "x", "max_tokens": 1}).status_code
        assert refusal.payload["code"] == "unavailable"
        assert http_status == 503
        last = [message for message in seen if message.request_id == "last"]
        while not last or last[-1].kind == DELTA:
            message = wire.receive()
            if message.request_id == "last":
                last.append(message)
        assert last[-1].payload["completion_tokens"] == 60
        assert server.process.wait(timeout=30) == OK


def test_sigterm_ends_what_exceeds_the_grace():
    arguments = ("--drain-grace-ms", "500") if "--drain-grace-ms" in known_flags("serve") else ()
    with running_server(*arguments) as server, Wire(server.zmq) as wire:
        wire.submit("endless", **ENDLESS)
        wire.receive_of(DELTA)
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert wire.receive_of(ERROR).payload["code"] == "unavailable"
        assert server.process.wait(timeout=30) == OK
        assert time.monotonic() - began < 20


def test_a_second_signal_ends_the_grace():
    with running_server("--drain-grace-ms", "600000") as server, Wire(server.zmq) as wire:
        wire.submit("endless", **ENDLESS)
        wire.receive_of(DELTA)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in server.log.read_text(), what="the drain")
        server.process.send_signal(signal.SIGTERM)
        assert wire.receive_of(ERROR).payload["code"] == "unavailable"
        assert server.process.wait(timeout=30) == OK


def test_sigint_ends_an_idle_server_at_once():
    with running_server() as server:
        began = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=30) == OK
        assert time.monotonic() - began < 4


# Servers that cannot start.


@pytest.fixture
def taken_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_http_port_in_use(model, taken_port):
    message = failed_with(UNREACHABLE, run_troupe(
        "serve", "--model", model, "--http", f"127.0.0.1:{taken_port}", "--zmq", "tcp://127.0.0.1:0"))
    assert str(taken_port) in message and "--http" in message


def test_zmq_port_in_use(model, taken_port):
    message = failed_with(UNREACHABLE, run_troupe(
        "serve", "--model", model, "--http", "127.0.0.1:0", "--zmq", f"tcp://127.0.0.1:{taken_port}"))
    assert str(taken_port) in message and "--zmq" in message


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "noise", "cut header", "cut tensors"])
def test_bad_model_files(model, tmp_path, how):
    path = tmp_path / "model.gguf"
    with open(model, "rb") as whole:
        if how == "folder":
            path.mkdir()
        elif how == "empty":
            path.touch()
        elif how == "noise":
            path.write_bytes(struct.pack("<I", 7) * 5000)
        elif how == "cut header":
            path.write_bytes(whole.read(100_000))
        elif how == "cut tensors":
            path.write_bytes(whole.read(os.path.getsize(model) // 2))
    for finished in (serve("--model", str(path)), run_troupe("complete", "--model", str(path), "x"),
                     run_troupe("tokenize", "--model", str(path), "x"), run_troupe("model", str(path))):
        if how == "cut tensors" and finished.args[1] in ("tokenize", "model") and finished.returncode == OK:
            continue  # what they read may be whole
        assert str(path) in failed_with(USAGE if how == "folder" else MODEL, finished)


@pytest.mark.parametrize("arguments", [
    ["serve", "--no-such-flag"], ["serve", "--model"], ["serve"], ["--no-such-flag"], ["no-such-command"], [],
    ["complete", "--max-tokens", "many", "x"], ["complete", "--lane", "express", "x"], ["chat", "--temperature", "hot", "x"],
    ["tokenize", "x"], ["model"]], ids=" ".join)
def test_wrong_arguments(arguments):
    finished = run_troupe(*arguments)
    assert finished.returncode == USAGE, finished
    assert finished.stdout == ""
    assert finished.stderr.strip()


def test_missing_configuration(tmp_path):
    missing = str(tmp_path / "none.yaml")
    assert missing in failed_with(USAGE, serve("--config", missing))


def test_keys_that_nothing_acts_on_are_named_once(tmp_path):
    finished = serve("--model", str(tmp_path / "none.gguf"), "--batch-size", "4", "--lanes-vip-reserved-fraction", "0.1")
    failed_with(MODEL, finished)
    lines = [line for line in finished.stderr.splitlines() if "not acted on yet" in line]
    assert len(lines) == 1 and lines[0].endswith("batch_size, lanes.vip.reserved_fraction")


def test_unchunked_steps_must_hold_a_prompt(model):
    message = failed_with(USAGE, serve("--model", model, "--enable-chunked-prefill", "false"))
    assert "enable_chunked_prefill" in message and "max_model_len" in message


def test_kv_cache_beyond_memory(model):
    message = failed_with(MEMORY, serve("--model", model, "--cpu-kv-cache-gib", "60000"))
    assert "60000.00 GiB" in message and "free" in message and "cpu_kv_cache_gib" in message


def test_kv_cache_below_one_sequence(model):
    message = failed_with(MEMORY, serve("--model", model, "--cpu-kv-cache-gib", "0.001"))
    assert "raise it to at least" in message


# Full queues.


def test_a_full_queue_is_overloaded():
    if "--max-num-queued-reqs" not in known_flags("serve"):
        pytest.skip("max_num_queued_reqs cannot be set yet")
    with running_server("--max-num-seqs", "1", "--max-num-queued-reqs", "4") as server, Wire(server.zmq) as wire:
        wire.submit("runs", **ENDLESS)
        wire.receive_of(DELTA)
        for i in range(4):
            wire.submit(f"waits-{i}", **ENDLESS)
        wait_until(lambda: wire.stats()["num_requests_waiting"] == 4, what="a full queue")
        wire.submit("too-much", **ENDLESS)
        refusal = wire.receive_of(ERROR)
        assert (refusal.request_id, refusal.payload["code"]) == ("too-much", "overloaded")
        reply = httpx.post(f"{server.http}/v1/completions", json={"prompt": "x", "max_tokens": 1}, timeout=30)
        assert reply.status_code == 429
        assert reply.json()["error"]["message"]
        wire.close()


def test_one_sequence_at_a_time_serves_many():
    with running_server("--max-num-seqs", "1") as server, Wire(server.zmq) as wire:
        ids = [new_id() for _ in range(8)]
        for request_id in ids:
            wire.submit(request_id, prompt=PROMPT, max_tokens=4, temperature=0.0)
        assert len({reply.text for reply in wire.collect(*ids)}) == 1


# HTTP in trouble.

MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,
    "negative length": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /v1/completions HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n{}   ",
    "bad chunk": b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "huge header": b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_http(server, name):
    host, port = server.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(MALFORMED[name])
        answer = connection.recv(65536)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), answer[:100]
    assert httpx.get(f"{server.http}/health", timeout=30).status_code == 200


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b'"x"', b"{", b'{"prompt": "x"', b'{"prompt": NaN}', b'{"prompt": 5}', b'{"prompt": "\xff"}',
    b'{"prompt": "\\ud800"}', b'{"prompt": {}}', b'{"prompt": "x", "max_tokens": 1e99}', b'{"prompt": "x", "n": "1"}',
    b'{"prompt": "x", "stream": "yes"}', b"[" * 10_000, b'{"prompt": "x", "stop": [[]]}', b'{"prompt": []}'])
def test_malformed_json(server, body):
    reply = httpx.post(f"{server.http}/v1/completions", content=body, timeout=30)
    assert reply.status_code == 400, reply.text
    assert reply.json()["error"]["message"]


def test_two_hundred_streams(server):
    """More streams than sequences of one step, on as many connections; all say the same and end well."""
    async def one(client):
        text = ""
        body = {"prompt": PROMPT, "max_tokens": 3, "temperature": 0, "stream": True, "ignore_eos": True}
        async with client.stream("POST", "/v1/completions", json=body) as reply:
            assert reply.status_code == 200
            lines = [line[6:] async for line in reply.aiter_lines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        for line in lines[:-1]:
            text += "".join(choice["text"] for choice in json.loads(line)["choices"])
        return text

    async def all_of_them():
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=server.http, limits=limits, timeout=120) as client:
            return await asyncio.gather(*(one(client) for _ in range(200)))

    texts = asyncio.run(all_of_them())
    assert len(texts) == 200 and len(set(texts)) == 1 and texts[0]


# The same answers, however they are asked for.


def test_a_seed_draws_the_same_tokens_everywhere(server, model):
    fields = {"prompt": PROMPT, "max_tokens": 20, "seed": 17, "temperature": 0.9}
    with Wire(server.zmq) as wire:
        by_wire = wire.generate(**fields).text
    by_http = httpx.post(f"{server.http}/v1/completions", json=fields, timeout=60).json()["choices"][0]["text"]
    assert by_http == by_wire
    flags = ["--max-tokens", "20", "--seed", "17", "--temperature", "0.9"]
    assert run_troupe("complete", "--zmq", server.zmq, *flags, PROMPT).stdout.rstrip("\n") == by_wire.rstrip("\n")
    assert run_troupe("complete", "--model", model, *flags, PROMPT).stdout.rstrip("\n") == by_wire.rstrip("\n")


def test_a_batch_of_thirty_says_what_each_says_alone(server):
    prompts = [f"{'One two three four. ' * (i % 5)}Item number {i}:" for i in range(30)]
    fields = {"max_tokens": 10, "temperature": 0.0, "ignore_eos": True}
    with Wire(server.zmq) as wire:
        alone = [wire.generate(prompt=prompt, **fields) for prompt in prompts]
        ids = [new_id() for _ in prompts]
        for request_id, prompt in zip(ids, prompts):
            wire.submit(request_id, prompt=prompt, **fields)
        together = wire.collect(*ids)
    assert [reply.tokens for reply in together] == [reply.tokens for reply in alone]
    assert [reply.text for reply in together] == [reply.text for reply in alone]


# The command line.


@pytest.mark.parametrize("command", [[], ["serve"], ["chat"], ["complete"], ["tokenize"], ["model"]], ids=" ".join)
def test_help(command):
    finished = run_troupe(*command, "--help")
    assert finished.returncode == OK
    assert "--help" in finished.stdout
    assert finished.stderr == ""


def test_version():
    finished = run_troupe("--version")
    assert finished.returncode == OK and finished.stdout.strip()


def test_complete(server):
    flags = ["--zmq", server.zmq, "--max-tokens", "8", "--temperature", "0"]
    finished = run_troupe("complete", *flags, PROMPT)
    assert finished.returncode == OK and finished.stdout.strip()
    assert finished.stderr == ""
    from_stdin = run_troupe("complete", *flags, input=PROMPT)
    assert (from_stdin.returncode, from_stdin.stdout) == (OK, finished.stdout)
    with_stats = run_troupe("complete", *flags, "--stats", PROMPT)
    assert with_stats.stdout == finished.stdout, "statistics go to stderr"
    assert "TTFT" in with_stats.stderr and "tokens/s" in with_stats.stderr


def test_chat(server):
    flags = ["--zmq", server.zmq, "--max-tokens", "8", "--temperature", "0"]
    finished = run_troupe("chat", *flags, "Say hello.")
    assert finished.returncode == OK and finished.stdout.strip()
    assert run_troupe("chat", *flags, input="Say hello.").stdout == finished.stdout
    assert run_troupe("chat", *flags, "--system", "You are a pirate.", "Say hello.").returncode == OK


def test_chat_without_a_server(model):
    finished = run_troupe("chat", "--model", model, "--max-tokens", "4", "--temperature", "0", "Say hello.")
    assert finished.returncode == OK and finished.stdout.strip()
    assert finished.stderr == ""


@pytest.mark.parametrize("flags", [["--temperature", "-1"], ["--max-tokens", "0"], ["--top-p", "7"]], ids=" ".join)
def test_refused_parameters(server, model, flags):
    for place in (["--zmq", server.zmq], ["--model", model]):
        message = failed_with(USAGE, run_troupe("complete", *place, *flags, "x"))
        assert flags[0].removeprefix("--").replace("-", "_") in message


@pytest.mark.parametrize("command", ["chat", "complete"])
def test_no_server_answers(command):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    began = time.monotonic()
    message = failed_with(UNREACHABLE, run_troupe(command, "--zmq", endpoint, "x"))
    assert endpoint in message
    assert time.monotonic() - began < 20
    assert failed_with(USAGE, run_troupe(command, "--zmq", "no endpoint", "x"))


def test_tokenize(server, model):
    text = "Hello, naïve 東京!"
    ids = run_troupe("tokenize", "-m", model, text)
    assert ids.returncode == OK and ids.stderr == ""
    expected = httpx.post(f"{server.http}/tokenize", json={"prompt": text}, timeout=30).json()["tokens"]
    assert [int(each) for each in ids.stdout.split()] == expected
    assert run_troupe("tokenize", "-m", model, input=text).stdout == ids.stdout
    back = run_troupe("tokenize", "-m", model, "--decode", ids.stdout)
    assert back.stdout == text + "\n"
    pieces = run_troupe("tokenize", "-m", model, "--pieces", text).stdout
    assert len(pieces.splitlines()) == len(expected)
    assert "99999999" in failed_with(USAGE, run_troupe("tokenize", "-m", model, "--decode", "99999999"))


def test_model(model):
    shown = run_troupe("model", model)
    assert shown.returncode == OK and shown.stdout and shown.stderr == ""
    assert isinstance(json.loads(run_troupe("model", "--json", model).stdout), dict)
    assert isinstance(json.loads(run_troupe("model", "--json", "--verbose", model).stdout), dict)


def test_an_interrupted_command_ends_its_request(server):
    """Ctrl-C on `troupe complete`: the server notices that nobody reads."""
    import subprocess
    process = subprocess.Popen([required_file("TROUPE_BINARY"), "complete", "--zmq", server.zmq, "--ignore-eos",
                                "--max-tokens", "6000", PROMPT], stdout=subprocess.PIPE)
    try:
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=10)
        with Wire(server.zmq) as wire:
            wait_until(wire.is_idle, 15, "an idle server")
    finally:
        process.kill()
        process.wait(timeout=10)
        process.stdout.close()


# Rest.


def test_an_idle_server_sleeps(server):
    with Wire(server.zmq) as wire:
        wire.generate(prompt=PROMPT, max_tokens=4)
        wait_until(wire.is_idle, what="an idle server")
    process = psutil.Process(server.process.pid)

    def cpu_seconds():
        times = process.cpu_times()
        return times.user + times.system

    def share_of_a_core():
        began, used = time.monotonic(), cpu_seconds()
        threading.Event().wait(3)  # the measurement itself
        return (cpu_seconds() - used) / (time.monotonic() - began)

    # Clock ticks are 10 ms: one tick in 3 s is 0.3 %.
    assert min(share_of_a_core() for _ in range(2)) < 0.01

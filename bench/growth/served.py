"""A running server under a load that stays the same, and what its /metrics say about the steps meanwhile."""

import contextlib
import dataclasses
import json
import random
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from systems import CompareError, System, running

HOST = "127.0.0.1"
POLL_SECONDS = 0.1
STEPS_A_WINDOW = 4
LOAD_SECONDS_MAX = 300.0  # until a load runs, has been measured, or is over
PROMPTS_A_BODY = 64  # the server's prompts_per_request_max
# Ids that every vocabulary has, and no special ones.
TOKEN_MIN, TOKEN_MAX = 10, 999
METRIC = re.compile(r"^troupe:(\w+)(?:\{.*\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Sample:
    """The server's totals at one moment."""
    steps: int
    tokens: int
    compute_s: float
    overhead_s: float
    running: int
    waiting: int


@dataclasses.dataclass(frozen=True)
class Window:
    """The means of some steps that follow each other."""
    compute_ms: float
    overhead_ms: float

    @property
    def step_ms(self) -> float:
        return self.compute_ms + self.overhead_ms


def totals_of(exposition: str) -> dict[str, float]:
    """Metrics without their labels, whose values are added up."""
    totals: dict[str, float] = {}
    for name, value in METRIC.findall(exposition):
        totals[name] = totals.get(name, 0.0) + float(value)
    return totals


def sample_of(exposition: str) -> Sample | None:
    """None where a step was being recorded at that moment."""
    totals = totals_of(exposition)
    counts = {totals[f"{name}_count"] for name in ("iteration_tokens_total", "step_compute_seconds", "step_overhead_seconds")}
    if len(counts) != 1:
        return None
    return Sample(int(counts.pop()), int(totals["iteration_tokens_total_sum"]), totals["step_compute_seconds_sum"],
                  totals["step_overhead_seconds_sum"], int(totals["num_requests_running"]), int(totals["num_requests_waiting"]))


def exposition(port: int) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=30) as answer:
        return answer.read().decode()


def sample(port: int) -> Sample:
    while True:
        if (taken := sample_of(exposition(port))) is not None:
            return taken


def prompts(count: int, length: int, seed: int) -> list[list[int]]:
    """Different from their first token on, as far as there are that many."""
    draw = random.Random(seed)
    return [[TOKEN_MIN + (seed + i) % (TOKEN_MAX - TOKEN_MIN)] + [draw.randint(TOKEN_MIN, TOKEN_MAX) for _ in range(length - 1)]
            for i in range(count)]


def body_of(group: list[list[int]], max_tokens: int) -> bytes:
    return json.dumps({"prompt": group, "max_tokens": max_tokens, "ignore_eos": True, "temperature": 0}).encode()


def complete(port: int, prompt: list[int], max_tokens: int) -> dict:
    request = urllib.request.Request(f"http://{HOST}:{port}/v1/completions", body_of([prompt], max_tokens),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=LOAD_SECONDS_MAX) as answer:
        return json.load(answer)


def wait_for(port: int, is_so, what: str) -> None:
    deadline = time.monotonic() + LOAD_SECONDS_MAX
    while not is_so(taken := sample(port)):
        if time.monotonic() > deadline:
            raise CompareError(f"{what} did not come within {LOAD_SECONDS_MAX:g} s; last seen: {taken}")
        time.sleep(POLL_SECONDS)


@contextlib.contextmanager
def load(port: int, all_prompts: list[list[int]], max_tokens: int) -> Iterator[None]:
    """Requests that are at the server inside the `with`: nobody reads, and closing cancels what is unfinished."""
    with contextlib.ExitStack() as open_sockets:
        for first in range(0, len(all_prompts), PROMPTS_A_BODY):
            body = body_of(all_prompts[first:first + PROMPTS_A_BODY], max_tokens)
            connection = open_sockets.enter_context(socket.create_connection((HOST, port), timeout=LOAD_SECONDS_MAX))
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n" % (HOST.encode(), len(body)) + body)
        yield
    wait_for(port, lambda taken: taken.running == 0 and taken.waiting == 0, "the end of a load")


def window_between(before: Sample, after: Sample, sequences: int) -> Window | None:
    """None where a step did anything but decode all sequences."""
    steps = after.steps - before.steps
    if after.tokens - before.tokens != steps * sequences:
        return None
    return Window(1000 * (after.compute_s - before.compute_s) / steps, 1000 * (after.overhead_s - before.overhead_s) / steps)


def decode_windows(port: int, sequences: int, count_max: int) -> list[Window]:
    """Of steps that decode this many sequences; ends early when a load has generated all that it was to."""
    windows: list[Window] = []
    deadline = time.monotonic() + LOAD_SECONDS_MAX
    before = sample(port)
    while len(windows) < count_max:
        if time.monotonic() > deadline:
            raise CompareError(f"{sequences} sequences did not decode together within {LOAD_SECONDS_MAX:g} s")
        time.sleep(POLL_SECONDS)
        after = sample(port)
        if windows and after.running == 0:
            break
        if after.steps - before.steps < STEPS_A_WINDOW:
            continue
        if (window := window_between(before, after, sequences)) is not None:
            windows.append(window)
        before = after
    return windows


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def server(troupe: Path, model: Path, log: Path, *flags: str) -> Iterator[int]:
    """`with server(...) as port:`"""
    system = System("troupe", "Troupe", (troupe, model), (str(troupe), "serve", "--model", str(model),
                     *(() if "--zmq" in flags else ("--zmq", "")), *flags),
                    "--http", f"{HOST}:")
    port = free_port()
    with running(system, port, log):
        yield port

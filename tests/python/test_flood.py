"""A flood of 100,000 async submits does not keep a VIP's request from the scheduler.

Flood and VIP are processes of their own, each on one connection. What is measured is the whole way and back: from
before the VIP's send until its `accepted` is read, which the router says when it hands the request to the scheduler;
so it is more than the way that is promised. The server's own figure, from the port's read to the scheduler
(`lane_intake_seconds`), stands beside it.

TROUPE_FLOOD_STRICT=1 holds the promise itself, for a machine that does nothing else: p99 of 1 ms from the port to the
scheduler while compute is idle and 2 ms there and back, 5 ms there and back while it is busy; requests during which a
processor kept even a real-time process waiting, as it does while the host has taken it away, are set aside and counted.
Otherwise bounds are wide, because a test machine has other work.
"""
import contextlib
import ctypes
import itertools
import json
import multiprocessing
import os
import re
import struct
import time
import urllib.request

import msgpack
import pytest
import zmq

from bare_wire import ACCEPTED, ERROR, FINISHED, PING, PONG, SUBMIT, Wire
from conftest import running_server

FLOOD_COUNT = 100_000
STRICT = os.environ.get("TROUPE_FLOOD_STRICT") == "1"
ROUND_TRIP_P99_MS_MAX = {"idle": 2.0, "busy": 5.0} if STRICT else {"idle": 1000.0, "busy": 1000.0}
INTAKE_SHARE_MIN = 0.99 if STRICT else 0.0  # within the promise
KEPT_SHARE_MIN = 0.95  # of the samples
SAMPLES_MIN = 1000 if STRICT else 200
MESSAGES_A_TURN = 4  # of the flood's, sent or read, before others may run
WATCH_S = 0.005
LATE_S_MAX = 0.001
WARM_COUNT = 4  # steps that the cost model has seen: it can say what no deadline allows
SPAWN = multiprocessing.get_context("spawn")

TENANTS = """
tenants:
  - name: important
    zmq_identities: ["vip-*"]
    lanes: [vip]
  - name: flood
    zmq_identities: ["flood-*"]
    lanes: [async]
    tokens_per_second: {rate}
"""


def frames_of(request_id: str, lane: str, prompt_tokens: int, max_tokens: int, deadline_ms: int = 0) -> tuple[bytes, bytes]:
    payload = {"prompt_token_ids": [100 + i % 100 for i in range(prompt_tokens)], "max_tokens": max_tokens, "ignore_eos": True}
    return msgpack.packb([1, SUBMIT, request_id, 0, 0, lane, deadline_ms]), msgpack.packb(payload)


def give_way(number: int) -> None:
    """Of a process that stands for clients on other machines, and shall not keep the server from its processors: where the kernel
    preempts lazily, a thread that makes no system call is not interrupted before the next tick, some 4 ms."""
    if number % MESSAGES_A_TURN == 0:
        os.sched_yield()


def take_replies(socket: zmq.Socket, counts: dict) -> None:
    with contextlib.suppress(zmq.Again):
        for number in itertools.count():
            give_way(number)
            header, payload = socket.recv_multipart(zmq.NOBLOCK)
            kind = msgpack.unpackb(header)[1]
            if kind == PING:
                socket.send_multipart([msgpack.packb([1, PONG, "", 0, 0, "async", 0]), payload])
            elif kind == ERROR:
                code = msgpack.unpackb(payload)["code"]
                counts[code] = counts.get(code, 0) + 1
            elif kind in (ACCEPTED, FINISHED):
                counts[kind] = counts.get(kind, 0) + 1


def flood(endpoint: str, begin, enough, ended, report) -> None:
    """Submits as fast as the server takes it, until there are enough samples; reads what comes back."""
    os.nice(10)  # it stands for clients on other machines, which take no CPU from the server
    with Wire(endpoint, routing_id=b"flood-0123456789abcdef") as wire:
        requests = [frames_of(f"flood-{i}", "async", 16, 8) for i in range(FLOOD_COUNT)]
        counts: dict = {}
        sent = 0
        begin.wait()
        began = time.monotonic()
        while sent < FLOOD_COUNT or not enough.is_set():
            wire.socket.send_multipart(requests[sent % FLOOD_COUNT])
            sent += 1
            give_way(sent)
            if sent % 64 == 0:
                take_replies(wire.socket, counts)
        ended.set()
        # Every submit is answered.
        while sum(count for kind, count in counts.items() if kind != FINISHED) < sent:
            assert wire.socket.poll(60_000), counts
            take_replies(wire.socket, counts)
        report.put({"seconds": time.monotonic() - began, "sent": sent, **{str(key): value for key, value in counts.items()}})


def run_in_real_time(priority: int) -> bool:
    """Before all threads that are not real-time; so do threads that are started from here on. False where that is not allowed."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def run_promptly() -> None:
    """Of a process that stands for a client on another machine, which does not wait for the server's threads: in real time, or else
    with the shortest slices of the processor (sched_setattr)."""
    if run_in_real_time(1):
        return
    attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, 0, 0, 100_000, 0, 0)
    ctypes.CDLL(None).syscall(314, 0, attributes, 0)


def watch(processor: int, ended, report) -> None:
    """Reports when the processor did not return to a real-time process that had slept for long enough, whatever ran there: no thread of
    the server can hold it up, but the host of a virtual machine can. None of it where nothing may run in real time."""
    os.sched_setaffinity(0, {processor})
    pauses, parent = [], os.getppid()
    is_ahead_of_all = run_in_real_time(2)
    while not ended.is_set() and os.getppid() == parent:
        due = time.perf_counter() + WATCH_S
        time.sleep(WATCH_S)
        if is_ahead_of_all and time.perf_counter() - due > LATE_S_MAX:
            pauses.append((due, time.perf_counter()))
    report.put(pauses)


def important(endpoint: str, ready, enough, ended, computes: bool, report) -> None:
    """Submits to the vip lane until the flood has ended; reports when each was sent, and when the scheduler's word of it had come
    back. Where nothing is to compute, the scheduler refuses them: their deadline has as good as passed."""
    run_promptly()
    with Wire(endpoint, routing_id=b"vip-0123456789abcdef") as wire:
        for i in range(WARM_COUNT):
            wire.generate(f"warm-{i}", lane="vip", prompt="Hi", max_tokens=4)
        ready.set()
        waits, number = [], 0
        while not ended.is_set():
            number += 1
            if number > SAMPLES_MIN:
                enough.set()
            frames = frames_of(f"vip-{number}", "vip", 16, 1) if computes else frames_of(f"vip-{number}", "vip", 256, 64, deadline_ms=1)
            sent = time.perf_counter()
            wire.send_raw(*frames)
            heard = wire.receive_of(ACCEPTED if computes else ERROR)
            while heard.request_id != f"vip-{number}":
                heard = wire.receive_of(ACCEPTED if computes else ERROR)
            waits.append((sent, time.perf_counter()))
            assert computes or heard.payload["code"] == "deadline_unmeetable", heard
            time.sleep(0.005)  # between requests, not for anything to happen
        report.put(waits)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def intake_below(http: str, seconds: str) -> float:
    """The fraction of vip requests that the scheduler had within `seconds` of the port's read."""
    with urllib.request.urlopen(http + "/metrics") as reply:
        text = reply.read().decode()
    buckets = dict(re.findall(r'troupe:lane_intake_seconds_bucket\{.*?lane="vip",le="([^"]+)"\} (\d+)', text))
    return int(buckets[seconds]) / int(buckets["+Inf"])


@pytest.mark.parametrize("compute", ["idle", "busy"])
def test_a_flood_does_not_delay_a_vip(tmp_path, compute):
    # A flood above its rate is refused on its header, so that nothing runs but the VIP's requests; one within its rate
    # fills the lane and keeps the engine busy, and what the lane cannot take is refused.
    config = tmp_path / "tenants.yaml"
    config.write_text(TENANTS.format(rate=0.001 if compute == "idle" else 0))
    with running_server("--config", str(config), "--lanes-async-max-queued", "8192") as server:
        begin, ready, enough, ended = (SPAWN.Event() for _ in range(4))
        of_flood, of_vip, of_watch = SPAWN.Queue(), SPAWN.Queue(), SPAWN.Queue()
        processes = [SPAWN.Process(target=flood, args=(server.zmq, begin, enough, ended, of_flood), daemon=True),
                     SPAWN.Process(target=important, args=(server.zmq, ready, enough, ended, compute == "busy", of_vip),
                                   daemon=True)]
        watches = [SPAWN.Process(target=watch, args=(processor, ended, of_watch), daemon=True)
                   for processor in (os.sched_getaffinity(0) if STRICT else ())]
        processes += watches
        for process in processes:
            process.start()
        assert ready.wait(60)
        begin.set()
        waits, counts = of_vip.get(timeout=300), of_flood.get(timeout=300)
        pauses = [pause for _ in watches for pause in of_watch.get(timeout=60)]
        for process in processes:
            process.join(30)
        assert len(waits) >= SAMPLES_MIN
        kept = [(sent, heard) for sent, heard in waits if not any(sent < back and away < heard for away, back in pauses)]
        assert len(kept) >= KEPT_SHARE_MIN * len(waits), "the machine is not its own"
        of_all, waits_ms = ([(heard - sent) * 1e3 for sent, heard in each] for each in (waits, kept))
        figures = {"p50": percentile(waits_ms, 0.5), "p99": percentile(waits_ms, 0.99), "max": max(waits_ms), "samples": len(waits_ms),
                   "intake within 1 ms": intake_below(server.http, "0.001"), "intake within 5 ms": intake_below(server.http, "0.005"),
                   "of all": {"p99": percentile(of_all, 0.99), "max": max(of_all), "samples": len(of_all)},
                   "pauses": len(pauses), "paused ms": sum(back - away for away, back in pauses) * 1e3, "flood": counts}
        print(compute, json.dumps(figures))
        assert figures["p99"] <= ROUND_TRIP_P99_MS_MAX[compute], figures
        assert figures[f"intake within {1 if compute == 'idle' else 5} ms"] >= INTAKE_SHARE_MIN, figures
        assert counts["rate_limited" if compute == "idle" else "overloaded"] > FLOOD_COUNT // 2

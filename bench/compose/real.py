#!/usr/bin/env python3
"""What the composer of asynchronous batches is worth on a real server: many async requests at once, by arrival (the search
switched off), in the best static order (the client sends them in that order, the search switched off), and as the server
orders them by itself.

The objective is the composer's: ms until all have ended, and ms that each ends after it was due. Every run has a fresh
server, which other requests of the workload have warmed up. Due times are shares of the time that the workload takes by
arrival on this machine, measured first. The static orders of a workload are tried once, the best of them goes on. Rounds
have prompts of their own, and the ways take turns. Prints a Markdown table."""

import argparse
import dataclasses
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import zmq

import workloads

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "compare"), str(ROOT / "bench" / "growth")]

from served import HOST, exposition, free_port, server, totals_of  # noqa: E402
from systems import CompareError  # noqa: E402

PROTOCOL, SUBMIT, FINISHED, ERROR = 1, 1, 4, 5
KIND_BYTE = 2  # of a packed header: array, version, kind
SILENCE_SECONDS_MAX = 60
WARM_UP_REQUESTS = 24
TIE = 0.01  # of the objective
FIFO, COMPOSED = "fifo", "composed"


@dataclasses.dataclass(frozen=True)
class Measured:
    makespan_ms: float
    tardiness_ms: float
    rows: int  # that the server computed
    hit_tokens: int
    preemptions: int
    plans: int

    @property
    def objective_ms(self) -> float:
        return self.makespan_ms + self.tardiness_ms


def serve_all(socket: zmq.Socket, name: str, requests: list[workloads.Request], order, with_due: bool) -> tuple[float, list[float]]:
    """Sends them in the order, all at once; when each ended, in ms since the first send, and the last of those times."""
    frames = [(msgpack.packb([PROTOCOL, SUBMIT, f"{name}-{i}", 0, 0, "async", 0]), msgpack.packb(requests[i].payload(with_due)))
              for i in order]
    ended_ms = [0.0] * len(requests)
    began = time.monotonic()
    for frame in frames:
        socket.send_multipart(frame)
    left = len(requests)
    while left:
        if not socket.poll(1000 * SILENCE_SECONDS_MAX):
            raise CompareError(f"{left} requests have no answer, and nothing came for {SILENCE_SECONDS_MAX} s")
        header, payload = socket.recv_multipart()
        if header[KIND_BYTE] == ERROR:
            raise CompareError(f"a request failed: {msgpack.unpackb(payload)}")
        if header[KIND_BYTE] == FINISHED:
            ended_ms[int(msgpack.unpackb(header)[2].rsplit("-", 1)[1])] = 1000 * (time.monotonic() - began)
            left -= 1
    return max(ended_ms), ended_ms


def totals(port: int) -> dict[str, float]:
    return totals_of(exposition(port))


def measure(arguments: argparse.Namespace, workload: str, count: int, seed: int, way: str, horizon_ms: float) -> Measured:
    requests = workloads.make(workload, count, seed, horizon_ms)
    others = workloads.make(workload, WARM_UP_REQUESTS, seed + 1_000_000)
    order = {**workloads.orders(requests), FIFO: range(count), COMPOSED: range(count)}[way]
    endpoint = f"tcp://{HOST}:{free_port()}"
    kv_gib = workloads.kv_tokens(workload, requests) * arguments.kv_token_bytes / 2**30
    flags = ["--zmq", endpoint, "--max-num-seqs", str(workloads.SEATS), "--max-model-len", str(workloads.MODEL_LEN_MAX),
             "--cpu-kv-cache-gib", f"{kv_gib + 1e-4:.5f}"]
    if way != COMPOSED:
        flags += ["--lanes-async-compose-ms-max", "0"]
    with (tempfile.TemporaryDirectory() as folder, server(arguments.troupe, arguments.model, Path(folder) / "log", *flags) as port,
          zmq.Context() as context, context.socket(zmq.DEALER) as socket):
        socket.linger = 0
        socket.set_hwm(0)
        socket.connect(endpoint)
        serve_all(socket, "warm", others, range(len(others)), False)
        before = totals(port)
        makespan_ms, ended_ms = serve_all(socket, "batch", requests, order, way == COMPOSED)
        after = totals(port)
    gained = {name: after[name] - before.get(name, 0.0) for name in after}
    tardiness_ms = sum(max(0.0, ended - each.due_ms) for ended, each in zip(ended_ms, requests))
    made = Measured(makespan_ms, tardiness_ms, int(gained["iteration_tokens_total_sum"]), int(gained["prefix_cache_hits_total"]),
                    int(gained["num_preemptions_total"]), int(gained["ga_improvement_ratio_count"]))
    print(f"{workload} {count} seed {seed} {way}: {json.dumps(dataclasses.asdict(made))}", file=sys.stderr, flush=True)
    return made


def best_heuristic(arguments: argparse.Namespace, workload: str, count: int, horizon_ms: float) -> str:
    """By one run each, with requests of their own."""
    names = list(workloads.orders(workloads.make(workload, count, 0, horizon_ms)))
    if arguments.heuristic in names:
        return arguments.heuristic
    return names[0] if len(names) == 1 else min(
        names, key=lambda name: measure(arguments, workload, count, 0, name, horizon_ms).objective_ms)


def measure_case(arguments: argparse.Namespace, workload: str, count: int) -> dict[str, list[Measured]]:
    is_due = workloads.SHAPES[workload].due_share > 0
    horizon_ms = measure(arguments, workload, count, 0, FIFO, math.inf).makespan_ms if is_due else math.inf
    heuristic = best_heuristic(arguments, workload, count, horizon_ms)
    ways = [FIFO, COMPOSED, heuristic]
    made: dict[str, list[Measured]] = {way: [] for way in ways}
    for i in range(arguments.rounds):
        for way in ways[i % len(ways):] + ways[:i % len(ways)]:
            made[way].append(measure(arguments, workload, count, i + 1, way, horizon_ms))
    return made


def gains(ours: list[float], theirs: list[float]) -> list[float]:
    """Of each round: how much less, as a share of theirs."""
    return [1.0 - mine / other if other else 0.0 for mine, other in zip(ours, theirs)]


def score(each: list[float]) -> str:
    won, lost = sum(gain > TIE for gain in each), sum(gain < -TIE for gain in each)
    return f"{won}/{len(each) - won - lost}/{lost}"


def median(measured: list[Measured], name: str) -> float:
    return statistics.median(getattr(each, name) for each in measured)


HEADINGS = ("workload", "requests", "FIFO: makespan + tardiness, s", "composed, s", "over FIFO", "won/tied/lost", "makespan over FIFO",
            "best static order", "over it", "won/tied/lost", "rows FIFO / composed / static, thousands", "preemptions")


def row(workload: str, count: int, made: dict[str, list[Measured]]) -> str:
    heuristic = next(way for way in made if way not in (FIFO, COMPOSED))
    of = {way: [each.objective_ms for each in measured] for way, measured in made.items()}
    over_fifo, over_heuristic = gains(of[COMPOSED], of[FIFO]), gains(of[COMPOSED], of[heuristic])
    in_makespan = gains([each.makespan_ms for each in made[COMPOSED]], [each.makespan_ms for each in made[FIFO]])

    def seconds(way: str) -> str:
        return f"{median(made[way], 'makespan_ms') / 1000:.1f} + {median(made[way], 'tardiness_ms') / 1000:.1f}"

    def of_all(name: str, scale: float, digits: int) -> str:
        return " / ".join(f"{median(made[way], name) / scale:.{digits}f}" for way in (FIFO, COMPOSED, heuristic))

    cells = (workload, count, seconds(FIFO), seconds(COMPOSED), f"{100 * statistics.median(over_fifo):.1f} %", score(over_fifo),
             f"{100 * statistics.median(in_makespan):.1f} %", heuristic, f"{100 * statistics.median(over_heuristic):.1f} %",
             score(over_heuristic), of_all("rows", 1000.0, 1), of_all("preemptions", 1.0, 0))
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--troupe", type=Path, default=ROOT / "build/bin/troupe")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--workloads", nargs="+", choices=list(workloads.SHAPES), default=list(workloads.SHAPES))
    parser.add_argument("--sizes", type=int, nargs="+", default=[96, 384], help="requests at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--heuristic", choices=workloads.ORDERS, help="the static order to measure, where it is one of the workload's; else all are tried once")
    parser.add_argument("--kv-token-bytes", type=int, default=23_040, help="of the KV cache; the default is SmolLM2-135M's in f16")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print("| " + " | ".join(HEADINGS) + " |\n|" + " --- |" * len(HEADINGS), flush=True)
    everything = []
    for workload in arguments.workloads:
        for count in arguments.sizes:
            made = measure_case(arguments, workload, count)
            print(row(workload, count, made), flush=True)
            everything.append({"workload": workload, "requests": count, "measured": {
                way: [dataclasses.asdict(each) for each in measured] for way, measured in made.items()}})
    if arguments.json:
        arguments.json.write_text(json.dumps(everything, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What realtime and async requests are promised, on a running engine: realtime is not held for batching, deadlines of async
requests at 90 % load are met or refused at once, and nobody starves at twice the capacity."""

import argparse
import json
import tempfile
import time
from pathlib import Path

import loads

FULL_CLIENTS = 64
EDGES = ("0.001", "0.01", "0.1")  # seconds, of lane_queue_time_seconds


def capacity(arguments: argparse.Namespace, at: loads.Endpoints, folder: Path) -> float:
    """Conversations a second of an engine that is always full: rows a second while it is, by the mean rows of a conversation."""
    result = folder / "capacity.json"
    command = [*loads.load(arguments, at, "async", "--num-prompts", str(max(FULL_CLIENTS, arguments.requests)), "--max-concurrency",
                           str(FULL_CLIENTS), *loads.conversations(arguments)), "--result", str(result)]
    with loads.in_background(command) as process:
        loads.wait_for(at.http_port, lambda taken: taken.running >= FULL_CLIENTS // 2, "the load")
        before, began = loads.sample(at.http_port), time.monotonic()
        time.sleep(arguments.capacity_seconds)
        rows_a_second = (loads.sample(at.http_port).tokens - before.tokens) / (time.monotonic() - began)
        process.wait(timeout=loads.LOAD_SECONDS_MAX)
    figures = json.loads(result.read_text())
    return rows_a_second * figures["completed"] / (figures["total_input_tokens"] + figures["total_output_tokens"])


def queued_within(at: loads.Endpoints, lane: str) -> tuple[dict[str, int], int]:
    """How many of the lane's requests were started within each edge after their arrival, and how many there were."""
    counts = {labels["le"]: int(value) for labels, value in loads.series(at.http_port, "lane_queue_time_seconds_bucket")
              if labels["lane"] == lane}
    return {edge: counts[edge] for edge in EDGES}, counts["+Inf"]


def idle(arguments: argparse.Namespace, folder: Path) -> dict:
    """One realtime request at a time."""
    with loads.serving(arguments, folder / "server.log") as at:
        loads.figures_of(loads.load(arguments, at, "realtime", "--num-prompts", "100", "--max-concurrency", "1",
                                    *loads.random_lengths(64, 8)), folder / "idle.json")
        within, count = queued_within(at, "realtime")
    print(f"realtime, one at a time: {count} requests, started within 1 ms of arrival: {within['0.001']}, 10 ms: {within['0.01']}, "
          f"100 ms: {within['0.1']}", flush=True)
    return {"within": within, "count": count}


def deadlines(arguments: argparse.Namespace, rate: float, folder: Path) -> dict:
    """Async requests with a deadline at 90 % of the capacity."""
    with loads.serving(arguments, folder / "server.log") as at:
        figures = loads.figures_of(
            loads.load(arguments, at, "async", "--num-prompts", str(arguments.requests), "--request-rate", str(0.9 * rate),
                       "--deadline-ms", str(arguments.deadline_ms), "--metric-percentiles", "50,99,100", *loads.conversations(arguments)),
            folder / "deadlines.json")
        refused = loads.total(at.http_port, "requests_refused_total", code="deadline_unmeetable")
    met, missed = figures["completed"], figures["failed"] - int(refused)
    print(f"async, deadline of {arguments.deadline_ms / 1000:g} s, 90 % load ({0.9 * rate:.2f}/s): {met} met, {int(refused)} refused at once, "
          f"{missed} missed; end to end p50 / p99 / worst {figures['p50_e2el_ms'] / 1e3:.1f} / {figures['p99_e2el_ms'] / 1e3:.1f} / "
          f"{figures['p100_e2el_ms'] / 1e3:.1f} s", flush=True)
    return {"met": met, "refused": refused, "missed": missed, "figures": figures}


def overload(arguments: argparse.Namespace, rate: float, folder: Path) -> dict:
    """Realtime as much as the engine can serve, and async as much again, until all of it is served."""
    with loads.serving(arguments, folder / "server.log") as at:
        realtime = loads.load(arguments, at, "realtime", "--num-prompts", str(arguments.requests), "--request-rate", str(rate),
                              "--metric-percentiles", "50,99,100", *loads.conversations(arguments))
        with loads.in_background([*realtime, "--result", str(folder / "realtime.json")]) as beside:
            figures = loads.figures_of(
                loads.load(arguments, at, "async", "--num-prompts", str(arguments.requests), "--request-rate", str(rate),
                           "--metric-percentiles", "50,99,100", *loads.conversations(arguments)), folder / "async.json")
            beside.wait(timeout=loads.LOAD_SECONDS_MAX)
    print(f"twice the capacity for {arguments.requests / rate:.0f} s, half of it realtime: async {figures['completed']} served, "
          f"{figures['failed']} not; first token after {figures['p50_ttft_ms'] / 1e3:.1f} s (p50), {figures['p100_ttft_ms'] / 1e3:.1f} s at worst, "
          f"the last one {figures['duration']:.0f} s after the first arrived", flush=True)
    return {"async": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    loads.add_arguments(parser)
    parser.add_argument("--requests", type=int, default=300, help="conversations in each part")
    parser.add_argument("--deadline-ms", type=int, default=30_000)
    parser.add_argument("--capacity", type=float, help="conversations a second; measured first without it")
    parser.add_argument("--capacity-seconds", type=float, default=10.0, help="that it is measured for")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict = {"idle": idle(arguments, folder)}
        rate = arguments.capacity
        if rate is None:
            with loads.serving(arguments, folder / "server.log") as at:
                rate = capacity(arguments, at, folder)
        print(f"capacity: {rate:.2f} conversations a second", flush=True)
        figures |= {"capacity": rate, "deadlines": deadlines(arguments, rate, folder), "overload": overload(arguments, rate, folder)}
    loads.write_json(arguments, figures)


if __name__ == "__main__":
    main()

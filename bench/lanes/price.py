#!/usr/bin/env python3
"""What lanes cost: rows a second of a saturated server that has them, against one first-in-first-out lane.

A closed loop of clients keeps the engine full with conversations: in the async lane, or all in one realtime lane that does not
reorder. With important traffic, short requests come beside it in an open loop: as VIPs, or in that same lane. Rows (prompt and
output tokens that were computed) are counted by the server over a window after a ramp. The ways take turns within each round."""

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import loads

REQUESTS = 4000  # more than a window can serve


@dataclasses.dataclass(frozen=True)
class Way:
    name: str
    large_lane: str
    important_lane: str
    flags: tuple[str, ...] = ()


WAYS = (Way("one lane", "realtime", "realtime", ("--lanes-realtime-max-wait-ms", "0")), Way("lanes", "async", "vip"))


def rows_a_second(arguments: argparse.Namespace, way: Way, is_mixed: bool, folder: Path) -> float:
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(loads.serving(arguments, folder / "server.log", *way.flags))
        stack.enter_context(loads.in_background(loads.load(
            arguments, at, way.large_lane, "--num-prompts", str(REQUESTS), "--max-concurrency", str(arguments.concurrency),
            *loads.conversations(arguments))))
        if is_mixed:
            stack.enter_context(loads.in_background(loads.load(
                arguments, at, way.important_lane, "--num-prompts", str(REQUESTS), "--request-rate", str(arguments.rate),
                *loads.random_lengths(arguments.input_len, arguments.output_len))))
        loads.wait_for(at.http_port, lambda taken: taken.running >= min(arguments.concurrency, 16), "the load")
        time.sleep(arguments.ramp_seconds)
        before, began = loads.sample(at.http_port), time.monotonic()
        time.sleep(arguments.seconds)
        after = loads.sample(at.http_port)
        return (after.tokens - before.tokens) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    loads.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=96, help="conversations in flight")
    parser.add_argument("--rate", type=float, default=10.0, help="of important requests, a second")
    parser.add_argument("--input-len", type=int, default=64)
    parser.add_argument("--output-len", type=int, default=16)
    parser.add_argument("--ramp-seconds", type=float, default=15.0)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each window")
    arguments = parser.parse_args()
    measured: dict[str, dict[str, list[float]]] = {}
    print("| important requests | one lane, rows/s | lanes, rows/s | given up |\n| --- | --- | --- | --- |", flush=True)
    for is_mixed, title in ((False, "none"), (True, f"{arguments.rate:g} a second")):
        found: dict[str, list[float]] = {way.name: [] for way in WAYS}
        for _ in range(arguments.rounds):
            for way in WAYS:
                with tempfile.TemporaryDirectory() as folder:
                    found[way.name].append(rows_a_second(arguments, way, is_mixed, Path(folder)))
        one, lanes = (statistics.median(found[way.name]) for way in WAYS)
        given_up = statistics.median(1 - theirs / whole for whole, theirs in zip(*found.values(), strict=True))
        print(f"| {title} | {one:.0f} | {lanes:.0f} | {100 * given_up:.1f} % |", flush=True)
        measured[title] = found
    loads.write_json(arguments, measured)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What lanes cost: how fast a job of conversations is done on a server that has lanes, against one first-in-first-out lane.

A closed loop of clients keeps the engine full with a fixed set of conversations until the last one is done: in the async lane, or all
in one realtime lane that does not reorder. With important traffic, short requests come beside it in an open loop: as VIPs, or in that
same lane. Rows (prompt and output tokens that were computed) are counted by the server over the whole job: a window of it would hold
long conversations under one order and short ones under another. The ways take turns within each round, and every other round is
reversed."""

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import time
from pathlib import Path

import loads

IMPORTANT = 4000  # more than a job can outlast


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
        if is_mixed:
            stack.enter_context(loads.in_background(loads.load(
                arguments, at, way.important_lane, "--num-prompts", str(IMPORTANT), "--request-rate", str(arguments.rate),
                *loads.random_lengths(arguments.input_len, arguments.output_len))))
        before, began = loads.sample(at.http_port), time.monotonic()
        job = loads.figures_of(loads.load(
            arguments, at, way.large_lane, "--num-prompts", str(arguments.conversations), "--max-concurrency",
            str(arguments.concurrency), *loads.conversations(arguments)), folder / "job.json")
        if job["failed"] != 0:
            raise loads.CompareError(f"{job['failed']} conversations failed")
        return (loads.sample(at.http_port).tokens - before.tokens) / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    loads.add_arguments(parser)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conversations", type=int, default=300, help="of the job")
    parser.add_argument("--concurrency", type=int, default=96, help="of them in flight")
    parser.add_argument("--rate", type=float, default=10.0, help="of important requests, a second")
    parser.add_argument("--input-len", type=int, default=64)
    parser.add_argument("--output-len", type=int, default=16)
    arguments = parser.parse_args()
    measured: dict[str, dict[str, list[float]]] = {}
    print("| important requests | one lane, rows/s | lanes, rows/s | given up |\n| --- | --- | --- | --- |", flush=True)
    for is_mixed, title in ((False, "none"), (True, f"{arguments.rate:g} a second")):
        found: dict[str, list[float]] = {way.name: [] for way in WAYS}
        for i in range(arguments.rounds):
            for way in WAYS if i % 2 == 0 else reversed(WAYS):
                with tempfile.TemporaryDirectory() as folder:
                    found[way.name].append(rows_a_second(arguments, way, is_mixed, Path(folder)))
        one, lanes = (statistics.median(found[way.name]) for way in WAYS)
        given_up = statistics.median(1 - theirs / whole for whole, theirs in zip(*found.values(), strict=True))
        print(f"| {title} | {one:.0f} | {lanes:.0f} | {100 * given_up:.1f} % |", flush=True)
        measured[title] = found
    loads.write_json(arguments, measured)


if __name__ == "__main__":
    main()

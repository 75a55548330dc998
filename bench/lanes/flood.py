#!/usr/bin/env python3
"""VIP requests while another client floods the server with asynchronous work at about twice its capacity: what the VIP
client sees, what the server says of its own promise, and the same without lanes.

The VIP client is a process of its own in an open loop: its latencies count from the intended send time. Prints a table,
and writes a picture of the TTFT's percentiles with --svg and all figures with --json."""

import argparse
import contextlib
import tempfile
from pathlib import Path

import loads
from curves import Panel, svg

TTFT_MS, TPOT_MS = 200, 40  # the VIP lane's default targets
PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.9)
FLOOD_REQUESTS = 20_000  # more than come while anything is measured
WAITING_MIN = 32  # requests that wait once the flood has filled the engine
# name, lane of the flood, lane of the important requests
WAYS = (("lanes", "async", "vip"), ("one lane", "realtime", "realtime"))


@contextlib.contextmanager
def flood(arguments: argparse.Namespace, at: loads.Endpoints, lane: str):
    command = loads.load(arguments, at, lane, "--num-prompts", str(FLOOD_REQUESTS), "--request-rate", str(arguments.flood_rate),
                         *loads.conversations(arguments))
    with loads.in_background(command):
        loads.wait_for(at.http_port, lambda taken: taken.waiting >= WAITING_MIN, "the flood")
        yield


def attainment(at: loads.Endpoints) -> float:
    found = [value for labels, value in loads.series(at.http_port, "lane_sla_attainment") if labels["lane"] == "vip"]
    if not found:
        raise loads.CompareError("the server reports no lane_sla_attainment")
    return found[0]


def measure(arguments: argparse.Namespace, flood_lane: str, lane: str, folder: Path) -> dict:
    requests = arguments.requests if lane == "vip" else min(arguments.requests, arguments.requests_one_lane)
    with loads.serving(arguments, folder / "server.log") as at, flood(arguments, at, flood_lane):
        before = loads.sample(at.http_port)
        figures = loads.figures_of(
            loads.load(arguments, at, lane, "--num-prompts", str(requests), "--request-rate", str(arguments.rate),
                       *loads.random_lengths(arguments.input_len, arguments.output_len), "--goodput", f"ttft:{TTFT_MS}",
                       f"tpot:{TPOT_MS}", "--metric-percentiles", ",".join(map(str, PERCENTILES))), folder / "vip.json")
        after = loads.sample(at.http_port)
        figures["client_attainment"] = figures["request_goodput"] * figures["duration"] / requests
        figures["server_attainment"] = attainment(at) if lane == "vip" else None
        figures["rows_a_second"] = (after.tokens - before.tokens) / figures["duration"]
    return figures


def row(name: str, figures: dict) -> str:
    own = figures["server_attainment"]
    return (f"| {name} | {100 * figures['client_attainment']:.2f} % | {'' if own is None else f'{100 * own:.2f} %'} "
            f"| {figures['p50_ttft_ms']:.0f} / {figures['p99_ttft_ms']:.0f} / {figures['p99.9_ttft_ms']:.0f} "
            f"| {figures['p50_tpot_ms']:.1f} / {figures['p99_tpot_ms']:.1f} / {figures['p99.9_tpot_ms']:.1f} "
            f"| {figures['failed']} | {figures['rows_a_second']:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    loads.add_arguments(parser)
    parser.add_argument("--requests", type=int, default=2000, help="important ones")
    parser.add_argument("--requests-one-lane", type=int, default=300,
                        help="the same without lanes, where each waits longer than the one before, for as long as the flood lasts")
    parser.add_argument("--rate", type=float, default=10.0, help="of them, a second")
    parser.add_argument("--input-len", type=int, default=64)
    parser.add_argument("--output-len", type=int, default=16)
    parser.add_argument("--flood-rate", type=float, default=18.0, help="requests a second: about twice what can be served")
    parser.add_argument("--only", choices=[name for name, _, _ in WAYS])
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    print("| | in target (client) | in target (server) | TTFT p50 / p99 / p99.9, ms | TPOT p50 / p99 / p99.9, ms | failed | rows/s |\n"
          "| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    measured = {}
    for name, flood_lane, lane in WAYS:
        if arguments.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            measured[name] = measure(arguments, flood_lane, lane, Path(folder))
        print(row(name, measured[name]), flush=True)
    loads.write_json(arguments, measured)
    if arguments.svg:
        panels = [Panel(f"TTFT of important requests under a flood: {name}", "%", "ms",
                        [(each, figures[f"p{each:g}_ttft_ms"]) for each in PERCENTILES]) for name, figures in measured.items()]
        arguments.svg.write_text(svg(panels))


if __name__ == "__main__":
    main()

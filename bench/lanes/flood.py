#!/usr/bin/env python3
"""VIP requests while another client floods the server with asynchronous work at about twice its capacity: what the VIP
client sees, what the server says of its own promise, and the same without lanes.

The VIP client is a process of its own in an open loop: its latencies count from the intended send time. Prints a table,
and writes a picture of the TTFT's percentiles with --svg and all figures with --json."""

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "compare"), str(ROOT / "bench" / "growth")]

from curves import Panel, svg  # noqa: E402
from served import HOST, exposition, free_port, sample, server, wait_for  # noqa: E402
from systems import CompareError  # noqa: E402

TTFT_MS, TPOT_MS = 200, 40  # the VIP lane's default targets
PERCENTILES = (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 98, 99, 99.9)
WAITING_MIN = 32  # requests that wait once the flood has filled the engine
ATTAINMENT = re.compile(r'^troupe:lane_sla_attainment\{.*lane="vip".*\} ([0-9.e+-]+)$', re.MULTILINE)
# name, lane of the flood, lane of the important requests
WAYS = (("lanes", "async", "vip"), ("one lane", "realtime", "realtime"))


def load(arguments: argparse.Namespace, endpoint: str, lane: str, *flags: str) -> list[str]:
    return [str(arguments.troupe), "bench", "serve", "--url", endpoint, "--model", str(arguments.model),
            "--lanes", f"{lane}=1", "--ignore-eos", "--seed", str(arguments.seed), *flags]


@contextlib.contextmanager
def flood(arguments: argparse.Namespace, endpoint: str, port: int, lane: str):
    work = (["--dataset-name", "sharegpt", "--dataset-path", str(arguments.sharegpt)] if arguments.sharegpt else
            ["--dataset-name", "random", "--random-input-len", "220", "--random-output-len", "210", "--random-range-ratio", "0.8"])
    command = load(arguments, endpoint, lane, "--num-prompts", "100000", "--request-rate", str(arguments.flood_rate), *work)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(port, lambda taken: taken.waiting >= WAITING_MIN, "the flood")
            yield
        finally:
            process.kill()


def attainment(port: int) -> float:
    found = ATTAINMENT.search(exposition(port))
    if found is None:
        raise CompareError("the server reports no lane_sla_attainment")
    return float(found[1])


def measure(arguments: argparse.Namespace, flood_lane: str, lane: str, folder: Path) -> dict:
    endpoint = f"tcp://{HOST}:{free_port()}"  # HTTP is there for the metrics
    with (server(arguments.troupe, arguments.model, folder / "server.log", "--zmq", endpoint) as port,
          flood(arguments, endpoint, port, flood_lane)):
        before = sample(port)
        result = folder / "vip.json"
        subprocess.run(load(arguments, endpoint, lane, "--num-prompts", str(arguments.requests), "--request-rate", str(arguments.rate),
                            "--dataset-name", "random", "--random-input-len", str(arguments.input_len), "--random-range-ratio", "0.8",
                            "--random-output-len", str(arguments.output_len), "--goodput", f"ttft:{TTFT_MS}", f"tpot:{TPOT_MS}",
                            "--metric-percentiles", ",".join(map(str, PERCENTILES)), "--result", str(result)),
                       check=True, stdout=subprocess.DEVNULL)
        after, figures = sample(port), json.loads(result.read_text())
        figures["client_attainment"] = figures["request_goodput"] * figures["duration"] / arguments.requests
        figures["server_attainment"] = attainment(port) if lane == "vip" else None
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
    parser.add_argument("--troupe", type=Path, default=ROOT / "build/bin/troupe")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sharegpt", type=Path, help="the flood's prompts; random ones of the same mean lengths without it")
    parser.add_argument("--requests", type=int, default=2000, help="important ones, for each way")
    parser.add_argument("--rate", type=float, default=10.0, help="of them, a second")
    parser.add_argument("--input-len", type=int, default=64)
    parser.add_argument("--output-len", type=int, default=16)
    parser.add_argument("--flood-rate", type=float, default=18.0, help="requests a second: about twice what can be served")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[name for name, _, _ in WAYS])
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", type=Path)
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
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    if arguments.svg:
        panels = [Panel(f"TTFT of important requests under a flood: {name}", "%", "ms",
                        [(each, figures[f"p{each:g}_ttft_ms"]) for each in PERCENTILES]) for name, figures in measured.items()]
        arguments.svg.write_text(svg(panels))


if __name__ == "__main__":
    main()

"""What the lane scripts share: a server with both protocols, loads of `troupe bench serve` on it, and its /metrics."""

import argparse
import contextlib
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "compare"), str(ROOT / "bench" / "growth")]

from served import HOST, LOAD_SECONDS_MAX, exposition, free_port, sample, server, wait_for  # noqa: E402, F401
from systems import CompareError  # noqa: E402

SERIES = re.compile(r"^troupe:(\w+)\{(.*)\} ([0-9.e+-]+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Endpoints:
    http_port: int  # for the metrics
    zmq: str  # for the loads


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--troupe", type=Path, default=ROOT / "build/bin/troupe")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--sharegpt", type=Path, help="prompts of the large load; random ones of the same mean lengths without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all figures here")


@contextlib.contextmanager
def serving(arguments: argparse.Namespace, log: Path, *flags: str) -> Iterator[Endpoints]:
    endpoint = f"tcp://{HOST}:{free_port()}"
    with server(arguments.troupe, arguments.model, log, "--zmq", endpoint, *flags) as port:
        yield Endpoints(port, endpoint)


def load(arguments: argparse.Namespace, at: Endpoints, lane: str, *flags: str) -> list[str]:
    return [str(arguments.troupe), "bench", "serve", "--url", at.zmq, "--model", str(arguments.model),
            "--lanes", f"{lane}=1", "--ignore-eos", "--seed", str(arguments.seed), *flags]


def conversations(arguments: argparse.Namespace) -> list[str]:
    if arguments.sharegpt:
        return ["--dataset-name", "sharegpt", "--dataset-path", str(arguments.sharegpt)]
    return random_lengths(220, 210)


def random_lengths(input_tokens: int, output_tokens: int) -> list[str]:
    return ["--dataset-name", "random", "--random-input-len", str(input_tokens), "--random-output-len", str(output_tokens),
            "--random-range-ratio", "0.8"]


def figures_of(command: list[str], result: Path) -> dict:
    """Runs a load to its end. That some of its requests fail is for the caller to judge."""
    done = subprocess.run([*command, "--result", str(result)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if not result.exists():
        raise CompareError(f"a load ended with code {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(result.read_text())


@contextlib.contextmanager
def in_background(command: list[str]) -> Iterator[subprocess.Popen]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def series(port: int, name: str) -> list[tuple[dict[str, str], float]]:
    """Each series of a metric: its labels and its value."""
    return [(dict(LABEL.findall(labels)), float(value)) for found, labels, value in SERIES.findall(exposition(port)) if found == name]


def total(port: int, name: str, **labels: str) -> float:
    """The sum over all series that have these labels."""
    return sum(value for each, value in series(port, name) if labels.items() <= each.items())


def write_json(arguments: argparse.Namespace, figures: object) -> None:
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")

#!/usr/bin/env python3
"""The simulator against a real server: `troupe bench serve` sends a scenario's load to `troupe serve`, the server's metrics
say what its steps cost, and `troupe simulate` serves the same conversations with those costs.

Every scenario is run once, on a server of its own, and simulated with the costs of every run: its own, and those of
other loads, which is what a simulation is for. Prints a table of simulated / real. With --folder the runs are kept, and
those that are there already are not repeated."""

import argparse
import contextlib
import dataclasses
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "bench" / "compare"), str(ROOT / "bench" / "growth")]

from served import HOST, exposition, server, totals_of  # noqa: E402
from systems import CompareError  # noqa: E402

WITHIN = 0.15
RUN_SECONDS_MAX = 900
DRAWS = 9
SAMPLE_SECONDS = 0.2
WORK = re.compile(r'^troupe:step_work_total\{.*part="(\w+)".*\} ([0-9.e+-]+)$', re.MULTILINE)
PROFILE = re.compile(r'^troupe:cost_model_ms\{.*part="(\w+)".*\} ([0-9.e+-]+)$', re.MULTILINE)
# The parts of a step as the metrics call them, the keys of a scenario, and the metrics' unit in the key's.
PARTS = (("step", "step_ms", 1.0), ("row_tile", "row_tile_ms", 1.0), ("row", "row_ms", 1.0), ("logit_row", "logit_row_ms", 1.0),
         ("decode_pair", "decode_pair_us", 1e3), ("prefill_pair", "prefill_pair_us", 1e3))
# The median of a normal deviation's absolute value, in deviations.
NORMAL_MEDIAN = 0.6745
# name, key of `troupe bench serve`, path in the report of `troupe simulate`
FIGURES = (("requests/s", "request_throughput", ("requests_per_s",)),
           *((f"{name} p{percent}", f"{'median' if percent == 50 else f'p{percent}'}_{key}_ms", ("all", f"{own}_ms", f"p{percent}"))
             for name, key, own in (("TTFT", "ttft", "ttft"), ("TPOT", "tpot", "tpot"), ("E2E", "e2el", "e2e"))
             for percent in (50, 99)))


@dataclasses.dataclass(frozen=True)
class Scenario:
    """What is read of a scenario's text here; the rest is the simulator's."""
    text: str

    def number(self, key: str) -> float | None:
        found = re.findall(rf"\b{key}: *([0-9.]+)", self.text)
        if len(found) > 1:
            raise CompareError(f"{key} stands more than once in the scenario")
        return float(found[0]) if found else None

    def with_costs(self, costs: dict[str, float]) -> str:
        made, count = re.subn(r"fitted:\s*\{[^}]*\}", "fitted: " + flow_map(costs), self.text)
        if count != 1:
            raise CompareError("the scenario needs one way, with `fitted: {...}`")
        return made

    def load_flags(self) -> list[str]:
        flags = ["--seed", f"{self.number('seed') or 0:.0f}", "--num-prompts", f"{self.number('requests') or 1000:.0f}"]
        if (clients := self.number("concurrency_max")) is not None:
            flags += ["--max-concurrency", f"{clients:.0f}"]
        if (rate := self.number("rate_per_s")) is not None:
            flags += ["--request-rate", f"{rate:g}"]
        return flags


@dataclasses.dataclass(frozen=True)
class Run:
    """A scenario's load on the real server."""
    scenario: Scenario
    figures: dict
    costs: dict[str, float]
    folder: Path


def flow_map(costs: dict[str, float]) -> str:
    return "{" + ", ".join(f"{key}: {value:.4g}" for key, value in costs.items()) + "}"


def sample_of(text: str) -> dict:
    """What the costs are made of, of one reading of /metrics."""
    work, profile, totals = dict(WORK.findall(text)), dict(PROFILE.findall(text)), totals_of(text)
    return {"work": [float(work[part]) for part, _, _ in PARTS], "profile": [float(profile[part]) for part, _, _ in PARTS],
            "compute_ms": 1e3 * totals["step_compute_seconds_sum"], "error": totals["cost_model_error"]}


def path_of(before: dict[str, float], after: dict[str, float], client_ttft_ms: float) -> dict[str, float]:
    """Means in ms of what passes between two steps, and between the client and the scheduler."""
    def mean(histogram: str) -> float:
        return 1e3 * (after[f"{histogram}_sum"] - before[f"{histogram}_sum"]) / (after[f"{histogram}_count"] - before[f"{histogram}_count"])

    return {"overhead_ms": mean("step_overhead_seconds"), "intake_ms": mean("lane_intake_seconds"),
            "reply_ms": max(0.0, client_ttft_ms - mean("time_to_first_token_seconds"))}


def costs_of(samples: list[dict], path: dict[str, float]) -> dict[str, float]:
    """A scenario's `fitted`: the server's own costs, each reading weighed by the time that its steps took, and all brought to
    what all steps took, because the server fits relative errors, whose best is below the mean."""
    taken = [other["compute_ms"] - one["compute_ms"] for one, other in zip(samples, samples[1:])]
    mean = [statistics.fmean((each["profile"][i] for each in samples[1:]), taken) for i in range(len(PARTS))]
    work = [b - a for a, b in zip(samples[0]["work"], samples[-1]["work"])]
    scale = sum(taken) / sum(cost * count for cost, count in zip(mean, work))
    costs = {key: scale * cost * unit for cost, (_, key, unit) in zip(mean, PARTS)}
    return {**costs, **path, "noise": statistics.fmean(each["error"] for each in samples) / NORMAL_MEDIAN}


@contextlib.contextmanager
def sampled(port: int):
    """`with sampled(port) as expositions:` what /metrics says every SAMPLE_SECONDS meanwhile."""
    texts: list[str] = []
    is_over = threading.Event()

    def look():
        while not is_over.wait(SAMPLE_SECONDS):
            texts.append(exposition(port))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield texts
    finally:
        is_over.set()
        thread.join()


def bench(arguments: argparse.Namespace, port: int, *flags: str) -> None:
    subprocess.run([str(arguments.troupe), "bench", "serve", "--url", f"http://{HOST}:{port}", "--model", str(arguments.model),
                    "--ignore-eos", "--temperature", "0", *flags], check=True, stdout=subprocess.DEVNULL, timeout=RUN_SECONDS_MAX)


def run_real(arguments: argparse.Namespace, scenario: Scenario, folder: Path) -> dict:
    """The client's figures and the server's costs. The server is warm, but has seen none of the prompts."""
    result = folder / "bench.json"
    with server(arguments.troupe, arguments.model, folder / "server.log", *arguments.serve) as port:
        bench(arguments, port, "--dataset-name", "random", "--num-prompts", "16", "--max-concurrency", "8", "--random-input-len", "200",
              "--random-output-len", "40")
        before = exposition(port)
        with sampled(port) as texts:
            bench(arguments, port, "--dataset-name", "sharegpt", "--dataset-path", str(arguments.dataset), "--num-warmups", "0",
                  "--metric-percentiles", "50,99", "--result", str(result), *scenario.load_flags())
        after = exposition(port)
    figures = json.loads(result.read_text())
    return {"figures": figures, "samples": [sample_of(each) for each in (before, *texts, after)],
            "path": path_of(totals_of(before), totals_of(after), figures["mean_ttft_ms"])}


def simulated(arguments: argparse.Namespace, scenario: Scenario, costs: dict[str, float], folder: Path) -> list[dict]:
    """Its reports for DRAWS draws of the steps' noise."""
    copy, result, ways = folder / "scenario.yaml", folder / "simulated.json", []
    for draw in range(DRAWS):
        copy.write_text(scenario.with_costs({**costs, "noise_seed": draw}))
        subprocess.run([str(arguments.troupe), "simulate", str(copy), "--model", str(arguments.model), "--dataset-path",
                        str(arguments.dataset), "--json", str(result)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=RUN_SECONDS_MAX)
        ways += json.loads(result.read_text())["ways"]
    return ways


def ratios(ways: list[dict], real: dict) -> dict[str, float]:
    """Of the simulations' median to the real figure: a p99 of some hundred requests is three of them."""
    def at(way: dict, path: tuple[str, ...]) -> float:
        for key in path:
            way = way[key]
        return way

    return {name: statistics.median(at(each, path) for each in ways) / real[key] for name, key, path in FIGURES}


def row(name: str, fit: str, figures: dict[str, float]) -> str:
    cells = (f"{100 * (ratio - 1):+.0f} %{'' if abs(ratio - 1) <= WITHIN else ' !'}" for ratio in figures.values())
    return f"| {name} | {fit} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", type=Path, nargs="+", help="of ShareGPT, with one way of fitted costs")
    parser.add_argument("--troupe", type=Path, default=ROOT / "build/bin/troupe")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dataset", type=Path, required=True, help="the ShareGPT file")
    parser.add_argument("--folder", type=Path, help="where runs are kept")
    parser.add_argument("--serve", nargs="*", default=[], help="further flags of `troupe serve`")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = {}
        for path in arguments.scenarios:
            own = folder / path.stem
            own.mkdir(parents=True, exist_ok=True)
            scenario, kept = Scenario(path.read_text()), own / "real.json"
            if not kept.exists():
                kept.write_text(json.dumps(run_real(arguments, scenario, own)) + "\n")
            real = json.loads(kept.read_text())
            runs[path.stem] = Run(scenario, real["figures"], costs_of(real["samples"], real["path"]), own)
        print("Simulated over real; ! is off by more than", f"{100 * WITHIN:.0f} %.\n\n| load | costs of | "
              + " | ".join(name for name, _, _ in FIGURES) + " |\n" + "| --- " * (len(FIGURES) + 2) + "|")
        compared = [{"load": name, "costs_of": fit,
                     "ratios": ratios(simulated(arguments, run.scenario, other.costs, run.folder), run.figures)}
                    for name, run in runs.items() for fit, other in runs.items()]
    for each in compared:
        print(row(each["load"], each["costs_of"], each["ratios"]))
    for name, run in runs.items():
        print(f"\n{name}, real: " + ", ".join(f"{figure} {run.figures[key]:.4g}" for figure, key, _ in FIGURES)
              + f"\n  fitted: {flow_map(run.costs)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(compared, indent=1) + "\n")


if __name__ == "__main__":
    main()

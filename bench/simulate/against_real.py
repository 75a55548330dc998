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
SAMPLE_SECONDS = 0.1
WORK = re.compile(r'^troupe:step_work_total\{.*part="(\w+)".*\} ([0-9.e+-]+)$', re.MULTILINE)
PRIOR = re.compile(r'^troupe:cost_model_ms\{.*part="(\w+)".*\} ([0-9.e+-]+)$', re.MULTILINE)
# The parts of a step as the metrics call them, the keys of a scenario, and the metrics' unit in the key's.
PARTS = (("step", "step_ms", 1.0), ("row_tile", "row_tile_ms", 1.0), ("row", "row_ms", 1.0), ("logit_row", "logit_row_ms", 1.0),
         ("decode_pair", "decode_pair_us", 1e3), ("prefill_pair", "prefill_pair_us", 1e3))
PRIOR_WEIGHT = 0.1  # of the server's own costs, in samples that consist of one part alone
SWEEPS = 2000
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


def flow_map(costs: dict[str, float]) -> str:
    return "{" + ", ".join(f"{key}: {value:.4g}" for key, value in costs.items()) + "}"


@dataclasses.dataclass(frozen=True)
class Sample:
    """The server's totals since its start."""
    work: tuple[float, ...]  # of each of PARTS
    compute_ms: float
    totals: dict[str, float]

    @staticmethod
    def of(text: str) -> "Sample":
        work, totals = dict(WORK.findall(text)), totals_of(text)
        return Sample(tuple(float(work[part]) for part, _, _ in PARTS), 1e3 * totals["step_compute_seconds_sum"], totals)


def fitted(samples: list[Sample], prior: list[float]) -> list[float]:
    """What each of PARTS costs in ms, none below 0: least squares of what the steps between two samples took, each weighed
    by its duration, as the variance of a sum grows with it. What the load does not tell apart stays near the prior."""
    between = [([b - a for a, b in zip(one.work, other.work)], other.compute_ms - one.compute_ms)
               for one, other in zip(samples, samples[1:])]
    between = [(work, ms) for work, ms in between if ms > 0 and work[0] > 0]
    size = range(len(PARTS))
    gram = [[sum(work[i] * work[k] / ms for work, ms in between) for k in size] for i in size]
    moment = [sum(work[i] for work, _ in between) for i in size]
    mean_ms = statistics.fmean(ms for _, ms in between)
    costs = list(prior)
    for _ in range(SWEEPS):
        for i in size:
            stay = PRIOR_WEIGHT * mean_ms / prior[i] ** 2
            others = sum(gram[i][k] * costs[k] for k in size) - gram[i][i] * costs[i]
            costs[i] = max(0.0, (moment[i] + stay * prior[i] - others) / (gram[i][i] + stay))
    return costs


def costs_of(texts: list[str], client_ttft_ms: float) -> dict[str, float]:
    """A scenario's `fitted`, of what /metrics said from before a load until after it, and the client's mean TTFT."""
    samples = [Sample.of(each) for each in texts]
    first, last = samples[0].totals, samples[-1].totals

    def mean_ms(histogram: str) -> float:
        return 1e3 * (last[f"{histogram}_sum"] - first[f"{histogram}_sum"]) / (last[f"{histogram}_count"] - first[f"{histogram}_count"])

    prior = dict(PRIOR.findall(texts[-1]))
    made = fitted(samples, [float(prior[part]) for part, _, _ in PARTS])
    costs = {key: cost * unit for cost, (_, key, unit) in zip(made, PARTS)}
    costs["overhead_ms"] = mean_ms("step_overhead_seconds")
    costs["intake_ms"] = mean_ms("lane_intake_seconds")
    costs["reply_ms"] = max(0.0, client_ttft_ms - mean_ms("time_to_first_token_seconds"))
    costs["noise"] = statistics.fmean(each.totals["cost_model_error"] for each in samples) / NORMAL_MEDIAN
    return costs


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
        texts = [before, *texts, exposition(port)]
    figures = json.loads(result.read_text())
    return {"figures": figures, "costs": costs_of(texts, figures["mean_ttft_ms"])}


def simulated(arguments: argparse.Namespace, scenario: Scenario, costs: dict[str, float], folder: Path) -> dict:
    copy, result = folder / "scenario.yaml", folder / "simulated.json"
    copy.write_text(scenario.with_costs(costs))
    subprocess.run([str(arguments.troupe), "simulate", str(copy), "--model", str(arguments.model), "--dataset-path", str(arguments.dataset),
                    "--json", str(result)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=RUN_SECONDS_MAX)
    return json.loads(result.read_text())["ways"][0]


def ratios(way: dict, real: dict) -> dict[str, float]:
    def at(path: tuple[str, ...]) -> float:
        value = way
        for key in path:
            value = value[key]
        return value

    return {name: at(path) / real[key] for name, key, path in FIGURES}


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
                kept.write_text(json.dumps(run_real(arguments, scenario, own), indent=1) + "\n")
            runs[path.stem] = (scenario, json.loads(kept.read_text()), own)
        print("Simulated over real; ! is off by more than", f"{100 * WITHIN:.0f} %.\n\n| load | costs of | "
              + " | ".join(name for name, _, _ in FIGURES) + " |\n" + "| --- " * (len(FIGURES) + 2) + "|")
        compared = [{"load": name, "costs_of": fit, "ratios": ratios(simulated(arguments, scenario, run["costs"], own), real["figures"])}
                    for name, (scenario, real, own) in runs.items() for fit, (_, run, _) in runs.items()]
    for each in compared:
        print(row(each["load"], each["costs_of"], each["ratios"]))
    for name, (_, run, _) in runs.items():
        real = run["figures"]
        print(f"\n{name}, real: " + ", ".join(f"{figure} {real[key]:.4g}" for figure, key, _ in FIGURES) + f"\n  fitted: {flow_map(run['costs'])}")
    if arguments.json:
        arguments.json.write_text(json.dumps(compared, indent=1) + "\n")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""How a server's steps grow: with the sequences that run, with the length of their context, with the requests that wait.

Asked: time per token that falls and then stays flat, no cliff in context, and less than 1 % of a step for 10,000
waiting requests. Writes results.json and figure.svg to the folder of --out. The machine should be idle.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))
import curves  # noqa: E402
import served  # noqa: E402
from compare import describe_machine, names  # noqa: E402
from systems import CompareError, check_needs  # noqa: E402

SEED = 7
PROMPT_TOKENS = 64
CHUNK_TOKENS = 512  # of prompt that is computed at each length of context
LOAD_TOKENS = 4096  # of a request that somebody else cancels when it has been measured
QUEUE_SEQUENCES = 16  # that run while others wait
QUEUE_COST_MAX = 0.01


@dataclasses.dataclass(frozen=True)
class Extent:
    sequences: tuple[int, ...]
    contexts: tuple[int, ...]
    queued: tuple[int, ...]
    windows: int  # of some steps, a round
    rounds: int  # through all places, so that a machine whose speed drifts bends no curve


LONG = Extent((1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256), (512, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 7680),
              (0, 10, 100, 1000, 3000, 10_000), 8, 3)
QUICK = Extent((1, 4, 16), (512, 1024), (0, 100, 1000), 2, 1)


def say(text: str) -> None:
    print(f"growth: {text}", file=sys.stderr, flush=True)


# Curves show medians. Findings about their shape take the best, which other work on the machine disturbs least.
def point_of(axis: str, place: int, windows: list[served.Window]) -> dict:
    """Medians over all windows, and the best: other work on the machine only adds."""
    def median(key: str) -> float:
        return statistics.median(getattr(window, key) for window in windows)

    return {axis: place, "step_ms": median("step_ms"), "best_step_ms": min(window.step_ms for window in windows),
            "compute_ms": median("compute_ms"), "overhead_ms": median("overhead_ms"), "window_count": len(windows)}


def with_sequences(options: argparse.Namespace, extent: Extent) -> dict:
    """Milliseconds per step and per token for each number of running sequences, of short contexts."""
    windows: dict[int, list[served.Window]] = {count: [] for count in extent.sequences}
    with served.server(options.troupe, options.model, options.out / "sequences.log", *options.flag) as port:
        for round_index in range(extent.rounds):
            for count in extent.sequences:
                with served.load(port, served.prompts(count, PROMPT_TOKENS, SEED + round_index), LOAD_TOKENS):
                    windows[count] += served.decode_windows(port, count, extent.windows)
    points = [point_of("sequences", count, windows[count]) for count in extent.sequences]
    for point in points:
        point["token_ms"] = point["step_ms"] / point["sequences"]
        say(f"{point['sequences']} sequences: {point['step_ms']:.2f} ms a step, {point['token_ms']:.3f} ms a token")
    per_token = [point["best_step_ms"] / point["sequences"] for point in points]
    return {"points": points, "findings": {"last_over_best_token_ms": per_token[-1] / min(per_token)}}


def prefill_speed(port: int, prompt: list[int]) -> float:
    """Tokens per second of the last chunk of a prompt; the cache has what is before it."""
    before = served.sample(port)
    served.complete(port, prompt, 2)  # the last step before a pause is in no metric: that one decodes
    after = served.sample(port)
    return (after.tokens - before.tokens) / (after.compute_s - before.compute_s)


def with_context(options: argparse.Namespace, extent: Extent) -> dict:
    """A decode step of one sequence, and the speed of a chunk of prefill, at each length of context."""
    windows: dict[int, list[served.Window]] = {context: [] for context in extent.contexts}
    speeds: dict[int, list[float]] = {context: [] for context in extent.contexts}
    with served.server(options.troupe, options.model, options.out / "context.log", *options.flag) as port:
        served.complete(port, served.prompts(1, CHUNK_TOKENS, SEED)[0], 2)  # the first steps find cold memory
        for round_index in range(extent.rounds):
            prompt = served.prompts(1, extent.contexts[-1], SEED + 1 + round_index)[0]
            for context in extent.contexts:
                if context > CHUNK_TOKENS:
                    served.complete(port, prompt[:context - CHUNK_TOKENS], 1)
                speeds[context].append(prefill_speed(port, prompt[:context]))
                with served.load(port, [prompt[:context]], CHUNK_TOKENS):
                    windows[context] += served.decode_windows(port, 1, extent.windows)
    points = [{**point_of("context", context, windows[context]), "prefill_tokens_per_s": statistics.median(speeds[context]),
               "best_prefill_tokens_per_s": max(speeds[context])} for context in extent.contexts]
    for point in points:
        say(f"context {point['context']}: {point['step_ms']:.2f} ms a decode step, "
            f"{point['prefill_tokens_per_s']:.0f} prefill tokens/s (best {point['best_prefill_tokens_per_s']:.0f})")
    return {"points": points,
            "findings": {"decode_off_line": off_line([(p["context"], p["best_step_ms"]) for p in points]),
                         "prefill_off_line": off_line([(p["context"], 1 / p["best_prefill_tokens_per_s"]) for p in points])}}


def off_line(points: list[tuple[float, float]]) -> float:
    """The largest distance from the least-squares line, as a share of the line there: a cliff would be far from it."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    slope, start = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return max(abs(y - (start + slope * x)) / (start + slope * x) for x, y in points)


def with_queue(options: argparse.Namespace, extent: Extent) -> dict:
    """What is not compute in a step of some running sequences, for each number of requests that wait."""
    windows: dict[int, list[served.Window]] = {count: [] for count in extent.queued}
    flags = ("--max-num-seqs", str(QUEUE_SEQUENCES), "--max-num-queued-reqs", str(extent.queued[-1] + QUEUE_SEQUENCES))
    with served.server(options.troupe, options.model, options.out / "queue.log", *flags, *options.flag) as port:
        for round_index in range(extent.rounds):
            for count in extent.queued:
                all_prompts = served.prompts(QUEUE_SEQUENCES + count, PROMPT_TOKENS, SEED + round_index)
                with served.load(port, all_prompts, LOAD_TOKENS):
                    served.wait_for(port, lambda taken, count=count: taken.waiting == count, f"{count} waiting requests")
                    windows[count] += served.decode_windows(port, QUEUE_SEQUENCES, extent.windows)
    points = [point_of("queued", count, windows[count]) for count in extent.queued]
    for point in points:
        say(f"{point['queued']} waiting: {1000 * point['overhead_ms']:.0f} us of {point['step_ms']:.2f} ms a step are not compute")
    share = (points[-1]["overhead_ms"] - points[0]["overhead_ms"]) / points[0]["step_ms"]
    return {"points": points, "findings": {"queue_share_of_step": share, "asked_below": QUEUE_COST_MAX}}


CURVES: dict[str, Callable[[argparse.Namespace, Extent], dict]] = {
    "sequences": with_sequences, "context": with_context, "queue": with_queue}


def panels_of(results: dict) -> list[curves.Panel]:
    def line(curve: str, x: str, y: str) -> list[tuple[float, float]]:
        return [(point[x], point[y]) for point in results["curves"][curve]["points"]]

    panels = []
    if "sequences" in results["curves"]:
        panels.append(curves.Panel("Step time per token, by running sequences", "sequences", "ms",
                                   line("sequences", "sequences", "token_ms"), is_log=True))
    if "context" in results["curves"]:
        panels.append(curves.Panel("Decode step of one sequence, by context", "tokens", "ms", line("context", "context", "step_ms")))
        panels.append(curves.Panel(f"Prefill of {CHUNK_TOKENS} tokens, by the context at their end", "tokens", "tokens/s",
                                   line("context", "context", "prefill_tokens_per_s")))
    if "queue" in results["curves"]:
        panels.append(curves.Panel(f"Not compute in a step of {QUEUE_SEQUENCES} sequences, by waiting requests", "requests", "ms",
                                   line("queue", "queued", "overhead_ms")))
    return panels


def parse_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--troupe", type=Path, required=True, help="the troupe program")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file of at least 8192 tokens context (1536 for --quick)")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, figure and logs")
    parser.add_argument("--curves", type=names(tuple(CURVES)), default=list(CURVES), help=",".join(CURVES))
    parser.add_argument("--flag", action="append", default=[], help="further argument of `troupe serve`: --flag=--threads --flag=1")
    parser.add_argument("--quick", action="store_true", help="a few seconds: does everything work?")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> dict:
    check_needs([], [options.troupe, options.model])
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": describe_machine(), "model": options.model.name, "curves": {}}
    for name in options.curves:
        results["curves"][name] = CURVES[name](options, QUICK if options.quick else LONG)
        (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
        (options.out / "figure.svg").write_text(curves.svg(panels_of(results)))
        for key, value in results["curves"][name]["findings"].items():
            say(f"{name}: {key} {value:.4f}")
    return results


def main() -> int:
    try:
        measure(parse_options(sys.argv[1:]))
    except CompareError as failure:
        say(str(failure))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

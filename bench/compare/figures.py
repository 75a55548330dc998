"""From single runs to medians, ranges and ratios, and to the table."""

import dataclasses
import statistics

OURS = "troupe"


@dataclasses.dataclass(frozen=True)
class Metric:
    key: str  # in a result of vLLM's client
    title: str
    more_is_better: bool
    digits: int


METRICS = (
    Metric("output_throughput", "output tok/s", True, 1),
    Metric("request_throughput", "requests/s", True, 2),
    Metric("mean_ttft_ms", "mean TTFT ms", False, 0),
    Metric("p99_ttft_ms", "p99 TTFT ms", False, 0),
    Metric("mean_tpot_ms", "mean TPOT ms", False, 2),
    Metric("p99_itl_ms", "p99 ITL ms", False, 1),
    Metric("mean_e2el_ms", "mean E2EL ms", False, 0),
)
READY = Metric("ready_s", "exec to ready s", False, 2)


@dataclasses.dataclass(frozen=True)
class Spread:
    median: float
    low: float
    high: float


def spread_of(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def in_order(values) -> list:
    """Each once, in the order of first sight."""
    return list(dict.fromkeys(values))


def values_of(runs: list[dict], system: str, work: str, metric: Metric) -> list[float]:
    return [run["metrics"][metric.key] for run in runs
            if run["system"] == system and run["work"] == work and run["metrics"].get(metric.key) is not None]


def spread_in(runs: list[dict], system: str, work: str, metric: Metric) -> Spread | None:
    values = values_of(runs, system, work, metric)
    return spread_of(values) if values else None


def ready_spread(starts: list[dict], system: str) -> Spread | None:
    values = [start["ready_s"] for start in starts if start["system"] == system]
    return spread_of(values) if values else None


def advantage(metric: Metric, ours: Spread | None, theirs: Spread | None) -> float | None:
    """How many times better our median is than theirs; above 1 is better, whichever way the metric goes."""
    if ours is None or theirs is None:
        return None
    better, worse = (ours.median, theirs.median) if metric.more_is_better else (theirs.median, ours.median)
    return better / worse if worse > 0 else None


def spread_text(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "-"
    if spread.low == spread.high:
        return f"{spread.median:.{digits}f}"
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f}-{spread.high:.{digits}f})"


def cell(metric: Metric, spread: Spread | None, ours: Spread | None, is_ours: bool) -> str:
    text = spread_text(spread, metric.digits)
    ratio = None if is_ours else advantage(metric, ours, spread)
    return text if ratio is None else f"{text}, {ratio:.2f}x"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def work_table(results: dict, work: str) -> str:
    runs = results["runs"]
    systems = in_order(run["system"] for run in runs if run["work"] == work)
    rows = []
    for system in systems:
        cells = [cell(metric, spread_in(runs, system, work, metric), spread_in(runs, OURS, work, metric), system == OURS)
                 for metric in METRICS]
        failed = sum(run["metrics"].get("failed") or 0 for run in runs if run["system"] == system and run["work"] == work)
        rows.append([results["titles"][system], *cells, str(failed)])
    return markdown(["system", *(metric.title for metric in METRICS), "failed"], rows)


def ready_table(results: dict) -> str:
    starts = results["starts"]
    ours = ready_spread(starts, OURS)
    rows = []
    for system in in_order(start["system"] for start in starts):
        rows.append([results["titles"][system], cell(READY, ready_spread(starts, system), ours, system == OURS)])
    return markdown(["system", READY.title], rows)


def table(results: dict) -> str:
    machine = results["machine"]
    parts = [
        "# Comparison\n\n",
        f"{machine['cpu']}, {machine['core_count']} cores, {machine['memory_gib']:.1f} GiB; load average at the start "
        f"{machine['load_average']:.2f}; {results['date']}; rounds: {results['rounds']}, each with fresh servers and "
        "fresh seeds, the systems one after another.\n\n",
        "".join(f"- {results['titles'].get(name, name)}: {version}\n" for name, version in results["versions"].items()),
        "\nA cell is the median over the rounds, with the range in parentheses, and, for a peer, how many times better "
        "Troupe's median is: above 1 Troupe is better, below 1 the peer is.\n",
    ]
    for work in in_order(run["work"] for run in results["runs"]):
        parts.append(f"\n## {work}: {results['works'][work]}\n\n{work_table(results, work)}")
    if results["starts"]:
        parts.append(f"\n## Start\n\n{ready_table(results)}")
    return "".join(parts)

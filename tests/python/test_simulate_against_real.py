"""bench/simulate: what is read of a scenario and of the metrics, and a short comparison with a real server.

The bounds of the comparison are wide: it is short, and a test machine has other work. TROUPE_SHAREGPT names the data.
"""
import json
import pathlib
import random
import subprocess
import sys

import pytest

from conftest import required_file

BENCH = pathlib.Path(__file__).parents[2] / "bench"
SCENARIOS = BENCH.parent / "scenarios"
sys.path[:0] = [str(BENCH / "compare"), str(BENCH / "growth"), str(BENCH / "simulate")]
import against_real  # noqa: E402
from systems import CompareError  # noqa: E402

RATIO_MAX = 2.0
PARTS = [part for part, _, _ in against_real.PARTS]
COSTS = [2.0, 0.5, 0.25, 0.125, 6e-4, 2e-4]


def exposition(work, compute_s, steps, prior=COSTS):
    """What a server says whose steps cost what they should, after so much work."""
    lines = [f'troupe:step_work_total{{model_name="m",part="{part}"}} {value}' for part, value in zip(PARTS, work)]
    lines += [f'troupe:cost_model_ms{{model_name="m",part="{part}"}} {value}' for part, value in zip(PARTS, prior)]
    lines += [f"troupe:step_compute_seconds_sum {compute_s}", "troupe:cost_model_error 0.06"]
    for name, mean_s in (("step_overhead", 2e-4), ("lane_intake", 3e-3), ("time_to_first_token", 0.05)):
        lines += [f"troupe:{name}_seconds_sum {steps * mean_s}", f"troupe:{name}_seconds_count {steps}"]
    return "\n".join(lines) + "\n"


def expositions(prior):
    """Of windows with decodes, prefills and both."""
    source = random.Random(5)
    work, compute_s, steps, made = [0.0] * len(PARTS), 0.0, 0, []
    for _ in range(60):
        made.append(exposition(work, compute_s, steps, prior))
        decodes, prompt = source.randrange(1, 20), source.choice((0, source.randrange(20, 500)))
        rows = decodes + prompt
        step = [1, -(-rows // 16), rows, decodes + bool(prompt), decodes * source.randrange(50, 900), prompt * prompt / 2]
        work, steps = [a + b for a, b in zip(work, step)], steps + 1
        compute_s += sum(a * b for a, b in zip(step, COSTS)) / 1e3
    return made


def test_costs_are_found_again():
    costs = against_real.costs_of(expositions(COSTS), client_ttft_ms=54.0)
    assert costs == pytest.approx({"step_ms": 2.0, "row_tile_ms": 0.5, "row_ms": 0.25, "logit_row_ms": 0.125, "decode_pair_us": 0.6,
                                   "prefill_pair_us": 0.2, "overhead_ms": 0.2, "intake_ms": 3.0, "reply_ms": 4.0,
                                   "noise": 0.06 / 0.6745}, rel=1e-3)


@pytest.mark.parametrize("step", [(1, 1, 4, 4, 1600, 0), (1, 1, 16, 16, 6000, 0), (1, 10, 160, 1, 0, 12800)])
def test_predictions_do_not_depend_on_what_the_server_believes(step):
    samples = [against_real.Sample.of(text) for text in expositions(COSTS)]
    costs = against_real.fitted(samples, [3 * cost for cost in COSTS])
    assert sum(a * b for a, b in zip(step, costs)) == pytest.approx(sum(a * b for a, b in zip(step, COSTS)), rel=0.05)


def test_what_a_load_does_not_tell_apart_stays_as_it_was():
    samples = [against_real.Sample((float(i),) * 6, 4.0 * i, {}) for i in range(20)]
    costs = against_real.fitted(samples, [1.0, 1.0, 0.5, 0.5, 0.5, 0.5])
    assert sum(costs) == pytest.approx(4.0, rel=0.01) and costs[0] == pytest.approx(2 * costs[2], rel=0.4)


@pytest.mark.parametrize("name", ["cpu_sharegpt", "cpu_poisson"])
def test_the_load_of_a_shipped_scenario(name):
    scenario = against_real.Scenario((SCENARIOS / f"{name}.yaml").read_text())
    flags = scenario.load_flags()
    assert {"--seed", "--num-prompts"} < set(flags) and ("--max-concurrency" in flags) == (name == "cpu_sharegpt")
    assert ("--request-rate" in flags) == (name == "cpu_poisson")
    copy = scenario.with_costs({"step_ms": 1.25, "noise": 0.5})
    assert "fitted: {step_ms: 1.25, noise: 0.5}" in copy and copy.count("fitted:") == 1


def test_scenarios_that_cannot_be_compared():
    with pytest.raises(CompareError, match="one way"):
        against_real.Scenario("ways: []").with_costs({})
    with pytest.raises(CompareError, match="more than once"):
        against_real.Scenario("seed: 1\nseed: 2").number("seed")


def test_figures_off_by_more_than_the_bound_are_marked():
    line = against_real.row("load", "other", {"a": 1.14, "b": 0.8})
    assert line == "| load | other | +14 % | -20 % ! |"


def test_a_short_comparison(tmp_path):
    binary, model, data = required_file("TROUPE_BINARY"), required_file("TROUPE_TEST_MODEL"), required_file("TROUPE_SHAREGPT")
    scenario = tmp_path / "short.yaml"
    scenario.write_text((SCENARIOS / "cpu_sharegpt.yaml").read_text().replace("requests: 400", "requests: 40"))
    subprocess.run([sys.executable, BENCH / "simulate" / "against_real.py", scenario, "--troupe", binary, "--model", model, "--dataset", data,
                    "--json", tmp_path / "out.json"], check=True, timeout=300)
    compared, = json.loads((tmp_path / "out.json").read_text())
    assert compared["load"] == compared["costs_of"] == "short"
    assert all(1 / RATIO_MAX < ratio < RATIO_MAX for ratio in compared["ratios"].values()), compared

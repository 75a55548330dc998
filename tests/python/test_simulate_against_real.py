"""bench/simulate: what is read of a scenario and of the metrics, and a short comparison with a real server.

The bounds of the comparison are wide: it is short, and a test machine has other work. TROUPE_SHAREGPT names the data.
"""
import json
import pathlib
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
EXPOSITION = "".join(f'troupe:{name}{{model_name="m",part="{part}"}} {value}\n' for name, values in (
    ("step_work_total", (10, 30, 400, 50, 6000, 70000)), ("cost_model_ms", (2.0, 0.5, 0.25, 0.125, 6e-4, 2e-4)))
    for (part, _, _), value in zip(against_real.PARTS, values)) + """troupe:step_compute_seconds_sum{model_name="m"} 1.5
troupe:cost_model_error{model_name="m"} 0.06
"""


def test_what_is_read_of_the_metrics():
    assert against_real.sample_of(EXPOSITION) == {"work": [10, 30, 400, 50, 6000, 70000], "profile": [2.0, 0.5, 0.25, 0.125, 6e-4, 2e-4],
                                                  "compute_ms": 1500.0, "error": 0.06}
    before, after = ({f"{name}_{part}": value * factor for name, sum_s in (("step_overhead_seconds", 0.002), ("lane_intake_seconds", 0.03),
                                                                         ("time_to_first_token_seconds", 0.5))
                      for part, value in (("sum", sum_s), ("count", 10))} for factor in (1, 3))
    assert against_real.path_of(before, after, 54.0) == pytest.approx({"overhead_ms": 0.2, "intake_ms": 3.0, "reply_ms": 4.0})


def test_costs_are_weighed_and_brought_to_what_the_steps_took():
    def sample(steps, compute_ms, step_ms):
        return {"work": [steps, steps, 8 * steps, 8 * steps, 0, 0], "profile": [step_ms, 1.0, 0.5, 0.0, 6e-4, 2e-4], "compute_ms": compute_ms,
                "error": 0.06}

    # Three quarters of the time at 4 ms, one at 8: 5 ms a step, and with the other parts 10, where steps took 11.
    samples = [sample(0, 0.0, 99.0), sample(75, 825.0, 4.0), sample(100, 1100.0, 8.0)]
    assert against_real.costs_of(samples, {"overhead_ms": 0.2}) == pytest.approx(
        {"step_ms": 5.5, "row_tile_ms": 1.1, "row_ms": 0.55, "logit_row_ms": 0.0, "decode_pair_us": 0.66, "prefill_pair_us": 0.22,
         "overhead_ms": 0.2, "noise": 0.06 / 0.6745})


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
    scenario.write_text((SCENARIOS / "cpu_sharegpt.yaml").read_text().replace("requests: 300", "requests: 40"))
    subprocess.run([sys.executable, BENCH / "simulate" / "against_real.py", scenario, "--troupe", binary, "--model", model, "--dataset", data,
                    "--json", tmp_path / "out.json"], check=True, timeout=300)
    compared, = json.loads((tmp_path / "out.json").read_text())
    assert compared["load"] == compared["costs_of"] == "short"
    assert all(1 / RATIO_MAX < ratio < RATIO_MAX for ratio in compared["ratios"].values()), compared

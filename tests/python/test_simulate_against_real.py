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
EXPOSITION = "".join(f'troupe:cost_model_ms{{model_name="m",part="{part}"}} {value}\n' for part, value in (
    ("step", 1.0), ("row_tile", 0.5), ("row", 0.25), ("logit_row", 0.125), ("decode_pair", 6e-4), ("prefill_pair", 2e-4)))


def totals(compute_s, predicted_s, overhead_s, steps):
    return {"step_compute_seconds_sum": compute_s, "step_predicted_seconds_total": predicted_s,
            "step_overhead_seconds_sum": overhead_s, "step_overhead_seconds_count": steps}


def test_costs_are_means_brought_to_what_the_steps_took():
    profile = against_real.profile_of(EXPOSITION)
    costs = against_real.costs_of([profile, {part: 3 * value for part, value in profile.items()}], [0.05, 0.07],
                                  totals(1.0, 1.0, 0.1, 100), totals(12.0, 11.0, 0.3, 1100))
    assert costs == pytest.approx({"step_ms": 2.2, "row_tile_ms": 1.1, "row_ms": 0.55, "logit_row_ms": 0.275, "decode_pair_us": 1.32,
                                   "prefill_pair_us": 0.44, "overhead_ms": 0.2, "noise": 0.06 / 0.6745})


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

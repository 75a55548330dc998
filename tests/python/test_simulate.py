"""`troupe simulate`: shipped scenarios run fast, reports are complete, mistakes exit with 2.

TROUPE_SIMULATE_REQUESTS=1000000 runs the whole of cost_1m.
"""
import json
import os
import pathlib
import time

import pytest

from conftest import required_file, run_troupe

SCENARIOS = pathlib.Path(__file__).parents[2] / "scenarios"
REQUESTS = int(os.environ.get("TROUPE_SIMULATE_REQUESTS", "20000"))
# A million requests a way in 60 s, three ways, and room for a machine that does other things.
SECONDS_MAX = 3 * 60 * REQUESTS / 1e6 + 10


@pytest.fixture(autouse=True)
def _binary():
    required_file("TROUPE_BINARY")


def test_cost_scenario(tmp_path):
    json_file, page = tmp_path / "cost.json", tmp_path / "cost.html"
    start = time.monotonic()
    done = run_troupe("simulate", str(SCENARIOS / "cost_1m.yaml"), "--requests", str(REQUESTS), "--json", str(json_file),
                      "--report", str(page))
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < SECONDS_MAX
    report = json.loads(json_file.read_text())
    ways = {way["name"]: way for way in report["ways"]}
    assert all(way["all"]["completed"] == REQUESTS for way in ways.values())
    costs = [ways[name]["usd_per_million_requests"] for name in ("static", "optimized", "extreme")]
    assert costs == sorted(costs, reverse=True)
    by_publication = [row for row in report["implied"] if row["by"] == "published"]
    assert [row["requests_in_flight"] for row in by_publication] == [pytest.approx(100, rel=0.01)] * 3
    assert [row["usd_per_hour"] for row in by_publication] == [pytest.approx(usd, rel=0.01) for usd in (1733, 1988, 1002)]
    # With 35 % of padding, with 92 % of the prompts from the cache, and with neither.
    assert [row["peak_percent"] for row in by_publication] == [pytest.approx(percent, rel=0.01) for percent in (92.5, 59, 69.5)]
    assert ways["static"]["all"]["tpot_ms"]["mean"] is None
    assert len(report["published"]) == 3 * 3 + 6 and all(row["why"] for row in report["published"])
    assert page.read_text().count("<svg") == 7
    for name in ways:
        assert name in done.stdout


def test_the_seed_decides(tmp_path):
    outputs = [run_troupe("simulate", str(SCENARIOS / "vip_flood.yaml"), "--requests", "500", "--seed", seed).stdout
               for seed in ("3", "3", "4")]
    assert outputs[0] == outputs[1] != outputs[2]


def test_a_trace(tmp_path):
    trace = tmp_path / "trace.csv"
    trace.write_text("arrival_s,prompt_tokens,output_tokens,lane\n0,100,5,vip\n0.5,50,3,realtime\n")
    scenario = tmp_path / "s.yaml"
    scenario.write_text("lengths: {source: trace, file: trace.csv}\nways:\n  - name: here\n    engine: {block_count: 100}\n"
                        "    hardware: {usd_per_hour: 1, fitted: {step_ms: 10}}\n")
    done = run_troupe("simulate", str(scenario), "--json", str(tmp_path / "out.json"))
    assert done.returncode == 0, done.stderr
    way = json.loads((tmp_path / "out.json").read_text())["ways"][0]
    assert way["lanes"]["vip"]["e2e_ms"]["mean"] == pytest.approx(50)
    assert way["lanes"]["realtime"]["ttft_ms"]["mean"] == pytest.approx(10)
    assert way["duration_s"] == pytest.approx(0.53)


def test_deadlines_of_a_trace(tmp_path):
    (tmp_path / "trace.csv").write_text("arrival_s,prompt_tokens,output_tokens,lane\n0,100,50,async\n0,100,50,realtime\n")
    scenario = tmp_path / "s.yaml"
    scenario.write_text("lengths: {source: trace, file: trace.csv}\nlanes: {async: {deadline_ms: 1}}\nways:\n  - name: here\n"
                        "    engine: {block_count: 100}\n    hardware: {usd_per_hour: 1, fitted: {step_ms: 10}}\n")
    assert run_troupe("simulate", str(scenario), "--json", str(tmp_path / "out.json")).returncode == 0
    lanes = json.loads((tmp_path / "out.json").read_text())["ways"][0]["lanes"]
    assert lanes["async"]["deadlines"]["met"] == 0 and sum(lanes["async"]["deadlines"].values()) == 1
    assert lanes["realtime"]["completed"] == 1


ONE_WAY = "ways: [{name: a, engine: {block_count: 9}, hardware: {usd_per_hour: 1, fitted: {step_ms: 1}}}]"


@pytest.mark.parametrize("text, flags, wanted", [
    ("arrivals: {process: poisson, rate_per_s: 0.000001}", ["--requests", "10000"], "of which 100000000 are simulated at most"),
    ("seed: 1", ["--seed", "4294967296"], "4294967295"),
    ("seed: 1", ["--dataset-path", "x.json"], "--dataset-path does nothing here"),
    ("seed: 1", ["--model", "x.gguf"], "--model does nothing here"),
    ("lengths: {source: trace, file: bad.csv}", [], "bad.csv:2: arrival_s must be"),
    ("lengths: {source: trace, file: bad.csv}", ["--requests", "2"], "--requests does nothing here"),
])
def test_wrong_usage(tmp_path, text, flags, wanted):
    (tmp_path / "bad.csv").write_text("arrival_s,prompt_tokens,output_tokens\nnow,1,1\n")
    scenario = tmp_path / "s.yaml"
    scenario.write_text(f"{text}\n{ONE_WAY}\n")
    done = run_troupe("simulate", str(scenario), *flags)
    assert done.returncode == 2, done.stderr
    assert wanted in done.stderr


@pytest.mark.parametrize("text, wanted", [
    ("way: []", 'unknown key "way"; did you mean "ways"'),
    ("ways: [", "s.yaml:"),
    ("lengths: {source: trace}\nways: [{name: a, engine: {block_count: 9}, hardware: {usd_per_hour: 1, "
     "fitted: {step_ms: 1}}}]", "a trace needs"),
    ("lengths: {source: sharegpt}\nways: [{name: a, engine: {block_count: 9}, hardware: {usd_per_hour: 1, "
     "fitted: {step_ms: 1}}}]", "--dataset-path"),
])
def test_mistakes(tmp_path, text, wanted):
    scenario = tmp_path / "s.yaml"
    scenario.write_text(text)
    done = run_troupe("simulate", str(scenario))
    assert done.returncode == 2
    assert wanted in done.stderr
    assert run_troupe("simulate", str(tmp_path / "absent.yaml")).returncode == 2

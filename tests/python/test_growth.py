"""bench/growth: how steps are counted, the picture of the curves, and a short run with the real model."""
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import required_file

GROWTH = pathlib.Path(__file__).parents[2] / "bench" / "growth"
sys.path.insert(0, str(GROWTH.parent / "compare"))
sys.path.insert(0, str(GROWTH))
import chart  # noqa: E402
import curves  # noqa: E402
import growth  # noqa: E402
import served  # noqa: E402

EXPOSITION = """# HELP troupe:step_compute_seconds Compute time of a step.
troupe:step_compute_seconds_count{model_name="m"} 10
troupe:step_compute_seconds_sum{model_name="m"} 0.5
troupe:step_overhead_seconds_count{model_name="m"} 10
troupe:step_overhead_seconds_sum{model_name="m"} 1e-3
troupe:iteration_tokens_total_count{model_name="m"} %d
troupe:iteration_tokens_total_sum{model_name="m"} 160
troupe:num_requests_running{lane="vip",model_name="m"} 1
troupe:num_requests_running{lane="realtime",model_name="m"} 2
troupe:num_requests_waiting{lane="async",model_name="m"} 7
"""


def sample(steps, tokens, compute_s=0.0, overhead_s=0.0):
    return served.Sample(steps, tokens, compute_s, overhead_s, 1, 0)


def test_metrics_are_added_up_over_their_labels():
    assert served.sample_of(EXPOSITION % 10) == served.Sample(10, 160, 0.5, 0.001, 3, 7)


def test_a_sample_in_the_middle_of_a_step_is_none():
    assert served.sample_of(EXPOSITION % 11) is None


def test_only_steps_that_decode_everybody_count():
    assert served.window_between(sample(10, 100), sample(15, 120, 0.05, 0.001), 4) == served.Window(10.0, 0.2)
    assert served.window_between(sample(10, 100), sample(15, 180, 0.05, 0.001), 4) is None


def test_prompts_differ_from_their_first_token_and_are_the_same_again():
    made = served.prompts(256, 64, 7)
    assert len({prompt[0] for prompt in made}) == 256 and {len(prompt) for prompt in made} == {64}
    assert made == served.prompts(256, 64, 7)
    assert all(served.TOKEN_MIN <= token <= served.TOKEN_MAX for prompt in made for token in prompt)


def test_a_cliff_is_off_the_line():
    straight = [(float(x), 2.0 + 0.5 * x) for x in range(1, 9)]
    assert growth.off_line(straight) == pytest.approx(0.0)
    assert growth.off_line([*straight[:-1], (8.0, 12.0)]) > 0.2
    assert growth.off_line(straight[:1]) == 0.0


PANELS = [curves.Panel("One " * 60, "sequences", "ms", [(1, 3.5), (2, 1.0), (256, 0.4)], is_log=True),
          curves.Panel("Other <&>", "tokens", "tokens/s", [(float(x), 3700.0 - x / 4) for x in range(512, 8192, 512)]),
          curves.Panel("One point", "requests", "ms", [(0, 0.2)]),
          curves.Panel("Nothing", "requests", "ms", [(0, 0.0), (10_000, 0.0)])]


def test_labels_neither_overlap_nor_leave_the_picture():
    drawing = curves.draw(PANELS)
    boxes = [label.box() for label in drawing.labels]
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left and right <= chart.WIDTH and 0 <= top and bottom <= drawing.height
        for other in boxes[at + 1:]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_dots_are_where_their_values_are():
    dots = curves.draw(PANELS).dots
    left, right = chart.MARGIN + curves.AXIS_WIDTH, chart.WIDTH - chart.MARGIN
    assert dots[0][0][0] == pytest.approx(left) and dots[0][-1][0] == pytest.approx(right)
    assert dots[0][1][0] == pytest.approx(left + (right - left) / 8)  # 2 of 1 .. 256
    assert [y for _, y in dots[1]] == sorted(y for _, y in dots[1])  # falling values, downwards
    assert curves.round_steps(3.5) == [0.0, 1.0, 2.0, 3.0, 4.0] and curves.round_steps(0.43)[-1] == pytest.approx(0.5)


def test_the_picture_is_xml():
    root = ElementTree.fromstring(curves.svg(PANELS))
    assert "Other <&>" in [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_a_short_run_has_every_curve(tmp_path):
    done = subprocess.run([sys.executable, GROWTH / "growth.py", "--quick", "--troupe", required_file("TROUPE_BINARY"),
                           "--model", required_file("TROUPE_TEST_MODEL"), "--out", tmp_path],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    measured = {name: curve["points"] for name, curve in results["curves"].items()}
    assert [point["sequences"] for point in measured["sequences"]] == [1, 4, 16]
    assert [point["context"] for point in measured["context"]] == [512, 1024]
    assert [point["queued"] for point in measured["queue"]] == [0, 100, 1000]
    for points in measured.values():
        assert all(0 < point["best_step_ms"] <= point["step_ms"] and point["overhead_ms"] > 0 for point in points)
    ElementTree.parse(tmp_path / "figure.svg")


def test_what_is_missing_is_named(tmp_path):
    done = subprocess.run([sys.executable, GROWTH / "growth.py", "--troupe", tmp_path / "no-troupe", "--model", "no-model", "--out",
                           tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "no-troupe" in done.stderr

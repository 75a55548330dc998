"""bench/compare without its peers: statistics, table and picture from recorded results, and what it refuses."""
import json
import pathlib
import socket
import sys
import xml.etree.ElementTree as ElementTree

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench" / "compare"))
import chart  # noqa: E402
import compare  # noqa: E402
import figures  # noqa: E402
import systems  # noqa: E402
import unpack  # noqa: E402

THROUGHPUT, TTFT = figures.METRICS[0], figures.METRICS[2]


def recorded(rounds=3, names=("troupe", "vllm", "llama", "llama-q4_0"), works=("sharegpt", "single")):
    """As compare.py writes them; Troupe has 300, 310, 320 tokens/s, the others a half, a third and so on."""
    runs, starts = [], []
    for round_index in range(rounds):
        for place, name in enumerate(names):
            starts.append({"round": round_index, "system": name, "ready_s": 0.5 * (place + 1)})
            for work in works:
                metrics = {metric.key: (300.0 + 10 * round_index) / (place + 1) if metric.more_is_better
                           else (20.0 + round_index) * (place + 1) for metric in figures.METRICS}
                runs.append({"round": round_index, "system": name, "work": work, "seed": 7, "metrics": metrics | {"failed": 0}})
    return {"date": "2026-01-01", "rounds": rounds, "runs": runs, "starts": starts,
            "machine": {"cpu": "A <CPU> & more", "core_count": 2, "memory_gib": 7.9, "load_average": 0.1},
            "titles": {"troupe": "Troupe, Q4_1", "vllm": "vLLM CPU, bf16", "llama": "llama-server, Q4_1",
                       "llama-q4_0": "llama-server, Q4_0"},
            "works": {name: work.title for name, work in compare.works_of(False).items()},
            "versions": {name: "1.0" for name in names}}


def test_spreads_are_medians_and_ranges():
    assert figures.spread_of([3.0, 1.0, 2.0]) == figures.Spread(2.0, 1.0, 3.0)
    assert figures.spread_of([1.0, 4.0]).median == 2.5
    runs = recorded()["runs"]
    assert figures.spread_in(runs, "vllm", "single", THROUGHPUT) == figures.Spread(155.0, 150.0, 160.0)
    assert figures.spread_in(runs, "nobody", "single", THROUGHPUT) is None


def test_above_one_is_better_whichever_way_a_metric_goes():
    ours, theirs = figures.spread_of([20.0]), figures.spread_of([10.0])
    assert figures.advantage(THROUGHPUT, ours, theirs) == 2.0
    assert figures.advantage(TTFT, ours, theirs) == 0.5
    assert figures.advantage(TTFT, figures.spread_of([0.0]), theirs) is None
    assert figures.advantage(TTFT, None, theirs) is None


def test_a_table_has_each_system_with_its_ratio():
    text = figures.table(recorded())
    assert "| Troupe, Q4_1 | 310.0 (300.0-320.0) |" in text
    assert "| vLLM CPU, bf16 | 155.0 (150.0-160.0), 2.00x |" in text
    assert "| llama-server, Q4_0 | 77.5 (75.0-80.0), 4.00x |" in text
    assert "## single: 8 random prompts" in text and "## Start" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("| Tr") and "300.0" in line}
    assert widths == {len(figures.METRICS) + 3}


def test_a_table_without_us_has_no_ratios():
    text = figures.table(recorded(names=("vllm", "llama"), rounds=1))
    assert "| vLLM CPU, bf16 | 300.0 |" in text
    assert "x |" not in text.split("## sharegpt")[1]


def test_failed_requests_are_shown():
    results = recorded(rounds=2)
    results["runs"][0]["metrics"]["failed"] = 3
    assert "| 3 |\n" in figures.table(results)


@pytest.mark.parametrize("results", [recorded(), recorded(rounds=1, names=("troupe",)), recorded(works=("random",)),
                                     {**recorded(), "titles": {name: "a very long name of a system " * 3 for name in
                                                               ("troupe", "vllm", "llama", "llama-q4_0")}}])
def test_labels_neither_overlap_nor_leave_the_picture(results):
    drawing = chart.draw(results)
    boxes = [label.box() for label in drawing.labels]
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left and right <= chart.WIDTH and 0 <= top and bottom <= drawing.height
        for other in boxes[at + 1:]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    edge = chart.MARGIN + chart.LABEL_WIDTH
    for bar in drawing.bars:
        for left, top, right, bottom in boxes:
            assert (right <= edge or edge + max(bar.length, bar.high) <= left or bottom <= bar.y or
                    bar.y + chart.BAR_HEIGHT <= top)


def test_bars_are_in_proportion():
    bars = chart.draw(recorded()).bars[:4]
    assert [round(bars[0].length / bar.length, 6) for bar in bars] == [1.0, 2.0, 3.0, 4.0]
    assert [bar.is_ours for bar in bars] == [True, False, False, False]


def test_the_picture_is_xml():
    results = recorded()
    results["titles"]["vllm"] = "vLLM <&>"
    root = ElementTree.fromstring(chart.svg(results))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "vLLM <&>" in texts and "310.0 tok/s" in texts and "155.0 tok/s (Troupe 2.00x)" in texts


def test_results_are_written(tmp_path):
    compare.write_results(recorded(), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == recorded()
    assert (tmp_path / "table.md").exists() and (tmp_path / "figure.svg").exists()


def test_what_is_missing_is_named(tmp_path):
    places = systems.Places(tmp_path, tmp_path / "troupe")
    chosen = list(systems.all_systems(places, 2).values())
    with pytest.raises(systems.CompareError, match="(?s)llama-server.*install_peers"):
        systems.check_needs(chosen, [])


def test_a_used_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(systems.CompareError, match="cannot be used"):
            systems.check_port(taken.getsockname()[1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def server_of(source: str) -> systems.System:
    return systems.System("fake", "a fake", (), (sys.executable, "-c", source), "")


def test_a_server_is_waited_for_and_stopped(tmp_path):
    source = ("import sys, time, http.server as h\nclass A(h.BaseHTTPRequestHandler):\n"
              "  def do_GET(self): self.send_response(200); self.end_headers()\n"
              "time.sleep(0.3)\nh.HTTPServer(('127.0.0.1', int(sys.argv[-1])), A).serve_forever()")
    port = free_port()
    with systems.running(server_of(source), port, tmp_path / "log") as ready_s:
        assert 0.3 < ready_s < 30
    systems.check_port(port)


def test_a_server_that_ends_is_an_error_with_its_last_words(tmp_path):
    source = "import sys; print('no such model', file=sys.stderr); sys.exit(3)"
    with pytest.raises(systems.CompareError, match="(?s)code 3.*no such model"):
        with systems.running(server_of(source), free_port(), tmp_path / "log"):
            pass


def test_a_server_that_never_answers_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(systems, "READY_SECONDS_MAX", 0.5)
    with pytest.raises(systems.CompareError, match="not ready within 0.5 s"):
        with systems.running(server_of("import time; time.sleep(60)"), free_port(), tmp_path / "log"):
            pass


def test_options_name_systems_and_works():
    base = ["--peers", "p", "--troupe", "t", "--out", "o"]
    options = compare.parse_options([*base, "--systems", "troupe,vllm", "--work", "single", "--rounds", "2"])
    assert options.systems == ["troupe", "vllm"] and options.work == ["single"] and options.rounds == 2
    assert compare.parse_options([*base, "--quick"]).rounds == 1
    for wrong in (["--systems", "ollama"], ["--work", ""], ["--rounds", "0"]):
        with pytest.raises(SystemExit):
            compare.parse_options([*base, *wrong])


def test_a_cut_array_gives_its_whole_records():
    assert unpack.whole_records('[{"a": 1}, {"b": [2]}, {"c"') == [{"a": 1}, {"b": [2]}]
    assert unpack.whole_records("[]") == []


def test_requirements_leave_out_what_is_replaced():
    metadata = "Name: x\nRequires-Dist: numpy\nRequires-Dist: torch==2.0+cpu\nRequires-Dist: ray; extra == 'ray'\n"
    assert unpack.needed_packages(metadata) == ["numpy"]

"""bench/compose/real.py: what its workloads and orders are, how rounds become a row, and a short run with the real model."""
import math
import pathlib
import subprocess
import sys

import pytest

from conftest import required_file

REAL = pathlib.Path(__file__).parents[2] / "bench" / "compose"
sys.path.insert(0, str(REAL))
import real  # noqa: E402
import workloads  # noqa: E402


@pytest.mark.parametrize("workload", workloads.SHAPES)
def test_workloads_are_functions_of_their_seed(workload):
    made = workloads.make(workload, 40, 3, 1000)
    assert made == workloads.make(workload, 40, 3, 1000)
    assert made != workloads.make(workload, 40, 4, 1000)
    assert all(1 <= each.output <= each.output_max and each.tokens <= workloads.MODEL_LEN_MAX for each in made)
    shape = workloads.SHAPES[workload]
    due = [each.due_ms for each in made if math.isfinite(each.due_ms)]
    assert abs(len(due) / len(made) - shape.due_share) < 0.3
    assert all(120 <= each <= 850 for each in due)
    assert not any(math.isfinite(each.due_ms) for each in workloads.make(workload, 40, 3))
    if shape.prefix:
        assert all(each.prompt[:shape.prefix] == other.prompt[:shape.prefix]
                   for each in made for other in made if each.group == other.group)


def test_a_request_asks_for_its_end_and_says_when_it_is_due():
    request = workloads.Request((20, 21), 30, 12, None, 1500.4)
    payload = request.payload(with_due=True)
    assert (payload["min_tokens"], payload["max_tokens"], payload["due_ms"]) == (11, 30, 1500)
    assert "due_ms" not in request.payload(with_due=False)
    assert "due_ms" not in workloads.Request((20,), 30, 12, None, math.inf).payload(with_due=True)


def test_orders():
    def request(length, group, due_ms):
        return workloads.Request((20,) * length, 5, 5, group, due_ms)

    requests = [request(3, 0, math.inf), request(1, 1, 90.0), request(2, 0, 50.0), request(4, 1, 40.0)]
    made = workloads.orders(requests)
    assert made == {"longest_first": [3, 0, 2, 1], "shortest_first": [1, 2, 0, 3], "earliest_deadline": [3, 2, 1, 0],
                    "longest_prefix": [0, 2, 1, 3], "depth_first_deadline": [3, 1, 2, 0]}
    alone = [request(2, None, math.inf), request(1, None, math.inf)]
    assert workloads.orders(alone) == {"shortest_first": [1, 0]}


def test_rounds_become_a_row():
    def measured(makespan_ms, tardiness_ms):
        return real.Measured(makespan_ms, tardiness_ms, 2000, 10, 1, 3)

    made = {"fifo": [measured(1000, 1000), measured(1000, 0), measured(1000, 1000)],
            "composed": [measured(900, 100), measured(1000, 1), measured(1500, 500)],
            "shortest_first": [measured(1000, 100), measured(900, 50), measured(1500, 900)]}
    cells = [cell.strip() for cell in real.row("plain", 96, made).split("|")[1:-1]]
    assert len(cells) == len(real.HEADINGS)
    assert cells[2:6] == ["1.0 + 1.0", "1.0 + 0.1", "0.0 %", "1/2/0"]
    assert cells[7:10] == ["shortest_first", "9.1 %", "2/0/1"]


def test_a_short_run():
    done = subprocess.run([sys.executable, str(REAL / "real.py"), "--troupe", required_file("TROUPE_BINARY"),
                           "--model", required_file("TROUPE_TEST_MODEL"), "--workloads", "prefix_deadlines", "--sizes", "40",
                           "--rounds", "1", "--heuristic", "longest_prefix"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    cells = [cell.strip() for cell in done.stdout.splitlines()[-1].split("|")[1:-1]]
    assert cells[0:2] == ["prefix_deadlines", "40"]

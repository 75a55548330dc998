"""bench/lanes: a short flood against the real server; what the client counts is what the server says of itself."""
import json
import pathlib
import subprocess
import sys

from conftest import required_file

FLOOD = pathlib.Path(__file__).parents[2] / "bench" / "lanes" / "flood.py"
REQUESTS = 20


def test_client_and_server_agree_under_a_flood(tmp_path):
    done = subprocess.run([sys.executable, FLOOD, "--troupe", required_file("TROUPE_BINARY"), "--only", "lanes",
                           "--model", required_file("TROUPE_TEST_MODEL"), "--requests", str(REQUESTS), "--flood-rate", "60",
                           "--json", tmp_path / "figures.json", "--svg", tmp_path / "figure.svg"],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())["lanes"]
    assert figures["failed"] == 0
    # One request may lie so near a target that the two clocks disagree; the client's warm-up is one more at the server.
    assert abs(figures["client_attainment"] - figures["server_attainment"]) <= 2 / REQUESTS
    assert (tmp_path / "figure.svg").read_text().count("<svg") == 1

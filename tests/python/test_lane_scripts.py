"""bench/lanes/price.py and promises.py: short forms against the real server."""
import json
import pathlib
import subprocess
import sys

from conftest import required_file

SCRIPTS = pathlib.Path(__file__).parents[2] / "bench" / "lanes"


def run(script, tmp_path, *flags):
    done = subprocess.run([sys.executable, SCRIPTS / script, "--troupe", required_file("TROUPE_BINARY"),
                           "--model", required_file("TROUPE_TEST_MODEL"), "--json", tmp_path / "figures.json", *flags],
                          capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((tmp_path / "figures.json").read_text())


def test_what_lanes_cost(tmp_path):
    table, figures = run("price.py", tmp_path, "--rounds", "1", "--conversations", "20", "--concurrency", "16")
    assert all(rows > 0 for ways in figures.values() for found in ways.values() for rows in found)
    # Steps are short while VIPs are about, and nothing else costs: far from half, on a machine with other work, too.
    for title, ways in figures.items():
        assert ways["lanes"][0] > 0.5 * ways["one lane"][0], (title, table)


def test_promises_of_the_lower_lanes(tmp_path):
    told, figures = run("promises.py", tmp_path, "--requests", "8", "--capacity", "2")
    assert figures["idle"]["count"] >= 100
    assert figures["idle"]["within"]["0.1"] == figures["idle"]["count"], told
    assert figures["deadlines"]["missed"] == 0, told
    assert figures["overload"]["async"]["failed"] == 0, told

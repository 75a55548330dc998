"""bench/start: what it reports, and one real start: the figures are there, and the file's pages are not held."""
import json
import pathlib
import subprocess
import sys

from conftest import required_file

START = pathlib.Path(__file__).parents[2] / "bench" / "start" / "start.py"
sys.path.insert(0, str(START.parent))
import start  # noqa: E402


def started(ready_s, token_s, resident):
    return {"ready_s": ready_s, "token_s": token_s, "resident": resident, "anonymous": resident, "of_files": 0}


def test_medians_are_held_against_what_is_asked():
    report = start.report_of([started(0.2, 0.1, 1_000), started(0.9, 0.1, 1_000), started(0.3, 0.3, 1_000)], 600, 300)
    assert report["median"]["ready_s"] == 0.3 and report["beside_bytes"] == 100
    assert report["is_as_asked"] == {"ready": True, "token": True, "memory": True}
    slow = start.report_of([started(0.5, 0.25, 200_000_000)], 0, 0)
    assert slow["is_as_asked"] == {"ready": False, "token": False, "memory": False}


def test_a_start_is_measured(tmp_path):
    model = pathlib.Path(required_file("TROUPE_TEST_MODEL"))
    done = subprocess.run([sys.executable, START, "--runs", "1", "--troupe", required_file("TROUPE_BINARY"), "--model", model,
                           "--out", tmp_path], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "start.json").read_text())
    assert 0 < report["median"]["ready_s"] and 0 < report["median"]["token_s"]
    assert report["median"]["anonymous"] > 0
    assert report["median"]["of_files"] < model.stat().st_size / 2 + 50_000_000


def test_a_server_that_does_not_start_is_an_error(tmp_path):
    model = tmp_path / "not-a-model.gguf"
    model.write_text("nothing")
    done = subprocess.run([sys.executable, START, "--troupe", required_file("TROUPE_BINARY"), "--model", model, "--out", tmp_path],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "not-a-model.gguf" in done.stderr

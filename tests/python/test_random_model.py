"""Models of random weights (bench/kernels/make_random_model.py): the product reads, serves and measures each type."""
import functools
import json
import math
import pathlib
import subprocess
import sys
import urllib.request

import pytest

from conftest import required_file, run_troupe, running_server

ROOT = pathlib.Path(__file__).parents[2]
MAKER = ROOT / "bench" / "kernels" / "make_random_model.py"
TOKENIZER = ROOT / "tests" / "models" / "tiny-llama.gguf"
TYPES = ("q4_k_m", "q4_1", "q4_0", "q8_0")


@pytest.fixture(scope="session")
def model_of(tmp_path_factory):
    @functools.cache
    def make(type_name):
        path = tmp_path_factory.mktemp("models") / f"{type_name}.gguf"
        subprocess.run([sys.executable, MAKER, "--shape", "tiny", "--type", type_name, "--tokenizer", TOKENIZER, path],
                       check=True, timeout=60)
        return path
    return make


@pytest.mark.parametrize("type_name, names", [("q4_k_m", {"Q4_K", "Q6_K"}), ("q4_1", {"Q4_1", "Q6_K"}),
                                              ("q4_0", {"Q4_0", "Q6_K"}), ("q8_0", {"Q8_0"})])
def test_tensors_have_the_types_that_were_asked_for(model_of, type_name, names):
    required_file("TROUPE_BINARY")
    shown = run_troupe("model", str(model_of(type_name)))
    assert shown.returncode == 0, shown.stderr
    assert {line.split()[0] for line in shown.stdout.splitlines() if " tensors " in line and line[0] == " "} == names | {"F32"}
    assert "QKV bias" in shown.stdout and "tied to the embedding" in shown.stdout


@pytest.mark.parametrize("type_name", TYPES)
def test_it_is_served_and_its_logits_are_finite(model_of, type_name):
    with running_server(model=model_of(type_name)) as server:
        body = {"prompt": [1, 2, 3], "max_tokens": 8, "ignore_eos": True, "temperature": 0, "logprobs": 5}
        request = urllib.request.Request(f"{server.http}/v1/completions", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            reply = json.load(answer)
    assert reply["usage"]["completion_tokens"] == 8
    chosen = reply["choices"][0]["logprobs"]["token_logprobs"]
    assert all(math.isfinite(value) and -math.log(1024) - 5 < value <= 0 for value in chosen)


def test_its_forward_pass_is_measured(model_of, tmp_path):
    path = tmp_path / "report.json"
    done = run_troupe("bench", "kernels", "--quick", "--threads", "1", "--only", "^forward/decode/b=16/c=192$", "--model",
                      str(model_of("q4_k_m")), "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert [result["name"] for result in json.loads(path.read_text())["results"]] == ["forward/decode/b=16/c=192"]


def test_a_tokenizer_that_is_too_large_is_refused(tmp_path):
    large = pathlib.Path(required_file("TROUPE_TEST_MODEL"))
    done = subprocess.run([sys.executable, MAKER, "--shape", "tiny", "--tokenizer", large, tmp_path / "x.gguf"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "but the shape has 1024" in done.stderr
    assert not (tmp_path / "x.gguf").exists()

#!/usr/bin/env python3
"""How fast a server is there: from exec to its ready line, to its first token, and what memory it then holds.

Medians over some starts, the file's pages in the cache. Asked: ready within 0.4 s, the first token 0.2 s later, and
resident memory of at most weights + KV cache + 150 MB. Prints JSON.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "compare"))
from systems import READY_SECONDS_MAX, CompareError, check_needs, stop, tail  # noqa: E402

READY_LINE = re.compile(r"listening on (http://\S+)")
KV_GIB = 1.0
PROMPT = "The capital of France is"
SETTLE_SECONDS, SETTLE_SECONDS_MAX = 1.5, 30.0  # longer than the server waits before it takes its KV pages
READY_SECONDS_ASKED, TOKEN_SECONDS_ASKED = 0.4, 0.2
MEMORY_BYTES_ASKED = 150_000_000  # beside weights and KV cache


def memory_of(process: subprocess.Popen) -> dict[str, int]:
    """Bytes of resident memory, of it private ones, and of it pages of files."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "RssAnon", "RssFile"))}
    return {"resident": kib["VmRSS"] * 1024, "anonymous": kib["RssAnon"] * 1024, "of_files": kib["RssFile"] * 1024}


def settled_memory(process: subprocess.Popen) -> dict[str, int]:
    """Once it has stopped growing: a server may take its KV cache in the background."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    last = memory_of(process)
    while time.monotonic() < deadline:
        time.sleep(SETTLE_SECONDS)
        now = memory_of(process)
        if now["resident"] <= last["resident"]:
            break
        last = now
    return last


def first_token(base: str) -> None:
    body = json.dumps({"prompt": PROMPT, "max_tokens": 1, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"{base}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=READY_SECONDS_MAX) as answer:
        answer.read()


def start_once(command: list[str], log: Path) -> dict:
    with open(log, "wb") as errors:
        began = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
                                   start_new_session=True)
    try:
        said = READY_LINE.search(process.stdout.readline())
        ready = time.monotonic()
        if said is None:
            raise CompareError(f"the server did not become ready; {log} ends:\n{tail(log)}")
        first_token(said[1])
        answered = time.monotonic()
        return {"ready_s": ready - began, "token_s": answered - ready, **settled_memory(process)}
    finally:
        stop(process)
        process.stdout.close()


def report_of(starts: list[dict], model_bytes: int, kv_bytes: int) -> dict:
    medians = {key: statistics.median(start[key] for start in starts) for key in starts[0]}
    beside = medians["resident"] - model_bytes - kv_bytes
    return {"starts": starts, "median": medians, "model_bytes": model_bytes, "kv_bytes": kv_bytes, "beside_bytes": beside,
            "is_as_asked": {"ready": medians["ready_s"] <= READY_SECONDS_ASKED, "token": medians["token_s"] <= TOKEN_SECONDS_ASKED,
                            "memory": beside <= MEMORY_BYTES_ASKED}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--troupe", type=Path, required=True, help="the troupe program")
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--out", type=Path, required=True, help="folder for start.json and logs")
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    command = [str(options.troupe), "serve", "--model", str(options.model), "--http", "127.0.0.1:0", "--zmq", "",
               "--cpu-kv-cache-gib", str(KV_GIB)]
    try:
        check_needs([], [options.troupe, options.model])
        options.out.mkdir(parents=True, exist_ok=True)
        start_once(command, options.out / "warming.log")
        starts = [start_once(command, options.out / f"{run}.log") for run in range(options.runs)]
    except CompareError as failure:
        print(f"start: {failure}", file=sys.stderr)
        return 1
    text = json.dumps(report_of(starts, options.model.stat().st_size, int(KV_GIB * 2**30)), indent=1)
    (options.out / "start.json").write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

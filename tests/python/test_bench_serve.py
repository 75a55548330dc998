"""`troupe bench serve` against the real server over both transports, and against servers that misbehave: whatever they
do, it ends, and says how many requests failed."""
import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import time

import httpx
import pytest

from conftest import required_file, run_troupe, running_server

LATENCIES = ("ttft", "tpot", "itl", "e2el")
BENCH_SECONDS_MAX = 120


def bench(url, tmp_path, *arguments, **options):
    """The finished process, and the JSON where it wrote one."""
    result = tmp_path / "result.json"
    done = run_troupe("bench", "serve", "--url", url, "--model", required_file("TROUPE_TEST_MODEL"), "--result", str(result),
                      *arguments, seconds_max=BENCH_SECONDS_MAX, **options)
    return done, json.loads(result.read_text()) if result.exists() else None


def small(count=6):
    return ("--num-prompts", str(count), "--random-input-len", "24", "--random-output-len", "8", "--ignore-eos",
            "--temperature", "0")


@pytest.fixture(params=["http", "zmq"])
def url(request, server):
    return getattr(server, request.param)


def test_a_closed_loop(url, tmp_path):
    done, figures = bench(url, tmp_path, *small(), "--max-concurrency", "2")
    assert done.returncode == 0, done.stderr
    assert (figures["completed"], figures["failed"]) == (6, 0)
    assert (figures["total_input_tokens"], figures["total_output_tokens"]) == (6 * 24, 6 * 8)
    assert figures["total_token_throughput"] == pytest.approx(6 * 32 / figures["duration"])
    for name in LATENCIES:
        assert 0 < figures[f"median_{name}_ms"] <= figures[f"p90_{name}_ms"] <= figures[f"p99_{name}_ms"]
    assert figures["mean_ttft_ms"] + 7 * figures["mean_tpot_ms"] == pytest.approx(figures["mean_e2el_ms"])
    assert figures["mean_e2el_ms"] * 3 <= figures["duration"] * 1000 * 1.01
    assert "Successful requests:                     6" in done.stdout
    assert "Mean TTFT (ms):" in done.stdout and "troupe: sending 6 requests" in done.stderr


def test_an_open_loop_counts_from_arrivals(url, tmp_path):
    """At ten times the rate that one at a time allows, the last request waits for nearly all others."""
    _, alone = bench(url, tmp_path, *small(), "--max-concurrency", "1")
    rate = 10 * alone["request_throughput"]
    done, figures = bench(url, tmp_path, *small(12), "--max-concurrency", "1", "--request-rate", str(rate), "--seed", "1")
    assert done.returncode == 0, done.stderr
    assert figures["request_rate"] == pytest.approx(rate)
    assert figures["p99_ttft_ms"] > 0.5 * 1000 * figures["duration"]
    assert figures["largest_lag_ms"] < 1000


def test_arrivals_are_spread_by_their_rate(url, tmp_path):
    done, figures = bench(url, tmp_path, *small(10), "--request-rate", "5", "--burstiness", "4")
    assert done.returncode == 0, done.stderr
    assert figures["duration"] > 10 / 5


def test_lanes_and_goodput(url, tmp_path):
    done, figures = bench(url, tmp_path, *small(20), "--lanes", "vip=1,async=1", "--goodput", "ttft:100000", "e2el:100000")
    assert done.returncode == 0, done.stderr
    assert set(figures["lanes"]) == {"vip", "async"}
    assert sum(lane["completed"] for lane in figures["lanes"].values()) == 20
    assert figures["request_goodput"] == pytest.approx(figures["request_throughput"])
    assert " Lane vip " in done.stdout and "Request goodput" in done.stdout


def test_the_lane_reaches_the_server(server, tmp_path):
    def generated(lane):
        text = httpx.get(f"{server.http}/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                   if line.startswith("troupe:generation_tokens_total{") and f'lane="{lane}"' in line)

    for url in (server.http, server.zmq):
        before = generated("vip")
        done, _ = bench(url, tmp_path, *small(4), "--lanes", "vip=1", "--num-warmups", "0")
        assert done.returncode == 0, done.stderr
        assert generated("vip") == before + 4 * 8


def test_an_api_key_is_sent(tmp_path):
    with running_server("--api-key", "secret") as server:
        refused, _ = bench(server.http, tmp_path, *small())
        assert refused.returncode == 4 and "401" in refused.stderr
        done, figures = bench(server.http, tmp_path, *small(), "--api-key", "secret")
        assert done.returncode == 0, done.stderr
        assert figures["completed"] == 6


def test_conversations(url, tmp_path):
    turns = [{"from": "human", "value": "Tell me about the sea and its many colours, please."},
             {"from": "gpt", "value": "The sea is blue and green and sometimes grey."}]
    file = tmp_path / "sharegpt.json"
    file.write_text(json.dumps([{"id": "a", "conversations": turns}, {"id": "b", "conversations": turns[:1]}]))
    done, figures = bench(url, tmp_path, "--dataset-name", "sharegpt", "--dataset-path", str(file), "--num-prompts", "3",
                          "--ignore-eos", "--max-concurrency", "3")
    assert done.returncode == 0, done.stderr
    assert figures["completed"] == 3
    assert figures["total_output_tokens"] % 3 == 0 and figures["total_output_tokens"] > 0


@pytest.mark.parametrize("arguments", [["--num-prompts", "0"], ["--lanes", "best=1"], ["--goodput", "itl:3"],
                                       ["--request-rate", "0"], ["--random-range-ratio", "1"], ["--url", "ftp://a:1"],
                                       ["--dataset-name", "sharegpt"], ["--metric-percentiles", "101"]])
def test_wrong_arguments_are_named(server, tmp_path, arguments):
    done, figures = bench(server.http, tmp_path, *arguments)
    assert (done.returncode, figures) == (2, None)
    assert done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_no_server(tmp_path, scheme):
    done, figures = bench(f"{scheme}://127.0.0.1:{free_port()}", tmp_path, *small())
    assert (done.returncode, figures) == (4, None)


@pytest.mark.parametrize("transport", ["http", "zmq"])
def test_a_killed_server_gives_failures(tmp_path, transport):
    result = tmp_path / "result.json"
    with contextlib.suppress(AssertionError):  # the server does not end well: it is killed
        with running_server() as server:
            process = subprocess.Popen(
                [required_file("TROUPE_BINARY"), "bench", "serve", "--url", getattr(server, transport), "--model",
                 required_file("TROUPE_TEST_MODEL"), "--result", str(result), "--num-prompts", "400", "--random-input-len", "64",
                 "--random-output-len", "400", "--ignore-eos", "--max-concurrency", "4", "--num-warmups", "0"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(0.1)
            for line in process.stderr:
                if "sending" in line:
                    break
            server.process.send_signal(signal.SIGKILL)
            try:
                process.communicate(timeout=BENCH_SECONDS_MAX)
            finally:
                process.kill()
    figures = json.loads(result.read_text())
    assert process.returncode == 1
    assert figures["completed"] + figures["failed"] == 400 and figures["failed"] > 300
    assert figures["errors"]


OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(text):
    return b"%x\r\n%s\r\n" % (len(text), text.encode())


TOKEN = chunk('data: {"choices":[{"text":"a"}]}\n\n')
END = chunk('data: {"choices":[],"usage":{"prompt_tokens":24,"completion_tokens":2}}\n\ndata: [DONE]\n\n') + b"0\r\n\r\n"


@contextlib.contextmanager
def scripted_server(answer):
    """Reads requests and lets `answer(connection, number)` reply; a connection ends where it returns False."""
    listener = socket.create_server(("127.0.0.1", 0))
    count, lock = [0], threading.Lock()

    def read_request(connection):
        head = b""
        while b"\r\n\r\n" not in head:
            got = connection.recv(65536)
            if not got:
                return None
            head += got
        head, _, body = head.partition(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        while len(body) < length:
            body += connection.recv(65536)
        return json.loads(body)

    def talk(connection):
        with connection, contextlib.suppress(OSError):
            while read_request(connection):
                with lock:
                    count[0] += 1
                    number = count[0]
                if answer(connection, number) is False:
                    return

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


def bench_scripted(answer, tmp_path, *arguments):
    with scripted_server(answer) as url:
        return bench(url, tmp_path, *small(), "--served-model-name", "m", "--num-warmups", "0", "--max-concurrency", "2",
                     "--timeout", "1", *arguments)


def test_a_good_scripted_server(tmp_path):
    done, figures = bench_scripted(lambda connection, _: connection.sendall(OK + TOKEN + TOKEN + END), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (figures["completed"], figures["total_output_tokens"]) == (6, 12)


@pytest.mark.parametrize("reply, message", [
    (OK + TOKEN, "closed the connection"),
    (OK + TOKEN + b"zz\r\n", "not an HTTP answer"),
    (OK + END, "without a token"),
    (OK + chunk('data: {"error":{"message":"no memory"}}\n\n') + END, "no memory"),
    (b"HTTP/1.1 429 Too Many\r\nContent-Length: 32\r\n\r\n" + b'{"error":{"message":"too busy"}}', "status 429: too busy"),
    (b"SSH-2.0\r\n\r\n", "not an HTTP answer"),
    (b"", "closed the connection"),
])
def test_bad_answers_are_failures(tmp_path, reply, message):
    def answer(connection, _):
        connection.sendall(reply)
        return False

    done, figures = bench_scripted(answer, tmp_path)
    assert (done.returncode, figures["failed"]) == (1, 6)
    assert message in figures["errors"][0]


def test_a_server_that_falls_silent_is_given_up(tmp_path):
    def answer(connection, number):
        connection.sendall(OK + TOKEN + (b"" if number == 1 else TOKEN + END))

    done, figures = bench_scripted(answer, tmp_path)
    assert (done.returncode, figures["completed"], figures["failed"]) == (1, 5, 1)
    assert "nothing for 1 s" in figures["errors"][0]


def test_a_connection_that_the_server_closed_between_requests_is_opened_again(tmp_path):
    """The answer says keep-alive, and then the server closes: as servers do whose idle time is over."""
    def answer(connection, _):
        connection.sendall(OK + TOKEN + TOKEN + END)
        return False

    done, figures = bench_scripted(answer, tmp_path, "--request-rate", "20")
    assert done.returncode == 0, figures
    assert figures["completed"] == 6


def test_events_cut_anywhere(tmp_path):
    def answer(connection, _):
        for byte in OK + TOKEN + TOKEN + END:
            connection.sendall(bytes([byte]))

    done, figures = bench_scripted(answer, tmp_path)
    assert done.returncode == 0, figures
    assert (figures["completed"], figures["total_output_tokens"]) == (6, 12)

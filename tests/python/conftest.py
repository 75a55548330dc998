"""A running `troupe serve` for the tests that drive the built binary from outside.

TROUPE_BINARY names the binary, TROUPE_TEST_MODEL a GGUF file; without them these tests are skipped.
"""
import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

import pytest

START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 60
READY_LINE = re.compile(r"troupe: listening on (http://\S+) and (tcp://\S+)")


@dataclasses.dataclass
class Server:
    http: str  # base URL, without a slash at the end
    zmq: str
    process: subprocess.Popen
    log: pathlib.Path

    def stop(self) -> int:
        """Asks it to end, and returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=STOP_SECONDS_MAX)


def required_file(variable: str) -> str:
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} is not set")
    if not os.path.exists(path):
        pytest.fail(f"{variable} names {path}, which does not exist")
    return path


def wait_for_ready_line(process: subprocess.Popen, log: pathlib.Path) -> re.Match:
    """Reads the server's output in a thread until it ends, so that it never blocks on a full pipe."""
    found: list[re.Match] = []
    is_over = threading.Event()

    def read():
        for line in process.stdout:
            if not found and (match := READY_LINE.search(line)):
                found.append(match)
                is_over.set()
        is_over.set()

    threading.Thread(target=read, daemon=True).start()
    is_over.wait(START_SECONDS_MAX)
    if not found:
        process.kill()
        process.wait()
        pytest.fail(f"the server did not become ready; it said:\n{log.read_text()[-4000:]}")
    return found[0]


def run_troupe(*arguments: str, seconds_max: float = 60, **options) -> subprocess.CompletedProcess:
    """Runs a command of the binary to its end; stdin is empty unless `input` is given."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([required_file("TROUPE_BINARY"), *arguments], capture_output=True, text=True,
                          timeout=seconds_max, **options)


@functools.cache
def known_flags(command: str) -> frozenset[str]:
    """The long flags that a command's --help lists."""
    return frozenset(re.findall(r"--[a-z][a-z0-9-]*", run_troupe(command, "--help").stdout))


@contextlib.contextmanager
def running_server(*arguments: str, model: pathlib.Path | None = None):
    """`with running_server("--max-num-seqs", "4") as server:`; ends it, and checks that it ends well.

    Serves TROUPE_TEST_MODEL unless another model is given.
    """
    binary, model = required_file("TROUPE_BINARY"), model or required_file("TROUPE_TEST_MODEL")
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "stderr"
        with open(log, "wb") as errors:
            process = subprocess.Popen(
                [binary, "serve", "--model", model, "--http", "127.0.0.1:0",
                 "--zmq", "tcp://127.0.0.1:0", *arguments],
                stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            ready = wait_for_ready_line(process, log)
            server = Server(ready[1].rstrip("/"), ready[2], process, log)
            yield server
            code = server.stop()
            assert code == 0, f"exit code {code}; the server said:\n{log.read_text()[-4000:]}"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


@pytest.fixture(scope="session")
def server():
    """One server, shared by all tests that do not change how it is started."""
    with running_server() as running:
        yield running


def wait_until(condition, seconds_max: float = 30.0, what: str = "the condition"):
    """Returns the condition's first true value."""
    deadline = time.monotonic() + seconds_max
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {seconds_max} s"
        time.sleep(0.02)
    return value

"""The systems that are compared: what each needs, how it starts, when it is ready, how it stops."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS_MAX = 300.0
READY_POLL_SECONDS = 0.05
STOP_SECONDS_MAX = 30.0
QUANTIZE_SECONDS_MAX = 600.0
MODEL_NAME = "smol"
LLAMA_SLOTS = 32
LLAMA_SLOT_TOKENS = 2048  # the longest conversation that vLLM's client keeps
LOG_TAIL_BYTES = 2000


class CompareError(Exception):
    """What stops the comparison, in words for its user."""


@dataclasses.dataclass(frozen=True)
class Places:
    peers: Path
    troupe: Path

    @property
    def gguf(self) -> Path:
        return self.peers / "models" / "smol.gguf"

    @property
    def gguf_q4_0(self) -> Path:
        return self.peers / "models" / "smol-q4_0.gguf"

    @property
    def hf_folder(self) -> Path:
        return self.peers / "models" / "hf-smol"

    @property
    def conversations(self) -> Path:
        return self.peers / "sharegpt.json"

    @property
    def vllm_python(self) -> Path:
        return self.peers / "vllm" / "bin" / "python"

    @property
    def vllm(self) -> Path:
        return self.peers / "vllm" / "bin" / "vllm"

    def llama(self, program: str) -> Path:
        return self.peers / "llama" / program


@dataclasses.dataclass(frozen=True)
class System:
    name: str
    title: str
    needs: tuple[Path, ...]
    command: tuple[str, ...]  # without the port
    port_flag: str  # the port follows it, after this text: "--http", "127.0.0.1:"
    port_prefix: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    def command_for(self, port: int) -> list[str]:
        return [*self.command, self.port_flag, f"{self.port_prefix}{port}"]


def all_systems(places: Places, core_count: int) -> dict[str, System]:
    def llama(name: str, title: str, file: Path, *further: Path) -> System:
        threads = str(core_count)
        server = places.llama("llama-server")
        return System(name, title, (server, places.gguf, *further),
                      (str(server), "-m", str(file), "-t", threads, "-tb", threads, "-np", str(LLAMA_SLOTS), "-c",
                       str(LLAMA_SLOTS * LLAMA_SLOT_TOKENS), "-a", MODEL_NAME, "--no-webui"), "--port")

    def troupe(name: str, title: str, *flags: str) -> System:
        return System(name, title, (places.troupe, places.gguf),
                      (str(places.troupe), "serve", "--model", str(places.gguf), "--served-model-name", MODEL_NAME, "--zmq",
                       "tcp://127.0.0.1:0", *flags), "--http", "127.0.0.1:")

    systems = [
        troupe("troupe", "Troupe, Q4_1"),
        troupe("troupe-int8", "Troupe, Q4_1, int8 KV cache", "--kv-cache-dtype", "int8"),
        troupe("troupe-avx512", "Troupe, Q4_1, AVX-512", "--isa", "avx512"),
        troupe("troupe-avx512-int8", "Troupe, Q4_1, AVX-512, int8 KV", "--isa", "avx512", "--kv-cache-dtype", "int8"),
        System("vllm", "vLLM CPU, bf16", (places.vllm_python, places.hf_folder),
               (str(places.vllm_python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(places.hf_folder),
                "--served-model-name", MODEL_NAME, "--max-model-len", "4096", "--dtype", "bfloat16", "--max-num-seqs",
                "64"), "--port",
               environment=(("VLLM_CPU_KVCACHE_SPACE", "2"), ("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"),
                            ("VLLM_NO_USAGE_STATS", "1"))),
        llama("llama", "llama-server, Q4_1", places.gguf),
        llama("llama-q4_0", "llama-server, Q4_0", places.gguf_q4_0, places.llama("llama-quantize")),
    ]
    return {system.name: system for system in systems}


def check_needs(systems: list[System], further: list[Path]) -> None:
    missing = sorted({str(path) for system in systems for path in system.needs if not path.exists()} |
                     {str(path) for path in further if not path.exists()})
    if missing:
        raise CompareError("missing: " + ", ".join(missing) + "\n(bench/compare/install_peers makes the peers; "
                           "--systems chooses fewer)")


def make_q4_0(places: Places) -> None:
    """Once; the same weights in the format that llama.cpp computes fastest."""
    if places.gguf_q4_0.exists():
        return
    partial = places.gguf_q4_0.with_name(places.gguf_q4_0.name + ".partial")
    done = subprocess.run([places.llama("llama-quantize"), "--allow-requantize", places.gguf, partial, "Q4_0"],
                          capture_output=True, text=True, timeout=QUANTIZE_SECONDS_MAX, check=False)
    if done.returncode != 0:
        raise CompareError(f"llama-quantize failed:\n{done.stderr[-LOG_TAIL_BYTES:]}")
    partial.rename(places.gguf_q4_0)


def check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as refused:
            raise CompareError(f"port {port} cannot be used ({refused.strerror}); choose another with --port") from None


def is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(process: subprocess.Popen, port: int, log: Path, seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while not is_healthy(port):
        if process.poll() is not None:
            raise CompareError(f"the server ended with code {process.returncode}; {log} ends:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise CompareError(f"the server was not ready within {seconds_max:g} s; {log} ends:\n{tail(log)}")
        time.sleep(READY_POLL_SECONDS)


def tail(log: Path) -> str:
    return log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")


def stop(process: subprocess.Popen) -> None:
    """Asks, waits, and then takes what is left of the process group by force."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=STOP_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=STOP_SECONDS_MAX)


def _end(signum: int, _frame: object) -> None:
    raise SystemExit(128 + signum)


@contextlib.contextmanager
def running(system: System, port: int, log: Path):
    """`with running(...) as ready_seconds:` the time from exec until it answered /health with 200."""
    check_port(port)
    signal.signal(signal.SIGTERM, _end)  # not to leave the server behind
    with open(log, "wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(system.command_for(port), stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                   env={**os.environ, **dict(system.environment)}, start_new_session=True)
        try:
            wait_until_ready(process, port, log, READY_SECONDS_MAX)
            yield time.monotonic() - began
        finally:
            stop(process)

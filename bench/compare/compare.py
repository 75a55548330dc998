#!/usr/bin/env python3
"""Measures Troupe and its peers on this machine, one after another, with vLLM's own client on the same work.

In each round every system is started afresh and gets the same requests, of a seed of the round. Writes results.json
(after every run), table.md and figure.svg to the folder of --out.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import chart
import figures
from systems import MODEL_NAME, CompareError, Places, System, all_systems, check_needs, check_port, make_q4_0, running, tail

CLIENT_SECONDS_MAX = 3600.0
VERSION_SECONDS_MAX = 60.0
IDLE_LOAD_MAX = 0.5  # of the whole machine: above it something else is at work
SEED = 7
SEEDS_A_ROUND = 100  # more than there are works


@dataclasses.dataclass(frozen=True)
class Work:
    title: str
    prompt_count: int
    concurrency: int
    data: tuple[str, ...]  # arguments of vLLM's client; @CONVERSATIONS is the file


def works_of(is_quick: bool) -> dict[str, Work]:
    sharegpt = ("--dataset-name", "sharegpt", "--dataset-path", "@CONVERSATIONS")
    if is_quick:
        random = ("--dataset-name", "random", "--random-input-len", "64", "--random-output-len", "16")
        return {"sharegpt": Work("8 ShareGPT prompts, 16 tokens each, at concurrency 4", 8, 4,
                                 (*sharegpt, "--sharegpt-output-len", "16")),
                "random": Work("8 random prompts, 64 in, 16 out, at concurrency 8", 8, 8, random),
                "single": Work("8 random prompts, 64 in, 16 out, one at a time", 8, 1, random)}
    random = ("--dataset-name", "random", "--random-input-len", "512", "--random-output-len", "128")
    return {"sharegpt": Work("64 ShareGPT conversations at concurrency 16", 64, 16, sharegpt),
            "random": Work("64 random prompts, 512 in, 128 out, at concurrency 32", 64, 32, random),
            "single": Work("8 random prompts, 512 in, 128 out, one at a time", 8, 1, random)}


def say(text: str) -> None:
    print(f"compare: {text}", file=sys.stderr, flush=True)


def first_line(command: list, **options) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              timeout=VERSION_SECONDS_MAX, check=False, **options)
        lines = [line for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        return next((line for line in lines if "version" in line), lines[0] if lines else "unknown")
    return "unknown"


def version_of(system: System, places: Places) -> str:
    if system.name.startswith("troupe"):
        return first_line([places.troupe, "--version"])
    if system.name == "vllm":
        return first_line([places.vllm_python, "-c", "import importlib.metadata as m; print(m.version('vllm'))"])
    return first_line([places.llama("llama-server"), "--version"])


def describe_machine() -> dict:
    model, memory_kib = platform.processor() or platform.machine(), 0
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
        memory_kib = next(int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines()
                          if line.startswith("MemTotal"))
    return {"cpu": model, "core_count": len(os.sched_getaffinity(0)), "memory_gib": memory_kib / 2**20,
            "system": platform.platform(), "load_average": os.getloadavg()[0]}


def client_command(places: Places, port: int, work: Work, seed: int, temperature: float, result: Path) -> list[str]:
    data = [str(places.conversations) if part == "@CONVERSATIONS" else part for part in work.data]
    return [str(places.vllm), "bench", "serve", "--backend", "openai", "--base-url", f"http://127.0.0.1:{port}", "--model",
            MODEL_NAME, "--tokenizer", str(places.hf_folder), "--num-prompts", str(work.prompt_count), "--max-concurrency",
            str(work.concurrency), "--seed", str(seed), "--ignore-eos", "--temperature", str(temperature),
            "--percentile-metrics", "ttft,tpot,itl,e2el", "--metric-percentiles", "50,90,99", "--save-result",
            "--result-dir", str(result.parent), "--result-filename", result.name, *data]


def measure(places: Places, port: int, work: Work, seed: int, temperature: float, result: Path) -> dict:
    log = result.with_suffix(".log")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with open(log, "wb") as out:
        try:
            done = subprocess.run(client_command(places, port, work, seed, temperature, result), stdin=subprocess.DEVNULL,
                                  stdout=out, stderr=out, env=environment, timeout=CLIENT_SECONDS_MAX, check=False)
        except subprocess.TimeoutExpired:
            raise CompareError(f"vLLM's client was not done within {CLIENT_SECONDS_MAX:g} s; {log} ends:\n{tail(log)}") from None
    if done.returncode != 0 or not result.exists():
        raise CompareError(f"vLLM's client ended with code {done.returncode}; {log} ends:\n{tail(log)}")
    metrics = json.loads(result.read_text())
    return {key: value for key, value in metrics.items() if isinstance(value, (int, float))}


def write_results(results: dict, folder: Path) -> None:
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / "table.md").write_text(figures.table(results))
    (folder / "figure.svg").write_text(chart.svg(results))


def compare(places: Places, options: argparse.Namespace) -> dict:
    machine = describe_machine()
    if machine["load_average"] > IDLE_LOAD_MAX * machine["core_count"]:
        say(f"warning: the load average is {machine['load_average']:.2f}: this machine is not idle")
    known_systems, known_works = all_systems(places, machine["core_count"]), works_of(options.quick)
    systems = [known_systems[name] for name in options.systems]
    works = {name: known_works[name] for name in options.work}
    check_needs(systems, [places.vllm, places.hf_folder] + ([places.conversations] if "sharegpt" in works else []))
    check_port(options.port)
    if "llama-q4_0" in options.systems:
        make_q4_0(places)
    options.out.mkdir(parents=True, exist_ok=True)
    results = {"date": datetime.date.today().isoformat(), "machine": machine, "rounds": options.rounds,
               "temperature": options.temperature, "titles": {system.name: system.title for system in systems},
               "works": {name: work.title for name, work in works.items()},
               "versions": {system.name: version_of(system, places) for system in systems}, "starts": [], "runs": []}
    for round_index in range(options.rounds):
        for system in systems:
            name = f"{round_index + 1}-{system.name}"
            say(f"round {round_index + 1} of {options.rounds}: {system.title}")
            with running(system, options.port, options.out / f"{name}.log") as ready_s:
                results["starts"].append({"round": round_index, "system": system.name, "ready_s": ready_s})
                for work_index, (work_name, work) in enumerate(works.items()):
                    seed = SEED + round_index * SEEDS_A_ROUND + work_index
                    metrics = measure(places, options.port, work, seed, options.temperature,
                                      options.out / f"{name}-{work_name}.json")
                    say(f"  {work_name}: {metrics['output_throughput']:.1f} output tok/s")
                    results["runs"].append({"round": round_index, "system": system.name, "work": work_name, "seed": seed,
                                            "metrics": metrics})
                    write_results(results, options.out)
    return results


def names(known: tuple[str, ...]):
    """The type of an argument that is a list of these names."""
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return list(dict.fromkeys(chosen))
    return parse


def parse_options(arguments: list[str]) -> argparse.Namespace:
    system_names = ("troupe", "troupe-int8", "vllm", "llama", "llama-q4_0")
    work_names = ("sharegpt", "random", "single")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="what bench/compare/install_peers filled")
    parser.add_argument("--troupe", type=Path, required=True, help="the troupe program")
    parser.add_argument("--out", type=Path, required=True, help="folder for results, table, figure and logs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=names(work_names), default=list(work_names), help=",".join(work_names))
    avx512_names = ("troupe-avx512", "troupe-avx512-int8")
    parser.add_argument("--systems", type=names((*system_names, *avx512_names)), default=list(system_names),
                        help=",".join(system_names) + "; where AMX is the default, also " + ",".join(avx512_names))
    parser.add_argument("--port", type=int, default=8311)
    parser.add_argument("--temperature", type=float, default=0.0, help="sent to all, whose defaults differ")
    parser.add_argument("--quick", action="store_true", help="one round of 8 short prompts: does everything work?")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds = 1
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main() -> int:
    options = parse_options(sys.argv[1:])
    try:
        compare(Places(options.peers.resolve(), options.troupe.resolve()), options)
    except CompareError as failure:
        say(str(failure))
        return 1
    say(f"written: {options.out / 'table.md'}, {options.out / 'figure.svg'}, {options.out / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

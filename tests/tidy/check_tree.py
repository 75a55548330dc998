#!/usr/bin/env python3
"""Rules of the source tree that no compiler checks: who may include whom, where CAF and ZeroMQ may be, sizes,
names, machine paths, and that ARCHITECTURE.md speaks of files which exist. Prints every breach.

Usage: check_tree.py [ROOT]
"""

import re
import subprocess
import sys
from pathlib import Path

LINES_MAX = 500
BYTES_MAX = 4 << 20
# Generated tables.
LONG_FILES = {
    "runtime/text/unicode_normalization_data.cpp",
    "runtime/text/unicode_class_data.cpp",
    "runtime/text/jinja/unicode_tables.cpp",
}
TEXT_SUFFIXES = {".cpp", ".hpp", ".h", ".cu", ".cuh", ".py", ".cmake", ".txt", ".md", ".yaml", ".yml", ".toml",
                 ".json", ".in", ".sh", ""}
CODE_SUFFIXES = {".cpp", ".hpp", ".h", ".cu", ".cuh", ".py"}
PROJECT_FOLDERS = ("kernels", "config", "runtime", "actors", "clients", "cli", "tests", "bench", "examples")

CORE = ("kernels/", "config/", "runtime/")
# The first prefix that fits a file names all that it may include.
MAY_INCLUDE = (
    ("kernels/base/", ("kernels/base/",)),
    ("kernels/", ("kernels/",)),
    ("config/", ("config/", "kernels/base/")),
    ("runtime/", CORE),
    ("actors/", (*CORE, "actors/")),
    ("clients/", (*CORE, "actors/", "clients/")),
    ("cli/", (*CORE, "actors/", "clients/", "bench/", "cli/")),
    ("cmake/", (*CORE, "actors/")),  # troupe.hpp, which is installed
    ("bench/", (*CORE, "actors/", "clients/", "bench/")),
    ("tests/", (*CORE, "actors/", "clients/", "bench/", "tests/")),
    ("examples/", (*CORE, "actors/", "clients/", "examples/", "troupe.hpp")),
)
# Libraries that only some folders may include.
ONLY_IN = {
    "caf/": ("actors/", "tests/", "examples/"),
    "zmq": ("actors/gateway/", "actors/node/", "clients/cpp/", "tests/"),
}
BAD_NAMES = re.compile(r"(^|[_-])(utils?|helpers?|managers?|misc|common)([_.-]|$)")
MACHINE_PATHS = re.compile(r"(?<![\w.~$}])/(home|root|Users|workspace|mnt|work)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def files_of(root: Path) -> list[str]:
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard"], capture_output=True,
                            text=True, check=False)
    if listed.returncode == 0:
        return [name for name in listed.stdout.splitlines() if (root / name).is_file()]
    skipped = re.compile(r"^(build|install|\.|__pycache__)")
    return [str(path.relative_to(root)) for path in root.rglob("*")
            if path.is_file() and not any(skipped.match(part) for part in path.relative_to(root).parts)]


def check_includes(name: str, text: str) -> list[str]:
    breaches = []
    allowed = next((to for start, to in MAY_INCLUDE if name.startswith(start)), None)
    for bracket, target in INCLUDE.findall(text):
        ours = target.startswith(tuple(folder + "/" for folder in PROJECT_FOLDERS))
        if bracket == "<" and ours:
            breaches.append(f'{name}: include our own "{target}" with quotes')
        if ours and (allowed is None or not target.startswith(allowed)):
            breaches.append(f"{name}: may not include {target} (ARCHITECTURE.md, Folders)")
        for library, folders in ONLY_IN.items():
            if bracket == "<" and target.startswith(library) and not name.startswith(folders):
                breaches.append(f"{name}: <{target}> belongs in {', '.join(folders)}")
    return breaches


def check_file(root: Path, name: str) -> list[str]:
    path = root / name
    breaches = []
    if BAD_NAMES.search(name.replace("/", "_")):
        breaches.append(f"{name}: a name that says nothing (util, helper, manager, misc, common)")
    if path.stat().st_size > BYTES_MAX:
        breaches.append(f"{name}: {path.stat().st_size} bytes, at most {BYTES_MAX}")
    if path.suffix not in TEXT_SUFFIXES:
        return breaches
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return breaches
    if path.suffix in CODE_SUFFIXES and name not in LONG_FILES:
        lines = text.count("\n")
        if lines > LINES_MAX:
            breaches.append(f"{name}: {lines} lines, at most {LINES_MAX}: look for the second idea in it")
    if path.suffix in {".hpp", ".h", ".cuh"} and "#pragma once" not in text:
        breaches.append(f"{name}: no #pragma once")
    if name != "tests/tidy/check_tree.py" and path.suffix != ".json":
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line):
                breaches.append(f"{name}:{number}: a machine's path: {line.strip()[:80]}")
    if path.suffix in {".cpp", ".hpp", ".h", ".cu", ".cuh"}:
        breaches += check_includes(name, text)
    return breaches


def check_architecture(root: Path) -> list[str]:
    page = root / "ARCHITECTURE.md"
    if not page.exists():
        return []
    breaches = []
    for path in re.findall(r"`([A-Za-z0-9_.-]+/[A-Za-z0-9_./-]*)`", page.read_text(encoding="utf-8")):
        if not (root / path).exists():
            breaches.append(f"ARCHITECTURE.md: {path} does not exist")
    return breaches


def check_itself() -> None:
    """Each rule finds what it is for."""
    assert check_includes("runtime/a.cpp", '#include "actors/b.hpp"\n')
    assert check_includes("kernels/base/a.hpp", '#include "kernels/exp/exp.hpp"\n')
    assert check_includes("config/a.cpp", '#include "runtime/b.hpp"\n')
    assert check_includes("runtime/a.cpp", "#include <caf/all.hpp>\n")
    assert check_includes("actors/router/a.cpp", "#include <zmq.hpp>\n")
    assert not check_includes("actors/gateway/a.cpp", '#include <zmq.hpp>\n#include "runtime/b.hpp"\n')
    assert BAD_NAMES.search("runtime_string_utils.hpp") and BAD_NAMES.search("kernels_common_a.hpp")
    assert not BAD_NAMES.search("runtime_utilization.hpp")
    assert MACHINE_PATHS.search("see /" + "home/someone/x") and not MACHINE_PATHS.search("a/work/b")


def main() -> int:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    check_itself()
    names = sorted(files_of(root))
    breaches = [breach for name in names for breach in check_file(root, name)] + check_architecture(root)
    for breach in breaches:
        print(breach)
    print(f"{len(names)} files, {len(breaches)} breaches")
    return 1 if breaches or not names else 0


if __name__ == "__main__":
    sys.exit(main())

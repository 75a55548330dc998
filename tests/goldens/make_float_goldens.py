"""Writes tests/models/smollm2-float.json: the default model's logits in float32.

The GGUF's weights, dequantized by transformers, with float32 activations and float32 KV, on the token
sequences of smollm2-greedy.json (prompt and what llama.cpp said, so every step sees what llama.cpp saw).
This is what llama.cpp and this server both approximate with int8 activations; forward_greedy_test.cpp
compares the two with it. For each step the JSON has four tokens and their logits: the two that
smollm2-greedy.json records, then the most likely others.

    pip install torch==2.13.0 transformers==5.19.0 gguf==0.19.0 numpy
    python tests/goldens/make_float_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf

Takes a minute or two on one core, and 2 GB of memory.
"""

import argparse
import hashlib
import json
import pathlib

import torch
import transformers

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"
TOKENS_PER_STEP = 4


def step_tokens(row, recorded):
    likely = torch.topk(row, TOKENS_PER_STEP).indices.tolist()
    return (recorded + [token for token in likely if token not in recorded])[:TOKENS_PER_STEP]


def make_case(model, sample):
    ids = sample["prompt_ids"] + sample["output_ids"][:-1]
    with torch.no_grad():
        rows = model(torch.tensor([ids]), logits_to_keep=len(sample["output_ids"])).logits[0]
    case = {"ids": [], "logits": []}
    for row, first, second in zip(rows, sample["output_ids"], sample["second_ids"], strict=True):
        tokens = step_tokens(row, [first, second])
        case["ids"].append(tokens)
        case["logits"].append([round(float(row[token]), 4) for token in tokens])
    return case


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", type=pathlib.Path, help="the SmolLM2-135M-Instruct Q4_1 GGUF")
    path = arguments.parse_args().model
    greedy = json.loads((MODELS / "smollm2-greedy.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != greedy["model_sha256"]:
        raise SystemExit(f"{path} is not the model of smollm2-greedy.json: its SHA-256 is {digest}")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    goldens = {
        "made_by": "tests/goldens/make_float_goldens.py",
        "oracle": f"transformers {transformers.__version__}, torch {torch.__version__}, CPU, float32",
        "model_sha256": digest,
        "cases": [make_case(model, sample) for sample in greedy["cases"]],
    }
    text = json.dumps(goldens, separators=(",", ":"))
    (MODELS / "smollm2-float.json").write_text(text + "\n", encoding="utf-8")
    print(f"smollm2-float.json: {len(text)} bytes")


if __name__ == "__main__":
    main()

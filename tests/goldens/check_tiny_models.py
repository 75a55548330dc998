"""Compares tests/models/tiny-*.json with llama.cpp, a second and independent oracle.

    pip install llama-cpp-python==0.3.36 numpy
    python tests/goldens/check_tiny_models.py

Prints the largest difference of a logit for each model and position and fails above 0.001. (Both compute in
float32 here; a wrong permutation, key or RoPE scaling shows as a difference of 0.1 or more.)
"""

import json
import pathlib
import sys

import llama_cpp
import numpy as np

MODELS = pathlib.Path(__file__).resolve().parent.parent / "models"
DIFFERENCE_MAX = 0.001


def main():
    worst = 0.0
    for path in sorted(MODELS.glob("tiny-*.json")):
        goldens = json.loads(path.read_text())
        llama = llama_cpp.Llama(
            str(MODELS / goldens["model"]),
            n_ctx=512,
            n_batch=512,
            n_threads=1,
            logits_all=True,
            type_k=llama_cpp.GGML_TYPE_F32,
            type_v=llama_cpp.GGML_TYPE_F32,
            verbose=False,
        )
        for sequence in goldens["sequences"]:
            llama.reset()
            llama.eval(sequence["input_ids"])
            for row in sequence["logits"]:
                difference = np.abs(llama.scores[row["position"]] - np.array(row["values"])).max()
                worst = max(worst, float(difference))
                print(f"{path.stem} position {row['position']}: {difference:.2e}")
    return 0 if worst <= DIFFERENCE_MAX else 1


if __name__ == "__main__":
    sys.exit(main())

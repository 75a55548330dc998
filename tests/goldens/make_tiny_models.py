"""Writes tests/models/tiny-*.gguf and, beside each, a .json with what the model has to compute.

The models are random, but every part of their architecture matters to their logits: gains are chosen so
that attention is peaked, norms are not 1 and biases are not 0. Weights are rounded to bfloat16 (and stored
as F32), so that a test may store them as BF16 without changing the goldens, and git compresses them.
Names, keys and the permutation of Q and K follow llama.cpp's convert_hf_to_gguf.py; the oracle
is transformers in float32 with eager attention.

    pip install torch transformers==5.19.0 gguf numpy
    python tests/goldens/make_tiny_models.py

Runs in half a minute and is deterministic: weights and ids come from numpy generators with fixed seeds.
check_tiny_models.py compares the same goldens with llama.cpp.
"""

import json
import math
import pathlib
from dataclasses import dataclass, field

import gguf
import numpy as np
import torch
import transformers

OUTPUT = pathlib.Path(__file__).resolve().parent.parent / "models"

VOCAB_SIZE = 320
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGE_TEXT = (
    "the quick brown fox jumps over the lazy dog and then the dog jumps over the other fox "
    "there is no other thing in the world that the two of them would rather be doing "
) * 3
CHAT_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass
class TinyModel:
    """One file: its architecture, and what differs from the base configuration."""

    name: str
    architecture: str  # as GGUF spells it
    pre_tokenizer: str
    seed: int
    config: dict = field(default_factory=dict)
    explicit_head_dim: bool = False  # write attention.key_length although it is hidden / heads


MODELS = [
    TinyModel("tiny-llama", "llama", "smollm", 1),
    TinyModel(
        "tiny-llama3-rope",
        "llama",
        "llama-bpe",
        2,
        {
            "num_hidden_layers": 1,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        explicit_head_dim=True,
    ),
    TinyModel(
        "tiny-llama-linear",
        "llama",
        "smollm",
        3,
        {
            "num_hidden_layers": 1,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        },
    ),
    TinyModel("tiny-qwen2", "qwen2", "qwen2", 4, {"rms_norm_eps": 1e-6}),
    TinyModel(
        "tiny-qwen2-yarn",
        "qwen2",
        "qwen2",
        5,
        {
            "num_hidden_layers": 1,
            "max_position_embeddings": 128,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10000.0,
                "factor": 4.0,
                "original_max_position_embeddings": 128,
            },
        },
    ),
    TinyModel(
        "tiny-qwen3",
        "qwen3",
        "qwen2",
        6,
        {"head_dim": 24, "rms_norm_eps": 1e-6, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
    ),
]

BASE_CONFIG = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
}

CLASSES = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}

# Sequence lengths, and the positions whose whole logits are stored. 300 crosses a segment of 256 keys.
SEQUENCES = [(40, [0, 1, 17, 39]), (300, [254, 255, 256, 299])]


def byte_characters():
    """GPT-2's printable stand-in for each byte."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(b) if b in kept else chr(next(others)) for b in range(256)]


def make_vocabulary():
    """Byte-level BPE: special tokens, the 256 bytes, then merges learned from MERGE_TEXT."""
    stand_in = byte_characters()
    tokens = SPECIAL_TOKENS + sorted(stand_in, key=ord)
    merges = []
    words = [[stand_in[b] for b in (" " + word).encode()] for word in MERGE_TEXT.split()]
    while len(tokens) < VOCAB_SIZE:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        # Ties go to the smaller pair, so that the list does not depend on dictionary order.
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(" ".join(best))
        tokens.append("".join(best))
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = ["".join(best)]
                i += 1
    types = [gguf.TokenType.CONTROL] * len(SPECIAL_TOKENS)
    types += [gguf.TokenType.NORMAL] * (len(tokens) - len(types))
    return tokens, types, merges


def randomize(model, generator):
    """Gives every parameter values of a size at which it shows in the logits."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = generator.standard_normal(tuple(parameter.shape)).astype(np.float32)
            if "norm" in name:
                values = 1.0 + 0.2 * noise
            elif name.endswith("bias"):
                values = 0.5 * noise
            elif "embed" in name or "lm_head" in name:
                values = 0.5 * noise
            else:
                gain = 1.5 if "q_proj" in name or "k_proj" in name else 1.0
                values = gain * noise / math.sqrt(parameter.shape[1])
            parameter.copy_(torch.from_numpy(values).to(torch.bfloat16))


def interleave(weight, head_count):
    """Rows of a head from halves (0 .. d/2-1, d/2 .. d-1) to pairs (0, d/2, 1, d/2+1, ...)."""
    rows = weight.shape[0]
    halves = weight.reshape(head_count, 2, rows // head_count // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def llama3_rope_factors(config):
    """What convert_hf_to_gguf.py stores in rope_freqs.weight: divisors of the plain frequencies."""
    rope = config.rope_parameters
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    original = rope["original_max_position_embeddings"]
    factors = []
    for i in range(0, config.head_dim, 2):
        wavelength = 2 * math.pi * rope["rope_theta"] ** (i / config.head_dim)
        if wavelength < original / high:
            factors.append(1.0)
        elif wavelength > original / low:
            factors.append(rope["factor"])
        else:
            smooth = (original / wavelength - low) / (high - low)
            factors.append(1.0 / ((1.0 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
GLOBAL_NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem, kind = name.rsplit(".", 1)
    if stem in GLOBAL_NAMES:
        return f"{GLOBAL_NAMES[stem]}.{kind}"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def write_metadata(writer, tiny, config):
    writer.add_type("model")
    writer.add_name(tiny.name)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    rope = config.rope_parameters
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if tiny.explicit_head_dim or tiny.architecture == "qwen3":
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    if tiny.architecture == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(head_dim)

    tokens, types, merges = make_vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(tiny.pre_tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    writer.add_pad_token_id(config.eos_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_model(tiny, model):
    config = model.config
    writer = gguf.GGUFWriter(OUTPUT / f"{tiny.name}.gguf", tiny.architecture)
    write_metadata(writer, tiny, config)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_rope_factors(config))
    for name, parameter in model.named_parameters():  # a tied lm_head is not listed
        values = parameter.detach().float().numpy()
        if tiny.architecture == "llama" and "q_proj" in name:
            values = interleave(values, config.num_attention_heads)
        elif tiny.architecture == "llama" and "k_proj" in name:
            values = interleave(values, config.num_key_value_heads)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(values):
    """Nine significant digits give back the same float."""
    return [float(f"{v:.9g}") for v in np.asarray(values, dtype=np.float64).tolist()]


def make_goldens(tiny, model, generator):
    rotary = model.model.rotary_emb
    sequences = []
    for length, positions in SEQUENCES:
        ids = generator.integers(0, VOCAB_SIZE, size=length)
        with torch.no_grad():
            logits = model(input_ids=torch.from_numpy(ids)[None]).logits[0]
        best = torch.topk(logits, 2, dim=-1).values
        sequences.append(
            {
                "input_ids": ids.tolist(),
                "argmax": logits.argmax(dim=-1).tolist(),
                "margin_min": float((best[:, 0] - best[:, 1]).min()),
                "logits": [{"position": p, "values": rounded(logits[p].numpy())} for p in positions],
            }
        )
    return {
        "model": f"{tiny.name}.gguf",
        "made_by": "tests/goldens/make_tiny_models.py",
        "oracle": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}, "
        "float32, eager attention",
        "rope": {
            "frequencies": rounded(rotary.inv_freq.numpy()),
            "attention_factor": float(rotary.attention_scaling),
        },
        "sequences": sequences,
    }


def main():
    torch.set_num_threads(1)
    OUTPUT.mkdir(exist_ok=True)
    for tiny in MODELS:
        config_class, model_class = CLASSES[tiny.architecture]
        settings = {**BASE_CONFIG, **tiny.config}
        model = model_class(config_class(**settings)).eval()
        generator = np.random.default_rng(tiny.seed)
        randomize(model, generator)
        write_model(tiny, model)
        goldens = make_goldens(tiny, model, generator)
        path = OUTPUT / f"{tiny.name}.json"
        path.write_text(json.dumps(goldens, separators=(",", ":")) + "\n")
        print(f"{tiny.name}: {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()

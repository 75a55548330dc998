#!/usr/bin/env python3
"""Writes a GGUF file of a known model's shapes with random weights: what kernels and servers take for it is measured
without a download. Its text means nothing.

    pip install gguf==0.19.0 numpy
    bench/kernels/make_random_model.py --shape qwen2-1.5b --type q4_k_m --tokenizer MODEL.gguf OUT.gguf

Tensors are typed as llama-quantize would: q4_k_m keeps what matters most in Q6_K, rows that no K-block fits become
Q5_0 or Q8_0. Quants are random bytes, scales such that a row's products sum to about 1. Takes a few seconds.
"""

import argparse
import dataclasses
import pathlib
from collections.abc import Iterator

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 7


@dataclasses.dataclass(frozen=True)
class Shape:
    architecture: str
    hidden: int
    intermediate: int
    layers: int
    vocabulary: int
    heads: int
    kv_heads: int
    head_dim: int
    context: int
    rope_base: float
    epsilon: float
    has_biases: bool = False


SHAPES = {
    "smollm2-135m": Shape("llama", 576, 1536, 30, 49152, 9, 3, 64, 8192, 100_000.0, 1e-5),
    "qwen2-1.5b": Shape("qwen2", 1536, 8960, 28, 151_936, 12, 2, 128, 32_768, 1_000_000.0, 1e-6, has_biases=True),
    "tiny": Shape("qwen2", 256, 512, 2, 1024, 4, 2, 64, 2048, 1_000_000.0, 1e-6, has_biases=True),
}


@dataclasses.dataclass(frozen=True)
class Mix:
    """The types of a file: most matrices, the attention's V and ffn_down of some layers, the embedding and head."""
    layers: Type
    precise: Type
    head: Type
    file_type: gguf.LlamaFileType


MIXES = {
    "q4_k_m": Mix(Type.Q4_K, Type.Q6_K, Type.Q6_K, gguf.LlamaFileType.MOSTLY_Q4_K_M),
    "q4_1": Mix(Type.Q4_1, Type.Q4_1, Type.Q6_K, gguf.LlamaFileType.MOSTLY_Q4_1),
    "q4_0": Mix(Type.Q4_0, Type.Q4_0, Type.Q6_K, gguf.LlamaFileType.MOSTLY_Q4_0),
    "q8_0": Mix(Type.Q8_0, Type.Q8_0, Type.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
# What llama-quantize takes for rows that are not whole K-blocks.
WITHOUT_K_BLOCKS = {Type.Q4_K: Type.Q5_0, Type.Q6_K: Type.Q8_0}


@dataclasses.dataclass(frozen=True)
class Scales:
    """Where a block's f16 scales lie, and the values that give an element a mean of 0 and a deviation of 1."""
    places: tuple[int, ...]  # byte offsets
    values: tuple[float, ...]


NIBBLE_MEAN, NIBBLE_DEVIATION = 7.5, 4.6  # of 0 .. 15
SIX_BITS_MEAN, SIX_BITS_DEVIATION = 31.5, 18.5  # of 0 .. 63
BYTE_DEVIATION = 73.9  # of -128 .. 127
SCALES = {
    Type.Q4_0: Scales((0,), (1 / NIBBLE_DEVIATION,)),
    Type.Q4_1: Scales((0, 2), (1 / NIBBLE_DEVIATION, -NIBBLE_MEAN / NIBBLE_DEVIATION)),
    Type.Q5_0: Scales((0,), (1 / 9.2,)),
    Type.Q8_0: Scales((0,), (1 / BYTE_DEVIATION,)),
    # Six-bit scales and minima, both random, multiply the f16 ones.
    Type.Q4_K: Scales((0, 2), (1 / (NIBBLE_DEVIATION * SIX_BITS_MEAN),
                               NIBBLE_MEAN / (NIBBLE_DEVIATION * SIX_BITS_MEAN))),
    Type.Q6_K: Scales((208,), (1 / (SIX_BITS_DEVIATION * BYTE_DEVIATION),)),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]  # rows and columns, or columns
    type: Type

    def byte_shape(self) -> tuple[int, ...]:
        block_elements, block_bytes = gguf.GGML_QUANT_SIZES[self.type]
        return (*self.shape[:-1], self.shape[-1] // block_elements * block_bytes)


def more_precise(layer: int, layer_count: int) -> bool:
    """llama.cpp's choice: the first and last eighth of the layers, and every third between them."""
    eighth = layer_count // 8
    return layer < eighth or layer >= 7 * layer_count // 8 or (layer - eighth) % 3 == 2


def tensors_of(shape: Shape, mix: Mix) -> Iterator[Tensor]:
    def matrix(name: str, rows: int, columns: int, wanted: Type) -> Tensor:
        fits = columns % gguf.GGML_QUANT_SIZES[wanted][0] == 0
        return Tensor(f"{name}.weight", (rows, columns), wanted if fits else WITHOUT_K_BLOCKS[wanted])

    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield matrix("token_embd", shape.vocabulary, shape.hidden, mix.head)  # the head too: it is tied
    yield Tensor("output_norm.weight", (shape.hidden,), Type.F32)
    for layer in range(shape.layers):
        start = f"blk.{layer}."
        precise = mix.precise if more_precise(layer, shape.layers) else mix.layers
        yield Tensor(f"{start}attn_norm.weight", (shape.hidden,), Type.F32)
        yield Tensor(f"{start}ffn_norm.weight", (shape.hidden,), Type.F32)
        for part, rows, kind in (("q", query, mix.layers), ("k", key, mix.layers), ("v", key, precise)):
            yield matrix(f"{start}attn_{part}", rows, shape.hidden, kind)
            if shape.has_biases:
                yield Tensor(f"{start}attn_{part}.bias", (rows,), Type.F32)
        yield matrix(f"{start}attn_output", shape.hidden, query, mix.layers)
        yield matrix(f"{start}ffn_gate", shape.intermediate, shape.hidden, mix.layers)
        yield matrix(f"{start}ffn_up", shape.intermediate, shape.hidden, mix.layers)
        yield matrix(f"{start}ffn_down", shape.hidden, shape.intermediate, precise)


def random_data(tensor: Tensor, generator: np.random.Generator) -> np.ndarray:
    if tensor.type == Type.F32:
        noise = 0.1 * generator.standard_normal(tensor.shape, dtype=np.float32)
        return noise if tensor.name.endswith("bias") else 1.0 + noise
    block_bytes = gguf.GGML_QUANT_SIZES[tensor.type][1]
    shape = tensor.byte_shape()
    blocks = np.frombuffer(bytearray(generator.bytes(shape[0] * shape[1])), dtype=np.uint8).reshape(-1, block_bytes)
    scales = SCALES[tensor.type]
    for place, value in zip(scales.places, scales.values, strict=True):
        halves = np.array([value / np.sqrt(tensor.shape[1])], dtype=np.float16)
        blocks[:, place:place + 2] = halves.view(np.uint8)
    return blocks.reshape(shape)


def write_description(writer: gguf.GGUFWriter, name: str, shape: Shape, mix: Mix) -> None:
    writer.add_type("model")
    writer.add_name(f"{name}, random weights")
    writer.add_file_type(mix.file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.intermediate)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.epsilon)


def copy_tokenizer(writer: gguf.GGUFWriter, model: pathlib.Path, vocabulary: int) -> None:
    """The tokenizer of another file; ids that it lacks become tokens that no text has."""
    fields = [field for name, field in gguf.GGUFReader(model).fields.items() if name.startswith("tokenizer.")]
    for field in fields:
        kind, value = field.types[0], field.contents()
        if field.name in ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type"):
            if len(value) > vocabulary:
                raise SystemExit(f"{model}: {len(value)} tokens, but the shape has {vocabulary}")
            spare = range(len(value), vocabulary)
            is_text = field.name.endswith("tokens")
            value += [f"[PAD{i}]" for i in spare] if is_text else [int(gguf.TokenType.UNUSED)] * len(spare)
        writer.add_key_value(field.name, value, kind,
                             sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)


def write_model(path: pathlib.Path, shape_name: str, mix_name: str, tokenizer: pathlib.Path) -> None:
    shape, mix = SHAPES[shape_name], MIXES[mix_name]
    unfinished = path.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, shape.architecture)
    write_description(writer, shape_name, shape, mix)
    copy_tokenizer(writer, tokenizer, shape.vocabulary)
    tensors = list(tensors_of(shape, mix))
    for tensor in tensors:
        nbytes = int(np.prod(tensor.byte_shape()))
        if tensor.type == Type.F32:
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), nbytes)
        else:
            writer.add_tensor_info(tensor.name, tensor.byte_shape(), np.dtype(np.uint8), nbytes, raw_dtype=tensor.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    generator = np.random.default_rng(SEED)
    for tensor in tensors:
        writer.write_tensor_data(random_data(tensor, generator))
    writer.close()
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="qwen2-1.5b")
    parser.add_argument("--type", choices=MIXES, default="q4_k_m")
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True, help="a GGUF file whose tokenizer is copied")
    parser.add_argument("output", type=pathlib.Path)
    given = parser.parse_args()
    write_model(given.output, given.shape, given.type, given.tokenizer)


if __name__ == "__main__":
    main()

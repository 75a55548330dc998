"""Tokenizers of Hugging Face `tokenizers` to compare with: trained here with the published settings of
each family and written into small GGUF files, or built from the vocabulary of a GGUF file."""

from dataclasses import dataclass, field

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

try:
    from transformers.tokenization_utils_base import generate_merges
except ImportError:  # transformers 4
    from transformers.convert_slow_tokenizer import generate_merges

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
SPACE_MARK = "\u2581"

CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_end|>x"]
USER_TOKENS = ["<think>", "</think>", "<think", "    \n"]


@dataclass
class Oracle:
    name: str
    hf: Tokenizer
    path: str  # of the GGUF file
    special_texts: list = field(default_factory=list)
    normalizes: bool = False  # NFC
    adds_bos: bool = False
    is_lossless: bool = True  # decode(encode(text)) is the text


def split_by(pattern):
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), behavior="isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def configure_byte_level(hf, pre):
    """Normalizer, pre-tokenizer and decoder as in the tokenizer.json of GPT-2, SmolLM2, Qwen2 and Llama 3."""
    if pre == "gpt-2":
        hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    elif pre == "smollm":
        hf.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
    elif pre == "qwen2":
        hf.normalizer = normalizers.NFC()
        hf.pre_tokenizer = split_by(QWEN2_PATTERN)
    elif pre == "llama-bpe":
        hf.pre_tokenizer = split_by(LLAMA3_PATTERN)
    else:
        raise ValueError(pre)
    hf.decoder = decoders.ByteLevel()


def configure_sentencepiece(hf):
    """As in the tokenizer.json of Llama 2, TinyLlama and Phi-3."""
    hf.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE_MARK), normalizers.Replace(" ", SPACE_MARK)])
    hf.pre_tokenizer = None
    hf.decoder = decoders.Sequence(
        [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )


def add_tokens(hf, control, user_defined):
    hf.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in control])
    hf.add_tokens([AddedToken(text, normalized=False, special=False) for text in user_defined])


def begin_with(hf, text):
    hf.post_processor = processors.TemplateProcessing(single=f"{text} $A", special_tokens=[(text, hf.token_to_id(text))])


def write_gguf(path, model, pre, tokens, types, *, merges=None, scores=None, bos=None, eos=None):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges is not None:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores(scores)
    if bos is not None:
        writer.add_bos_token_id(bos)
    if eos is not None:
        writer.add_eos_token_id(eos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def merges_of(hf):
    import json

    merges = json.loads(hf.to_str())["model"]["merges"]
    return [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def train_byte_level(pre, lines, folder, vocab_size=3000):
    hf = Tokenizer(models.BPE(ignore_merges=pre == "llama-bpe"))
    configure_byte_level(hf, pre)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    hf.train_from_iterator(lines, trainer)
    words = sorted(hf.get_vocab().items(), key=lambda item: item[1])
    if pre == "llama-bpe":
        # Whole words without merges: what ignore_merges is for.
        vocab = dict(words)
        for text in ("Ġunmergeable", "éléphant", "ĠÐ¿ÑĢÐ¸Ð²ÐµÑĤÑģÑĤÐ²Ð¸Ðµ", "999"):
            vocab.setdefault(text, len(vocab))
        merges = [tuple(merge.split(" ")) for merge in merges_of(hf)]
        hf.model = models.BPE(vocab=vocab, merges=merges, ignore_merges=True)
        words = sorted(vocab.items(), key=lambda item: item[1])
    add_tokens(hf, CONTROL_TOKENS, USER_TOKENS)
    tokens = [text for text, _ in words] + CONTROL_TOKENS + USER_TOKENS
    assert [hf.token_to_id(text) for text in tokens] == list(range(len(tokens)))
    types = [NORMAL] * len(words) + [CONTROL] * len(CONTROL_TOKENS) + [USER_DEFINED] * len(USER_TOKENS)
    adds_bos = pre == "llama-bpe"
    bos = hf.token_to_id("<|im_start|>")
    if adds_bos:
        begin_with(hf, "<|im_start|>")
    path = str(folder / f"{pre}.gguf")
    write_gguf(path, "gpt2", pre, tokens, types, merges=merges_of(hf), bos=bos, eos=hf.token_to_id("<|im_end|>"))
    return Oracle(pre, hf, path, CONTROL_TOKENS + USER_TOKENS, normalizes=pre == "qwen2", adds_bos=adds_bos)


def sentencepiece_model(tokens, scores, types):
    """Merges from scores, as converted tokenizer.json files have them; special tokens never merge."""
    vocab = {text: index for index, text in enumerate(tokens)}
    never = {text for text, kind in zip(tokens, types) if kind in (UNKNOWN, CONTROL, BYTE)}
    merges = generate_merges(vocab, dict(zip(tokens, scores)), skip_tokens=never)
    return Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token=tokens[types.index(UNKNOWN)], fuse_unk=True, byte_fallback=True))


def train_sentencepiece(lines, folder, byte_fallback=True, vocab_size=3000):
    scratch = Tokenizer(models.BPE())
    scratch.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, limit_alphabet=400, show_progress=False)
    scratch.train_from_iterator(lines, trainer)
    merged = ["".join(merge.split(" ")) for merge in merges_of(scratch)]
    runs = [SPACE_MARK * count for count in (2, 4, 8, 16, 3, 5)]
    merged = [text for text in dict.fromkeys(merged + runs)]
    characters = sorted(set(scratch.get_vocab()) - set(merged))

    tokens, types = ["<unk>", "<s>", "</s>"], [UNKNOWN, CONTROL, CONTROL]
    if byte_fallback:
        tokens += [f"<0x{byte:02X}>" for byte in range(256)]
        types += [BYTE] * 256
    scores = [0.0] * len(tokens)
    words = merged + characters
    scores += [float(-index) for index in range(len(words))]
    tokens += words + CONTROL_TOKENS + USER_TOKENS
    types += [NORMAL] * len(words) + [CONTROL] * len(CONTROL_TOKENS) + [USER_DEFINED] * len(USER_TOKENS)
    scores += [-1e6] * (len(CONTROL_TOKENS) + len(USER_TOKENS))

    hf = sentencepiece_model(tokens, scores, types)
    configure_sentencepiece(hf)
    add_tokens(hf, ["<unk>", "<s>", "</s>", *CONTROL_TOKENS], USER_TOKENS)
    begin_with(hf, "<s>")
    name = "sentencepiece" if byte_fallback else "sentencepiece-without-bytes"
    path = str(folder / f"{name}.gguf")
    write_gguf(path, "llama", "default", tokens, types, scores=scores, bos=1, eos=2)
    return Oracle(name, hf, path, ["<s>", "</s>", "<unk>", *CONTROL_TOKENS, *USER_TOKENS], adds_bos=True, is_lossless=False)


def from_gguf(path):
    """The tokenizer that a GGUF file's vocabulary describes."""
    reader = gguf.GGUFReader(path)
    value = lambda key: reader.fields[key].contents() if key in reader.fields else None
    tokens, types = value("tokenizer.ggml.tokens"), value("tokenizer.ggml.token_type")
    if value("tokenizer.ggml.model") == "gpt2":
        pre = value("tokenizer.ggml.pre") or "default"
        pre = {"default": "gpt-2", "llama3": "llama-bpe", "starcoder": "smollm", "refact": "smollm"}.get(pre, pre)
        vocab = {text: index for index, text in enumerate(tokens)}
        merges = [tuple(merge.split(" ")) for merge in value("tokenizer.ggml.merges")]
        hf = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=pre == "llama-bpe"))
        configure_byte_level(hf, pre)
    else:
        pre = "sentencepiece"
        hf = sentencepiece_model(tokens, value("tokenizer.ggml.scores"), types)
        configure_sentencepiece(hf)
    control = [text for text, kind in zip(tokens, types) if kind in (CONTROL, UNKNOWN)]
    user_defined = [text for text, kind in zip(tokens, types) if kind == USER_DEFINED]
    add_tokens(hf, control, user_defined)
    bos = value("tokenizer.ggml.bos_token_id")
    adds_bos = value("tokenizer.ggml.add_bos_token")
    if adds_bos is None:
        adds_bos = pre in ("sentencepiece", "llama-bpe")
    if adds_bos:
        begin_with(hf, tokens[bos])
    return Oracle(pre, hf, path, (control + user_defined)[:24], normalizes=pre == "qwen2", adds_bos=adds_bos, is_lossless=False)

"""Texts for tokenizer tests: curated hard cases, and as many random ones as asked for, from one seed."""

import random
import unicodedata

WORDS = """
the of and to in is that it was for on are as with his they at be this have from or had by not but what
all were when we there can an your which their said if do will each about how up out them then she many
some so these would other into has more her two like him see time could no make than first been its who
naïve café résumé Straße groß fünf über élève garçon œuvre señor niño corazón mañana coração não São
привет мир как дела сегодня хорошо человек говорит Москва язык ёлка שלום עולם ספר טוב مرحبا بالعالم كيف
الحال اللغة العربية مكتبة 你好 世界 今天 天气 很好 中文 汉字 学习 語言 模型 推理 こんにちは 世界 日本語 カタカナ ひらがな 学校
안녕하세요 세계 한국어 모델 नमस्ते दुनिया हिन्दी भाषा สวัสดี ชาวโลก ภาษาไทย வணக்கம் உலகம் γεια σου κόσμε ελληνικά
Tiếng Việt người được không Zażółć gęślą jaźń příliš žluťoučký kůň İstanbul ığdır çalışma
""".split()

CODE = [
    "def main(argv: list[str]) -> int:\n    return 0\n",
    "for (int i = 0; i < n; ++i) {\n\t\tsum += a[i] * 0x1F;\n\t}\r\n",
    "SELECT name, COUNT(*) FROM users WHERE id <= 1000 GROUP BY 1;",
    '{"key": [1, 2.5e-10, null], "text": "a\\nb"}',
    "<div class='x'>&nbsp;</div>\n<!-- comment -->",
    "x=y==z!=w&&a||b??c?.d=>e::f->g;//...",
    "#include <vector>\n\n\n    template <class T>\n        void f(T&& t);",
    "https://example.com/a/b?c=d&e=%20f#g user@host.example",
    "```python\nprint('hi')  # TODO\n```",
]

EMOJI = ["🙂", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "1️⃣", "🤷🏻‍♀️", "☃", "𝕏", "🀄", "\U0001f9d1\u200d\U0001f4bb"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2009", "\u200b", "\u2028", "\x0b", "\x0c", "\x85"]
CONTRACTIONS = ["'s", "'S", "'ll", "'LL", "'Ll", "'re", "'RE", "'ve", "'Ve", "'m", "'M", "'d", "'D", "'t", "'T",
                "\u2019s", "'\u017f", "''s", "'l", "'r", "'x", "'"]
NUMBERS = ["0", "7", "42", "123", "1234", "3.14159", "1,000,000", "0x1F", "٣٤٥", "१२३", "½", "²", "Ⅻ", "①", "〇", "𝟙"]
MARKS = ["e\u0301", "o\u0302\u0323", "a\u0323\u0302", "\u0301", "\u0323\u0301", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u212b",
         "\u0958", "\ufb1d", "\u2126", "\u0344", "q\u0307\u0323", "\u0e33", "\u0bc6\u0bbe", "\u1e9b\u0323", "\uf900", "\U0002f801"]
BROKEN = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80\x80",
          b"\xe0\x80\xaf", b"\xf0\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf", b"\xfe\xff"]
CONTROLS = ["\x00", "\x01", "\x1b[0m", "\x7f", "\ufeff", "\ufffd", "\ufffe", "\x1c", "\x1f", "\u0080", "\U0010ffff", "\ue000"]
PUNCTUATION = list("!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "—", "“", "”", "¿", "。", "、", "「", "€", "→", "∑", "▁", "▁▁"]


def curated(special_texts):
    texts = ["", *CODE, *EMOJI, *SPACES, *CONTRACTIONS, *NUMBERS, *MARKS, *CONTROLS, *PUNCTUATION, *special_texts]
    texts += [space * count for space in SPACES for count in (2, 3, 7, 16, 33, 100)]
    texts += [f"a{space * count}b" for space in SPACES for count in (1, 2, 3, 8)]
    texts += [f"a{space * count}1" for space in SPACES for count in (1, 2, 3)]
    texts += [f" {space}!{space}" for space in SPACES] + [f"{space}\n{space}x" for space in SPACES]
    texts += [f"x{c}y" for c in CONTRACTIONS] + [f"{c} {c}" for c in CONTRACTIONS]
    texts += [f"{a}{b}c" for a in special_texts for b in special_texts]
    texts += [f"{a} {a[:-1]}{a[1:]} {a.upper()}\n{a}" for a in special_texts]
    texts += ["a" * 1000, "7" * 1000, "ab" * 500, " a" * 300, "!?" * 200, "é" * 300, "中" * 300, "🙂" * 100, "\u0301" * 200]
    out = [text.encode() for text in texts] + BROKEN
    out += [b"a" + broken + b"b" for broken in BROKEN] + [broken * 5 for broken in BROKEN]
    out += [a + b for a in BROKEN for b in BROKEN]
    out += [text.encode()[:cut] for text in EMOJI for cut in range(1, 8)]
    return out


def assigned_char(rng):
    """Any character that Unicode assigned by the version that this Python knows."""
    while True:
        limit = rng.choice((0x250, 0x3000, 0x10000, 0x20000, 0x32000))
        char = chr(rng.randrange(limit))
        if unicodedata.category(char) not in ("Cn", "Cs"):
            return char


def random_part(rng, special_texts):
    kind = rng.randrange(14)
    if kind < 4:
        words = rng.choices(WORDS, k=rng.randint(1, 8))
        return rng.choice((" ", " ", " ", "", "  ", "\n")).join(rng.choice((str, str.upper, str.title))(w) for w in words)
    if kind == 4:
        return "".join(assigned_char(rng) for _ in range(rng.randint(1, 12)))
    if kind == 5:
        return rng.choice(SPACES) * rng.choice((1, 2, 3, 5, 20))
    if kind == 6:
        return "".join(rng.choice(MARKS + EMOJI) for _ in range(rng.randint(1, 4)))
    if kind == 7:
        return str(rng.randrange(10 ** rng.randint(1, 15))) if rng.random() < 0.5 else rng.choice(NUMBERS)
    if kind == 8:
        line = rng.choice(CODE)
        start = rng.randrange(len(line))
        return line[start : start + rng.randint(1, 40)]
    if kind == 9:
        return rng.choice(special_texts) if rng.random() < 0.7 else rng.choice(special_texts)[: rng.randint(1, 6)]
    pool = (CONTRACTIONS, PUNCTUATION, CONTROLS, SPACES)[kind - 10]
    return "".join(rng.choice(pool) for _ in range(rng.randint(1, 4)))


def random_text(rng, special_texts):
    if rng.random() < 0.05:
        return rng.randbytes(rng.randint(1, 60))
    text = b""
    for _ in range(rng.randint(1, 8)):
        text += random_part(rng, special_texts).encode()
        if rng.random() < 0.04:
            text += rng.choice(BROKEN)
    return text


def all_texts(seed, count, special_texts):
    rng = random.Random(seed)
    texts = curated(special_texts)
    while len(texts) < count:
        texts.append(random_text(rng, special_texts))
    return texts


def training_lines(seed, extra_files, count=4000):
    """Lines to train a small vocabulary on: words of many languages, code, numbers, and committed files."""
    rng = random.Random(seed)
    lines = []
    for _ in range(count):
        words = [w + rng.choice(("", "", ",", ".", "'s", "'ll", "!")) for w in rng.choices(WORDS, k=12)]
        lines.append(rng.choice((" ", " ", "  ", "\n")).join(words) + f" {rng.randrange(10**6)}\n\n")
        lines.append(rng.choice(CODE) + rng.choice(EMOJI) + " " * rng.choice((1, 2, 4, 8)))
    for path in extra_files:
        lines += path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    return lines

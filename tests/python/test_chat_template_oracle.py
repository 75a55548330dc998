"""Chat templates, byte for byte against transformers.

Every template of tests/data/templates, the one in the default model's GGUF (TROUPE_TEST_MODEL) and any
*.jinja under TROUPE_EXTRA_TEMPLATES is rendered over the conversations, tools and variables of
conversations.py, by transformers and by the C++ interpreter. The text must be the same; where
transformers raises, the interpreter must give an error, too. Needs TROUPE_RENDER_TEMPLATE.
"""
import datetime
import json
import os
import pathlib
import struct

import pytest

transformers = pytest.importorskip("transformers")
from transformers.utils import chat_template_utils  # noqa: E402

from conversations import CONVERSATIONS, TOOL_SETS, VARIABLES  # noqa: E402
from oracle_process import NOW_SECONDS, Renderer  # noqa: E402

TEMPLATES = pathlib.Path(__file__).parent.parent / "data" / "templates"


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.utcfromtimestamp(NOW_SECONDS)


def gguf_template(path):
    """The value of tokenizer.chat_template: found by its key, as a length and that many bytes."""
    data = pathlib.Path(path).read_bytes()[: 64 << 20]
    key = b"tokenizer.chat_template" + struct.pack("<I", 8)  # type 8: string
    at = data.index(key) + len(key)
    (length,) = struct.unpack_from("<Q", data, at)
    return data[at + 8 : at + 8 + length].decode()


def template_sources():
    found = {path.name: path.read_text() for path in sorted(TEMPLATES.glob("*.jinja"))}
    if model := os.environ.get("TROUPE_TEST_MODEL"):
        found["the default model"] = gguf_template(model)
    if extra := os.environ.get("TROUPE_EXTRA_TEMPLATES"):
        found |= {path.name: path.read_text() for path in sorted(pathlib.Path(extra).rglob("*.jinja"))}
    return found


SOURCES = template_sources()


@pytest.fixture(scope="module")
def renderer():
    made = Renderer()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def frozen_time(monkeypatch):
    monkeypatch.setattr(chat_template_utils, "datetime", FrozenDatetime)


def expected(source, messages, tools, add_generation_prompt, variables):
    """What transformers renders, or the exception that it raises."""
    messages = json.loads(json.dumps(messages))
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            [messages], tools=tools, chat_template=source,
            add_generation_prompt=add_generation_prompt, **variables)
        return rendered[0], None
    except Exception as problem:  # whatever Python raises, the interpreter must refuse
        return None, problem


def check(renderer, source, messages, tools, add_generation_prompt, variables, label):
    text, problem = expected(source, messages, tools, add_generation_prompt, variables)
    answer = renderer.render(source, messages, tools, add_generation_prompt, variables)
    if problem is not None:
        assert "error" in answer, f"{label}: transformers raises {problem!r}, we give {answer}"
    else:
        assert answer.get("text") == text, f"{label}: {answer.get('error', 'the text differs')}"
    return problem is None


@pytest.mark.parametrize("name", SOURCES)
def test_template(renderer, name, record_property):
    source = SOURCES[name]
    rendered = refused = 0
    for title, messages in CONVERSATIONS.items():
        for tool_title, tools in TOOL_SETS.items():
            for variable_title, variables in VARIABLES.items():
                for prompt in (True, False):
                    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
                    label = f"{name} / {title} / tools {tool_title} / {variable_title} / {prompt}"
                    passes = check(renderer, source, messages, tools, prompt, tokens | variables, label)
                    rendered += passes
                    refused += not passes
    record_property("rendered", rendered)
    record_property("refused", refused)
    print(f"{name}: {rendered} texts and {refused} errors are the same")
    assert rendered > 0

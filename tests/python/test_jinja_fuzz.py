"""Random expressions and statements, rendered by the C++ interpreter and by transformers' Jinja.

The seed is printed and can be set with TROUPE_FUZZ_SEED, the number of templates with
TROUPE_FUZZ_COUNT. Text must be the same, and where Python raises the interpreter must refuse. It may
also refuse what it says that it does not support: integers beyond 64 bits and a few rare features.
"""
import json
import os
import random
import re

import pytest

pytest.importorskip("transformers")
from transformers.utils import chat_template_utils  # noqa: E402

from oracle_process import Renderer  # noqa: E402

SEED = int(os.environ.get("TROUPE_FUZZ_SEED", "20240731"))
COUNT = int(os.environ.get("TROUPE_FUZZ_COUNT", "4000"))
ALLOWED = re.compile("64 bits|not supported|more than .* bytes|nested too deeply|grows too large|'LoopContext' object is not iterable")
# What Python prints with an address, or only when it is reached.
UNSTABLE = re.compile(r" at 0x|<generator|<built-in|<bound method|<function|<class|<jinja2|object at|<.*iterator", re.IGNORECASE)

VARIABLES = {
    "s": "Hello, Wörld 🤖!\nSecond  line\t", "t": "abc", "e": "", "d": "12", "h": "<a href='x'>&</a>",
    "i": 7, "z": 0, "n": -3, "f": 2.5, "g": -0.125, "yes": True, "no": False, "none_value": None,
    "xs": [3, 1, 2], "ys": ["b", "A", "c", "A"], "mixed": [1, "a", None, 2.5, [1], {"k": "v"}],
    "o": {"a": 1, "b": {"c": [1, 2]}, "items": "own", "x y": None},
    "rows": [{"n": "x", "v": 2}, {"n": "Y", "v": 1}, {"n": "x", "v": 3}],
}
NAMES = list(VARIABLES) + ["missing", "loop"]
STRINGS = ["''", "'a'", "' '", "'\\n'", "'l'", "'Wö'", "'b'", "'%s'", "'%d-%s'", "'{} {}'", "'🤖'", "'A'", "','", "'ab cd'", "'{0!r:>6}'", "'%5.2f|%-4d|%+d|%x'"]
TESTS0 = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping",
          "sequence", "iterable", "callable", "odd", "even", "true", "false", "lower", "upper", "escaped"]
TESTS1 = ["eq", "ne", "lt", "gt", "le", "ge", "equalto", "in", "divisibleby"]
FILTERS = ["trim", "length", "first", "last", "upper", "lower", "title", "capitalize", "string", "list", "int",
           "float", "abs", "round", "sum", "min", "max", "sort", "unique|list", "reverse|list", "join", "join(', ')",
           "join('-', attribute='n')", "default('D')", "default('D', true)", "d(1)", "tojson", "tojson(indent=2)",
           "tojson(ensure_ascii=true)", "e", "safe", "indent", "indent(2, true)", "wordcount", "items|list",
           "dictsort", "dictsort(by='value')", "map('upper')|list", "map(attribute='n')|list", "select|list",
           "select('string')|list", "reject('number')|list", "selectattr('v', 'gt', 1)|list", "batch(2)|list",
           "slice(2)|list", "replace('l', 'LL')", "replace('l', 'L', 1)", "truncate(8)", "center(20)", "round(1)",
           "round(1, 'ceil')", "sort(reverse=true)", "sort(attribute='v')", "groupby('n')", "int(5)", "float(1.5)",
           "count", "map('length')|list", "max(attribute='v')", "sum(attribute='v')", "attr('a')", "format(1)",
           "map(attribute='v')|sum", "rejectattr('n', 'eq', 'x')|list", "first|string", "items", "select", "xmlattr"]
METHODS = ["strip()", "lstrip()", "rstrip()", "strip('H!')", "split()", "split(',')", "split(None, 1)", "rsplit(' ', 1)",
           "splitlines()", "splitlines(true)", "upper()", "lower()", "title()", "capitalize()", "swapcase()", "startswith('H')",
           "endswith(('!', '\\t'))", "find('l')", "rfind('l')", "find('l', 4)", "index('zz')", "count('l')", "count('')",
           "replace('l', '')", "replace('', '.', 3)", "join(['x', 'y'])", "join(ys)", "isdigit()", "isalpha()", "isspace()",
           "isupper()", "islower()", "isalnum()", "istitle()", "zfill(9)", "center(11, '*')", "ljust(9)", "rjust(9, '0')",
           "partition(',')", "rpartition('x')", "removeprefix('Hel')", "removesuffix('\\t')", "expandtabs(4)", "format(1, 2)",
           "items()", "keys()", "values()", "get('a')", "get('q', 5)", "index(1)", "copy()", "append(1)", "pop()", "update({})",
           "encode()", "isascii()", "isdecimal()", "casefold()"]
ATTRIBUTES = ["a", "b", "items", "n", "v", "__class__", "real_missing", "c"]


class Generator:
    def __init__(self, rng):
        self.rng = rng

    def atom(self):
        pick = self.rng.random()
        if pick < 0.45:
            return self.rng.choice(NAMES)
        if pick < 0.6:
            return self.rng.choice(STRINGS)
        if pick < 0.75:
            return self.rng.choice(["0", "1", "2", "3", "10", "1.5", "0.1", "1e3", "255", "1_000", "0x1f"])
        return self.rng.choice(["true", "none", "false", "[]", "{}", "()", "(1,)", "[1, 2, 3]", "{'a': 1}", "range(4)",
                                "'abc'", "namespace(a=1)", "dict(a=2)", "[1, 'x', none]", "{'k': [1], 2: 'two'}"])

    def expression(self, depth):
        if depth == 0:
            return self.atom()
        rng, sub = self.rng, lambda: self.expression(depth - 1)
        pick = rng.randrange(17)
        if pick <= 2:
            return f"({sub()} {rng.choice(['+', '-', '*', '/', '//', '%', '~', '~', '+'])} {sub()})"
        if pick == 3:
            return f"({sub()} {rng.choice(['==', '!=', '<', '>', '<=', '>='])} {sub()})"
        if pick == 4:
            return f"({sub()} {rng.choice(['in', 'not in', 'and', 'or'])} {sub()})"
        if pick == 5:
            return f"(not {sub()})"
        if pick == 6:
            return f"({sub()} if {sub()} else {sub()})" if rng.random() < 0.8 else f"({sub()} if {sub()})"
        if pick == 7:
            name = rng.choice(TESTS0)
            return f"({sub()} is {rng.choice(['', 'not '])}{name})"
        if pick == 8:
            return f"({sub()} is {rng.choice(TESTS1)}({sub()}))"
        if pick in (9, 10, 11):
            return f"({sub()})|{rng.choice(FILTERS)}"
        if pick in (12, 13):
            return f"({sub()}).{rng.choice(METHODS)}"
        if pick == 14:
            bounds = [rng.choice(["", "0", "1", "-1", "-2", "2", "5", "100"]) for _ in range(3)]
            # Jinja folds slices of constants at compile time, by other rules than at run time.
            return f"([no, {sub()}][1])[{':'.join(bounds[: rng.choice([2, 3])])}]"
        if pick == 15:
            return f"({sub()})[{rng.choice(['0', '-1', '1', 'i', repr('a'), repr('items'), '2.0', 'none'])}]"
        return rng.choice([f"({sub()}).{rng.choice(ATTRIBUTES)}", f"-({sub()})", f"[{sub()}, {sub()}]", f"{{'k': {sub()}}}",
                           f"({sub()} < {sub()} < {sub()})", f"({sub()}, {sub()})"])

    def template(self):
        rng = self.rng
        body = "{{ " + self.expression(rng.choice([1, 1, 2, 2, 3])) + " }}"
        shape = rng.randrange(10)
        if shape == 0:
            return "{% for x in " + self.expression(1) + " %}{{ loop.index }}" + body + "{% else %}-{% endfor %}"
        if shape == 1:
            return "{% set v = " + self.expression(2) + " %}{% if v %}" + body + "{% else %}[{{ v }}]{% endif %}"
        if shape == 2:
            return "{% for a, b in " + self.expression(1) + " %}{{ a }}{{ b }}{% endfor %}" + body
        if shape == 3:
            return " {%- filter upper -%} " + body + " {% endfilter %}\n  {%- set q -%} x" + body + " {%- endset %}{{ q }}"
        return body


@pytest.fixture(scope="module")
def renderer():
    made = Renderer()
    yield made
    made.close()


def render_with_python(source):
    try:
        rendered, _ = chat_template_utils.render_jinja_template(
            [[{"role": "user", "content": "x"}]], chat_template=source, **json.loads(json.dumps(VARIABLES)))
        return rendered[0], None
    except Exception as problem:
        return None, problem


def test_random_templates(renderer):
    print(f"seed {SEED}, {COUNT} templates")
    generator = Generator(random.Random(SEED))
    same = errors = skipped = 0
    for number in range(COUNT):
        source = generator.template()
        text, problem = render_with_python(source)
        if text is not None and UNSTABLE.search(text):
            skipped += 1
            continue
        answer = renderer.render(source, [{"role": "user", "content": "x"}], None, False, VARIABLES)
        if "error" in answer and ALLOWED.search(answer["error"]):
            skipped += 1
        elif problem is not None:
            assert "error" in answer, f"template {number} of seed {SEED}: {source}\nPython: {problem!r}\nwe: {answer}"
            errors += 1
        else:
            assert answer.get("text") == text, f"template {number} of seed {SEED}: {source}\nPython: {text!r}\nwe: {answer}"
            same += 1
    print(f"{same} texts and {errors} errors are the same, {skipped} skipped")
    assert same > COUNT // 4 and skipped < COUNT // 5

"""Conversations, tools and variables that the chat-template oracle renders with every template."""

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city — with unicode: 天気, <b>&amp;</b> and \"quotes\".",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "City, e.g. 'Zürich'"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": ["integer", "null"]},
                "range": {"type": "array", "items": {"type": "number"}, "minItems": 0},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
        "return": {"type": "string"},
    },
}

TOOL_SETS = {
    "none": None,
    "one": [WEATHER],
    "two": [WEATHER, CLOCK],
    "empty": [],
}


def call(name, arguments, call_id="abcdef123"):
    return {"type": "function", "id": call_id, "function": {"name": name, "arguments": arguments}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def system(content):
    return {"role": "system", "content": content}


def tool(content, **more):
    return {"role": "tool", "content": content, **more}


CONVERSATIONS = {
    "user only": [user("Hello!")],
    "system and user": [system("You are terse."), user("Hi")],
    "three turns": [system("S"), user("a"), assistant("b"), user("c"), assistant("d"), user("e")],
    "ends with assistant": [user("a"), assistant("The answer is")],
    "no messages": [],
    "system only": [system("Only this.")],
    "assistant first": [assistant("I start."), user("ok")],
    "two users": [user("one"), user("two")],
    "late system": [user("a"), assistant("b"), system("Now obey."), user("c")],
    "empty contents": [system(""), user(""), assistant(""), user("")],
    "whitespace": [system("  spaced\n"), user("\n\n  x \t\n"), assistant("\ty\n\n"), user(" \u3000z\u00a0 ")],
    "unicode": [system("Tú éres 🤖"), user("日本語 🎌 e\u0301 \u200b\ufeff"), assistant("ﬁ ß ŒUVRE İ"), user("𝔘𝔫𝔦")],
    "html and templates": [user("<script>&\"'</script> {{ 7*7 }} {% raw %} {# c #}"), assistant("<|im_end|>"), user("]")],
    "crlf": [user("a\r\nb\rc"), assistant("d\u2028e\x0bf"), user("g")],
    "none content": [user("x"), assistant(None), user("y")],
    "parts": [
        system([{"type": "text", "text": "Sys part"}]),
        user([{"type": "text", "text": "Look: "}, {"type": "image", "image": "x.png"}, {"type": "text", "text": "what?"}]),
        assistant([{"type": "text", "text": "A cat."}]),
        user([{"type": "text", "text": "Sure?"}]),
    ],
    "extra keys": [dict(user("hi"), name="Ann", weight=1.5, flag=True, nothing=None, list=[1, 2.0, "x", None, False])],
    "missing content": [{"role": "user"}],
    "missing role": [{"content": "x"}],
    "unknown role": [{"role": "critic", "content": "boo"}],
    "developer": [{"role": "developer", "content": "Dev."}, user("q")],
    "tool call": [
        system("Use tools."),
        user("Weather in Zürich?"),
        assistant("", tool_calls=[call("get_weather", {"city": "Zürich", "days": 3, "range": [1, 2.5], "deep": {"a": None, "b": True}})]),
        tool('{"temp": 21.5}', name="get_weather", tool_call_id="abcdef123"),
        assistant("It is 21.5 °C."),
        user("Thanks"),
    ],
    "two tool calls": [
        user("Both?"),
        assistant("Let me see.", tool_calls=[call("get_weather", {"city": "Bern"}, "aaaaaaaaa"), call("now", {}, "bbbbbbbbb")]),
        tool("rain", tool_call_id="aaaaaaaaa", name="get_weather"),
        tool("12:00", tool_call_id="bbbbbbbbb", name="now"),
    ],
    "string arguments": [
        user("go"),
        assistant(None, tool_calls=[call("get_weather", '{"city": "Basel", "text": "a\\"b"}')]),
        tool({"temp": 1, "unit": "°"}, tool_call_id="abcdef123"),
        user("and?"),
    ],
    "bad call id": [user("go"), assistant("", tool_calls=[call("now", {}, "short")]), tool("x", tool_call_id="short")],
    "bare call": [user("go"), assistant("", tool_calls=[{"name": "now", "arguments": {"a": [1, {"b": "c"}]}}]), tool("ok")],
    "empty tool calls": [user("a"), assistant("b", tool_calls=[]), user("c")],
    "thinking": [
        user("2+2?"),
        assistant("<think>\nEasy: four.\n</think>\n\n4"),
        user("3+3?"),
        assistant("6", reasoning_content="Six, surely.\n"),
        user("4+4?"),
        assistant("8", reasoning="Eight"),
        user("5+5?"),
        assistant("ten", thinking="Ten.", reasoning_content=None),
        user("/no_think last"),
    ],
    "thinking and tools": [
        system("/think"),
        user("go"),
        assistant("Looking.", reasoning_content="I need a tool.", tool_calls=[call("now", {})]),
        tool("12:30", tool_call_id="abcdef123"),
        assistant("<think>so</think>It is 12:30."),
    ],
    "long": [system("L" * 2000)] + [m for i in range(40) for m in (user(f"question {i} " + "x" * i), assistant(f"answer {i}\n"))] + [user("end")],
}

VARIABLES = {
    "plain": {},
    "thinking off": {"enable_thinking": False, "thinking": False, "reasoning_effort": "low"},
    "thinking on": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"},
    "many": {
        "date_string": "01 Jan 2025",
        "tools_in_user_message": False,
        "builtin_tools": ["code_interpreter", "brave_search"],
        "documents": [{"title": "T", "text": "Text ✓", "doc_id": 3}],
        "xml_tools": [],
        "custom_tools": None,
        "model_identity": "Me",
        "controls": {"length": 3},
        "keep_past_thinking": True,
        "functions": "[]",
        "datetime": "2025-01-01",
    },
}

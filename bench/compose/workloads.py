"""Workloads for a real server, shaped like those of compose_bench (batch_cases.cpp) and small enough for a CPU, and the
static orders that one would try without a search."""

import dataclasses
import math
import random

# Ids that every vocabulary has and that end nothing, and one that prompts do not hold.
TOKEN_MIN, TOKEN_MAX, END_TOKEN = 20, 999, 10
# When what is due is due, as shares of the time that everything takes by arrival.
DUE_MIN, DUE_MAX = 0.12, 0.85


@dataclasses.dataclass(frozen=True)
class Shape:
    """Token counts are means of lognormal draws."""
    prefix: int = 0  # tokens that the requests of a group share
    prompt: int = 100
    output: int = 64
    sigma: float = 0.6
    kv_requests: float = 0.0  # mean requests that the KV cache holds; 0: all that run
    due_share: float = 0.0
    blend: tuple[tuple[int, int], ...] = ()  # prompt and output of each kind, in turns


SHAPES = {
    "prefix_pool": Shape(prefix=192, prompt=24, output=24, kv_requests=10),
    "prefix_deadlines": Shape(prefix=192, prompt=24, output=24, kv_requests=10, due_share=0.5),
    "mixed_deadlines": Shape(prompt=80, output=48, due_share=0.67),
    "blend": Shape(sigma=0.3, blend=((320, 8), (24, 96))),
    "plain": Shape(prompt=96, output=56, sigma=0.8),
}
MODEL_LEN_MAX = 1024  # tokens; the smallest KV cache holds one such sequence
SEATS = 16


@dataclasses.dataclass(frozen=True)
class Request:
    prompt: tuple[int, ...]
    output_max: int
    output: int  # what it will use of it, which neither server nor heuristic knows
    group: int | None
    due_ms: float  # from the first send; infinite: none

    @property
    def tokens(self) -> int:
        return len(self.prompt) + self.output_max

    def payload(self, with_due: bool) -> dict:
        """Ends after `output` tokens: the end is forbidden before, and certain then."""
        made = {"prompt_token_ids": list(self.prompt), "max_tokens": self.output_max, "temperature": 0.0, "min_tokens": self.output - 1,
                "ignore_eos": False, "stop_token_ids": [END_TOKEN], "logit_bias": {str(END_TOKEN): 100.0}}
        if with_due and math.isfinite(self.due_ms):
            made["due_ms"] = max(1, round(self.due_ms))
        return made


def make(workload: str, count: int, seed: int, horizon_ms: float = math.inf) -> list[Request]:
    """The same arguments make the same requests. horizon_ms: how long all of them take by arrival on the machine; the same
    workload is as urgent on every machine. Infinite: nothing is due."""
    shape, draw = SHAPES[workload], random.Random(f"{workload} {count} {seed}")

    def tokens(mean: float) -> int:
        return max(2, min(MODEL_LEN_MAX // 2, round(mean * math.exp(draw.gauss(0, shape.sigma) - shape.sigma**2 / 2))))

    def text(length: int) -> tuple[int, ...]:
        return tuple(draw.randint(TOKEN_MIN, TOKEN_MAX) for _ in range(length))

    groups = max(2, count // 8)
    prefixes = [text(shape.prefix) for _ in range(groups)] if shape.prefix else []
    made = []
    for i in range(count):
        prompt, output = shape.blend[i % len(shape.blend)] if shape.blend else (shape.prompt, shape.output)
        group = draw.randrange(groups) if prefixes else None
        output_max = tokens(output)
        used = max(1, math.ceil(math.sqrt(draw.random()) * output_max))
        made.append(Request((prefixes[group] if prefixes else ()) + text(tokens(prompt)), output_max, used, group, math.inf))
    return [dataclasses.replace(each, due_ms=horizon_ms * draw.uniform(DUE_MIN, DUE_MAX)) if draw.random() < shape.due_share else each
            for each in made]


def kv_tokens(workload: str, requests: list[Request]) -> int:
    """Positions that the KV cache shall have."""
    mean = sum(each.tokens for each in requests) / len(requests)
    return max(MODEL_LEN_MAX, round(mean * (SHAPES[workload].kv_requests or 4 * SEATS)))


ORDERS = ("longest_first", "shortest_first", "earliest_deadline", "longest_prefix", "depth_first_deadline")


def orders(requests: list[Request]) -> dict[str, list[int]]:
    """The seeds of the composer but FIFO; those that would be FIFO or another again are left out."""
    everything = range(len(requests))
    first_of, due_of = {}, {}
    for i, each in enumerate(requests):
        first_of.setdefault(each.group, i)
        due_of[each.group] = min(due_of.get(each.group, math.inf), each.due_ms)

    def group_first(i: int) -> int:
        return i if requests[i].group is None else first_of[requests[i].group]

    def group_due(i: int) -> float:
        return requests[i].due_ms if requests[i].group is None else due_of[requests[i].group]

    keys = (lambda i: -requests[i].tokens, lambda i: requests[i].tokens, lambda i: requests[i].due_ms, group_first,
            lambda i: (group_due(i), group_first(i), requests[i].due_ms))
    kept: dict[str, list[int]] = {}
    for name, key in zip(ORDERS, keys, strict=True):
        order = sorted(everything, key=key)
        if order != list(everything) and order not in kept.values():
            kept[name] = order
    return kept

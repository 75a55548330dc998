"""The cost model of a running server, on a real model and machine: a load of mixed lengths, and how far off the
predictions of its steps are by the metric. The bound is wide, because other processes may use the machine too.
"""
import asyncio
import random
import statistics

import httpx
from prometheus_client.parser import text_string_to_metric_families

from conftest import running_server

SEED = 4711
REQUESTS, AT_ONCE = 60, 8
# Log-normal, like conversations: the logarithms' means and deviation.
PROMPT_LOG_MEAN, OUTPUT_LOG_MEAN, LOG_DEVIATION = 4.6, 4.0, 1.0
PROMPT_MAX, OUTPUT_MAX = 700, 200
STEPS_MIN = 200
SECONDS_MAX = 120
ERROR_MAX = 0.25


def length(source: random.Random, log_mean: float, longest: int) -> int:
    return min(longest, max(2, round(source.lognormvariate(log_mean, LOG_DEVIATION))))


def bodies(model: str) -> list[dict]:
    source = random.Random(SEED)
    return [{"model": model, "max_tokens": length(source, OUTPUT_LOG_MEAN, OUTPUT_MAX), "ignore_eos": True,
             "prompt": [source.randrange(1_000, 20_000) for _ in range(length(source, PROMPT_LOG_MEAN, PROMPT_MAX))]}
            for _ in range(REQUESTS)]


async def measured(http: httpx.AsyncClient) -> tuple[float, float]:
    """Steps so far, and the error of their predictions."""
    reply = await http.get("/metrics")
    values = {sample.name: sample.value for family in text_string_to_metric_families(reply.text)
              for sample in family.samples}
    return values["troupe:step_compute_seconds_count"], values["troupe:cost_model_error"]


async def errors_under_load(url: str) -> list[float]:
    """The metric, again and again while the load runs, once there were STEPS_MIN steps."""
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS_MAX) as http:
        model = (await http.get("/v1/models")).json()["data"][0]["id"]
        places = asyncio.Semaphore(AT_ONCE)

        async def complete(body: dict):
            async with places:
                (await http.post("/v1/completions", json=body)).raise_for_status()

        load = asyncio.gather(*(complete(body) for body in bodies(model)))
        errors = []
        while not load.done():
            await asyncio.wait([load], timeout=0.2)
            steps, error = await measured(http)
            if steps >= STEPS_MIN:
                errors.append(error)
        await load
        return errors


def test_steps_take_what_was_predicted():
    print(f"seed {SEED}")
    with running_server() as server:
        errors = asyncio.run(errors_under_load(server.http))
    assert errors, f"fewer than {STEPS_MIN} steps"
    print(f"median of the metric's {len(errors)} samples: {statistics.median(errors):.3f}, worst {max(errors):.3f}")
    assert 0 < statistics.median(errors) < ERROR_MAX

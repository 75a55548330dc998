"""The HTTP server as its users see it: the `openai` client and plain HTTP against a running `troupe serve`.

Nothing here depends on what a model says, only on what it repeats: greedy and seeded output is the same
however it is asked for.
"""
import asyncio
import json

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import wait_until

PROMPT = "The quick brown fox jumps over the lazy dog. The quick brown"
MESSAGES = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.http, timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.http}/v1", api_key="none", max_retries=0,
                       timeout=120) as client:
        yield client


@pytest.fixture(scope="module")
def model(client):
    return client.models.list().data[0].id


@pytest.fixture(scope="module")
def chat_model(client, model):
    try:
        client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
    except openai.BadRequestError as refused:
        pytest.skip(f"the model cannot chat: {refused}")
    return model


class Metrics:
    """One scrape."""

    def __init__(self, http):
        reply = http.get("/metrics")
        assert reply.status_code == 200
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.samples = [sample for family in text_string_to_metric_families(reply.text)
                        for sample in family.samples]

    def __call__(self, name, **labels):
        """The sum over all series of a name that have these labels."""
        found = [sample.value for sample in self.samples
                 if sample.name == f"troupe:{name}" and labels.items() <= sample.labels.items()]
        assert found, f"no series troupe:{name} {labels}"
        return sum(found)


def is_idle(http):
    now = Metrics(http)
    return (now("num_requests_running") == 0 and now("num_requests_waiting") == 0
            and now("kv_cache_usage_perc") == 0)


def greedy(client, model, prompt=PROMPT, **more):
    parameters = {"max_tokens": 24, "temperature": 0, **more}
    return client.completions.create(model=model, prompt=prompt, **parameters)


def joined(stream):
    """The text of each choice of a streamed completion, and its finish reasons."""
    texts, reasons = {}, {}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
            if choice.finish_reason:
                assert choice.index not in reasons
                reasons[choice.index] = choice.finish_reason
    return texts, reasons


# Completions.


def test_completion(client, model):
    reply = greedy(client, model)
    assert reply.object == "text_completion"
    assert reply.id.startswith("cmpl-")
    assert reply.model == model
    assert len(reply.choices) == 1
    assert reply.choices[0].finish_reason in ("stop", "length")
    assert reply.usage.prompt_tokens > 0
    assert 0 < reply.usage.completion_tokens <= 24
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_stream_says_what_the_reply_says(client, model):
    whole = greedy(client, model)
    texts, reasons = joined(greedy(client, model, stream=True))
    assert texts == {0: whole.choices[0].text}
    assert reasons == {0: whole.choices[0].finish_reason}


def test_stream_usage(client, model):
    whole = greedy(client, model)
    chunks = list(greedy(client, model, stream=True, stream_options={"include_usage": True}))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_prompts_and_n(client, model):
    prompts = ["One, two, three,", "Once upon a time"]
    alone = [greedy(client, model, prompt).choices[0].text for prompt in prompts]
    reply = greedy(client, model, prompts)
    assert [choice.text for choice in reply.choices] == alone
    assert [choice.index for choice in reply.choices] == [0, 1]

    several = client.completions.create(model=model, prompt=prompts, n=3, max_tokens=12,
                                        temperature=1.0, seed=5)
    assert [choice.index for choice in several.choices] == list(range(6))
    assert len({choice.text for choice in several.choices[:3]}) > 1, "sequences draw on their own"


def test_prompt_as_token_ids(client, http, model):
    ids = http.post("/tokenize", json={"prompt": PROMPT}).json()["tokens"]
    assert greedy(client, model, ids).choices[0].text == greedy(client, model).choices[0].text


def test_stop_string(client, model):
    text = greedy(client, model, max_tokens=40).choices[0].text
    stops = [text[at:at + 3] for at in range(5, len(text) - 3) if "\ufffd" not in text[at:at + 3]]
    if not stops:
        pytest.skip("the model says nothing to stop at")
    stop = stops[0]
    for stream in (False, True):
        reply = greedy(client, model, max_tokens=40, stop=[stop], stream=stream)
        texts, reasons = joined(reply) if stream else (
            {0: reply.choices[0].text}, {0: reply.choices[0].finish_reason})
        assert texts[0] == text[:text.find(stop)]
        assert reasons[0] == "stop"


def test_seed_repeats(client, model):
    def draw(seed):
        return client.completions.create(model=model, prompt=PROMPT, max_tokens=24, temperature=1.0,
                                         seed=seed).choices[0].text

    assert draw(7) == draw(7)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_logprobs(client, model):
    reply = greedy(client, model, max_tokens=8, logprobs=3)
    logprobs = reply.choices[0].logprobs
    count = reply.usage.completion_tokens
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == count
    assert len(logprobs.top_logprobs) == len(logprobs.text_offset) == count
    for token, logprob, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
        assert logprob <= 0
        assert 1 <= len(top) <= 4  # the drawn token may be a fourth
        assert token in top
        if "\ufffd" not in token:  # parts of characters share one text, and so one entry
            assert logprob == pytest.approx(max(top.values())), "greedy takes the most probable"


def test_echo_with_logprobs(client, model):
    reply = greedy(client, model, max_tokens=2, echo=True, logprobs=1)
    choice = reply.choices[0]
    assert choice.text.startswith(PROMPT)
    assert len(choice.logprobs.tokens) == reply.usage.total_tokens
    assert choice.logprobs.token_logprobs[0] is None, "nothing precedes the first token"
    assert all(value <= 0 for value in choice.logprobs.token_logprobs[1:])
    assert greedy(client, model, max_tokens=2).choices[0].text == choice.text[len(PROMPT):]
    for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset):
        assert choice.text[offset:offset + len(token)] == token
    assert "".join(choice.logprobs.tokens) == choice.text


@pytest.mark.parametrize("extra", [{}, {"n": 2, "temperature": 1}], ids=["one", "two"])
def test_echo_without_output_scores_the_prompt(client, model, extra):
    """What lm-eval asks for a log-likelihood: the rows are those of an echo that goes on."""
    reply = greedy(client, model, max_tokens=0, echo=True, logprobs=2, **extra)
    longer = greedy(client, model, max_tokens=1, echo=True, logprobs=2)
    count = reply.usage.prompt_tokens
    assert reply.usage.completion_tokens == 0
    for choice in reply.choices:
        assert (choice.text, choice.finish_reason) == (PROMPT, "length")
        assert choice.logprobs.token_logprobs == longer.choices[0].logprobs.token_logprobs[:count]
        assert choice.logprobs.top_logprobs == longer.choices[0].logprobs.top_logprobs[:count]
    events = list(client.completions.create(model=model, prompt=PROMPT, max_tokens=0, echo=True,
                                            logprobs=2, stream=True))
    assert "".join(event.choices[0].text for event in events) == PROMPT
    assert events[-1].choices[0].finish_reason == "length"


def test_no_output_without_echo_is_refused(http, model):
    body = {"model": model, "prompt": PROMPT, "max_tokens": 0}
    assert http.post("/v1/completions", json=body).status_code == 400
    reply = http.post("/v1/completions", json=body | {"echo": True}).json()
    assert reply["choices"][0]["text"] == PROMPT and reply["choices"][0]["logprobs"] is None


def test_logit_bias(client, http, model):
    token = http.post("/tokenize", json={"prompt": " dog", "add_special_tokens": False}
                      ).json()["tokens"][-1]
    expected = http.post("/detokenize", json={"tokens": [token] * 4}).json()["prompt"]
    reply = greedy(client, model, max_tokens=4, logit_bias={str(token): 100})
    assert reply.choices[0].text.strip() == expected.strip()


# Chat.


def test_chat(client, chat_model):
    reply = client.chat.completions.create(model=chat_model, messages=MESSAGES, max_tokens=16,
                                           temperature=0)
    assert reply.object == "chat.completion"
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].message.content
    chunks = list(client.chat.completions.create(model=chat_model, messages=MESSAGES, max_tokens=16,
                                                 temperature=0, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    content = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert content == reply.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == reply.choices[0].finish_reason


def test_chat_n_and_usage(client, chat_model):
    chunks = list(client.chat.completions.create(
        model=chat_model, messages=MESSAGES, max_tokens=8, n=2, seed=3, stream=True,
        stream_options={"include_usage": True}))
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0, 1}
    assert chunks[-1].usage.completion_tokens <= 16


def test_chat_logprobs(client, chat_model):
    reply = client.chat.completions.create(model=chat_model, messages=MESSAGES, max_tokens=6,
                                           temperature=0, logprobs=True, top_logprobs=2)
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    for position in content:
        assert len(position.top_logprobs) == 2
        assert position.logprob == pytest.approx(position.top_logprobs[0].logprob)
        assert bytes(position.bytes).decode(errors="replace") == position.token


# Errors.


@pytest.mark.parametrize("wrong", [
    {"temperature": -1}, {"top_p": 0}, {"n": 0}, {"max_tokens": -1}, {"max_tokens": 10**9},
    {"logprobs": 10**6}, {"logit_bias": {"999999999": 1}}, {"prompt": "word " * 200_000},
])
def test_bad_parameters(client, model, wrong):
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as refused:
            client.completions.create(**{"model": model, "prompt": "x", "max_tokens": 1, **wrong},
                                      stream=stream)
        assert refused.value.message


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="no-such-model", prompt="x", max_tokens=1)


def test_wrong_http(http):
    assert http.post("/v1/completions", content=b"{").status_code == 400
    assert http.post("/v1/completions", content=b"\xff").status_code == 400
    assert http.get("/nowhere").status_code == 404
    refused = http.get("/v1/completions")
    assert refused.status_code == 405 and refused.headers["allow"] == "POST, OPTIONS"
    assert http.post("/v1/completions", json={"prompt": "x"},
                     headers={"X-Troupe-Lane": "express"}).status_code == 400
    for reply in (refused, http.get("/nowhere")):
        assert reply.json()["error"]["message"]


def test_a_header_and_a_body_of_different_lanes(http):
    reply = http.post("/v1/completions", json={"prompt": "x", "lane": "vip"}, headers={"X-Troupe-Lane": "async"})
    assert reply.status_code == 400
    assert reply.json()["error"]["message"].startswith("X-Troupe-Lane says async, and `lane` in the body vip")


def test_a_deadline_that_cannot_be_met_is_no_outage(client, http, model):
    greedy(client, model, extra_body={"ignore_eos": True})  # steps are measured from now on
    refused = {"name": "requests_refused_total", "code": "deadline_unmeetable", "lane": "realtime"}
    before = Metrics(http)
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        client.with_options(max_retries=2).completions.create(
            model=model, prompt=PROMPT, max_tokens=6000,
            extra_body={"ignore_eos": True, "deadline_ms": 200})
    assert raised.value.body["reason"] == "deadline_unmeetable"
    assert "retry-after" not in raised.value.response.headers
    after = Metrics(http)
    assert after(**refused) == before(**refused) + 1  # the client did not ask again by itself
    assert after("request_success_total") == before("request_success_total")


def test_every_lane_serves(http):
    for lane in ("vip", "realtime", "async"):
        before = Metrics(http)("generation_tokens_total", lane=lane)
        reply = http.post("/v1/completions", json={"prompt": "x", "max_tokens": 2, "ignore_eos": True},
                          headers={"X-Troupe-Lane": lane})
        assert reply.status_code == 200
        assert Metrics(http)("generation_tokens_total", lane=lane) == before + 2


# The other endpoints.


def test_small_endpoints(http, model):
    assert http.get("/health").status_code == 200
    assert http.head("/health").status_code == 200
    assert http.get("/version").json()["version"]
    listed = http.get("/v1/models").json()
    assert listed["object"] == "list"
    assert listed["data"][0]["id"] == model
    assert listed["data"][0]["max_model_len"] > 0


@pytest.mark.parametrize("text", ["Hello, world!", " two  spaces", "naïve café 東京 🎭", "a\nb\tc"])
def test_tokenize_and_back(http, text):
    reply = http.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()
    assert reply["count"] == len(reply["tokens"]) > 0
    assert http.post("/detokenize", json={"tokens": reply["tokens"]}).json()["prompt"] == text


def test_tokenize_counts_what_a_completion_counts(client, http, model):
    count = http.post("/tokenize", json={"prompt": PROMPT}).json()["count"]
    assert greedy(client, model, max_tokens=1).usage.prompt_tokens == count


def test_metrics_move(client, http, model):
    before = Metrics(http)
    reply = greedy(client, model, max_tokens=6, extra_body={"ignore_eos": True})
    after = wait_until(lambda: (now := Metrics(http))("request_success_total")
                       > before("request_success_total") and now, what="the end of the request")

    def moved(name, **labels):
        return after(name, **labels) - before(name, **labels)

    assert moved("prompt_tokens_total") == reply.usage.prompt_tokens
    assert moved("generation_tokens_total") == 6
    assert moved("request_success_total", finished_reason="length", lane="realtime") == 1
    assert moved("request_success_total") == 1
    assert moved("time_to_first_token_seconds_count") == 1
    assert moved("inter_token_latency_seconds_count") == 5
    assert moved("e2e_request_latency_seconds_count") == 1
    assert moved("request_queue_time_seconds_count") == 1
    assert moved("iteration_tokens_total_count") > 0
    assert moved("step_compute_seconds_count") > 0
    wait_until(lambda: is_idle(http), what="an idle server")


def test_prefix_cache_shows(client, http, model):
    prompt = PROMPT * 8
    before = Metrics(http)
    first = greedy(client, model, prompt)
    again = greedy(client, model, prompt)
    assert again.choices[0].text == first.choices[0].text
    after = Metrics(http)
    assert after("prefix_cache_queries_total") > before("prefix_cache_queries_total")
    assert after("prefix_cache_hits_total") > before("prefix_cache_hits_total")


def test_dropped_stream_frees_everything(client, http, model):
    if http.get("/v1/models").json()["data"][0]["max_model_len"] < 2000:
        pytest.skip("this model's requests are too short to be caught running")
    wait_until(lambda: is_idle(http), what="an idle server")
    before = Metrics(http)
    stream = greedy(client, model, max_tokens=1500, stream=True, extra_body={"ignore_eos": True})
    next(iter(stream))
    wait_until(lambda: Metrics(http)("num_requests_running") == 1, what="a running request")
    stream.close()
    wait_until(lambda: is_idle(http), what="an idle server")
    after = Metrics(http)
    assert (after("request_success_total", finished_reason="abort")
            - before("request_success_total", finished_reason="abort")) == 1


def test_concurrent_streams(server, client, http, model):
    """50 at once, and each says what it says alone."""
    prompts = ["One, two, three,", "Once upon a time", PROMPT, "def add(a, b):", "The capital of"]
    alone = [greedy(client, model, prompt).choices[0].text for prompt in prompts]

    async def ask(shared, prompt):
        text = ""
        async for chunk in await shared.completions.create(
                model=model, prompt=prompt, max_tokens=24, temperature=0, stream=True):
            text += chunk.choices[0].text
        return text

    async def ask_all():
        limits = httpx.Limits(max_connections=50)
        async with openai.AsyncOpenAI(
                base_url=f"{server.http}/v1", api_key="none", max_retries=0, timeout=300,
                http_client=httpx.AsyncClient(limits=limits, timeout=300)) as shared:
            return await asyncio.gather(*(ask(shared, prompts[i % 5]) for i in range(50)))

    assert asyncio.run(ask_all()) == [alone[i % 5] for i in range(50)]
    wait_until(lambda: is_idle(http), what="an idle server")


def test_raw_events(http):
    """The bytes of a stream, for clients that are not `openai`."""
    body = {"prompt": PROMPT, "max_tokens": 4, "stream": True, "ignore_eos": True}
    with http.stream("POST", "/v1/completions", json=body) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in reply.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    ids = {json.loads(line[6:])["id"] for line in lines[:-1]}
    assert len(ids) == 1

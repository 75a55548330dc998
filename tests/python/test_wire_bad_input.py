"""Every kind of bad input on the ZeroMQ wire: always one clear error, and the server keeps serving.
"""
import msgpack
import pytest
import zmq

from bare_wire import CANCEL, DELTA, ERROR, PING, PONG, RESUME, STATS, SUBMIT, Message, Wire
from test_wire import GREEDY, leaves_nothing_behind, wire  # noqa: F401  (fixtures)

HEADER = [1, SUBMIT, "bad", 0, 0, "realtime", 0]
PAYLOAD = {"prompt": "x", "max_tokens": 1}


def with_field(index, value):
    return msgpack.packb([*HEADER[:index], value, *HEADER[index + 1:]])


def one_error(wire, *frames) -> Message:
    """Sends it, and checks that exactly one message comes back: an error with a code and a message."""
    wire.send_raw(*frames)
    answer = wire.receive()
    assert answer.kind == ERROR, answer
    assert answer.payload["message"]
    wire.send(PING, payload={"nonce": 99})
    after = wire.receive()
    assert (after.kind, after.payload) == (PONG, {"nonce": 99}), "exactly one answer"
    return answer


GOOD_HEADER, GOOD_PAYLOAD = msgpack.packb(HEADER), msgpack.packb(PAYLOAD)

BAD_FRAMES = {
    "one frame": ([GOOD_HEADER], "corrupt"),
    "three frames": ([GOOD_HEADER, GOOD_PAYLOAD, b""], "corrupt"),
    "twenty frames": ([GOOD_HEADER] * 20, "corrupt"),
    "empty frames": ([b"", b""], "corrupt"),
    "delimiter in front": ([b"", GOOD_HEADER, GOOD_PAYLOAD], "corrupt"),
    "header is noise": ([b"\xc1\xff\x00", GOOD_PAYLOAD], "corrupt"),
    "header is cut": ([GOOD_HEADER[:-2], GOOD_PAYLOAD], "corrupt"),
    "header goes on": ([GOOD_HEADER + b"\x00", GOOD_PAYLOAD], "corrupt"),
    "header is a map": ([msgpack.packb({"version": 1}), GOOD_PAYLOAD], "corrupt"),
    "header is short": ([msgpack.packb(HEADER[:6]), GOOD_PAYLOAD], "corrupt"),
    "header is long": ([msgpack.packb([*HEADER, 0]), GOOD_PAYLOAD], "corrupt"),
    "header claims 2^32 elements": ([b"\xdd\xff\xff\xff\xff", GOOD_PAYLOAD], "corrupt"),
    "header of 513 bytes": ([with_field(2, "x" * 490), GOOD_PAYLOAD], "corrupt"),
    "header of 100 kB": ([b"\x97" + b"\x00" * 100_000, GOOD_PAYLOAD], "corrupt"),
    "version 2": ([with_field(0, 2), GOOD_PAYLOAD], "unsupported"),
    "version is text": ([with_field(0, "1"), GOOD_PAYLOAD], "corrupt"),
    "kind 0": ([with_field(1, 0), GOOD_PAYLOAD], "unsupported"),
    "kind 11": ([with_field(1, 11), GOOD_PAYLOAD], "unsupported"),
    "kind is negative": ([with_field(1, -1), GOOD_PAYLOAD], "corrupt"),
    "kind is a float": ([with_field(1, 1.0), GOOD_PAYLOAD], "corrupt"),
    "a server's kind": ([with_field(1, DELTA), msgpack.packb({})], "invalid_argument"),
    "no id": ([with_field(2, ""), GOOD_PAYLOAD], "corrupt"),
    "id with a space": ([with_field(2, "a b"), GOOD_PAYLOAD], "corrupt"),
    "id with a newline": ([with_field(2, "a\n"), GOOD_PAYLOAD], "corrupt"),
    "id beyond ASCII": ([with_field(2, "é"), GOOD_PAYLOAD], "corrupt"),
    "id of 129 bytes": ([with_field(2, "x" * 129), GOOD_PAYLOAD], "corrupt"),
    "id is a number": ([with_field(2, 5), GOOD_PAYLOAD], "corrupt"),
    "id is nil": ([with_field(2, None), GOOD_PAYLOAD], "corrupt"),
    "negative offset": ([with_field(4, -1), GOOD_PAYLOAD], "corrupt"),
    "unknown lane": ([with_field(5, "express"), GOOD_PAYLOAD], "unsupported"),
    "deadline is negative": ([with_field(6, -1), GOOD_PAYLOAD], "corrupt"),
    "deadline too far": ([with_field(6, 604_800_001), GOOD_PAYLOAD], "corrupt"),
    "payload is empty": ([GOOD_HEADER, b""], "corrupt"),
    "payload is noise": ([GOOD_HEADER, b"\xc1" * 30], "corrupt"),
    "payload is cut": ([GOOD_HEADER, GOOD_PAYLOAD[:-1]], "corrupt"),
    "payload goes on": ([GOOD_HEADER, GOOD_PAYLOAD + b"\xc0"], "corrupt"),
    "payload is deep": ([GOOD_HEADER, b"\x81\xa1x" + b"\x91" * 5000 + b"\xc0"], "invalid_argument"),
    "payload claims 2^32 elements": ([GOOD_HEADER, b"\x81\xa6prompt\xdd\xff\xff\xff\xff"], "corrupt"),
    "payload is an array": ([GOOD_HEADER, msgpack.packb([1])], "invalid_argument"),
    "keys are numbers": ([GOOD_HEADER, msgpack.packb({1: "x"})], "invalid_argument"),
    "text is not UTF-8": ([GOOD_HEADER, b"\x81\xa6prompt\xa2\xff\xfe"], None),
    "text is bin": ([GOOD_HEADER, msgpack.packb({"prompt": b"x"})], "invalid_argument"),
    "an extension type": ([GOOD_HEADER, msgpack.packb({"prompt": msgpack.ExtType(5, b"x")})], None),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames(wire, name):
    frames, code = BAD_FRAMES[name]
    answer = one_error(wire, *frames)
    assert answer.payload["code"] in ((code,) if code else ("corrupt", "invalid_argument")), answer.payload
    is_header_good = len(frames) == 2 and frames[0] in (GOOD_HEADER, with_field(1, DELTA))
    assert answer.request_id == ("bad" if is_header_good else ""), "an error names its request where it can"


BAD_FIELDS = {
    "no prompt": {"prompt": None},
    "two prompts": {"prompt_token_ids": [1]},
    "three prompts": {"prompt_token_ids": [1], "messages": [{"role": "user", "content": "x"}]},
    "empty prompt": {"prompt": ""},
    "no token ids": {"prompt": None, "prompt_token_ids": []},
    "id beyond the vocabulary": {"prompt": None, "prompt_token_ids": [10**6]},
    "negative id": {"prompt": None, "prompt_token_ids": [-1]},
    "huge id": {"prompt": None, "prompt_token_ids": [2**40]},
    "ids are floats": {"prompt": None, "prompt_token_ids": [1.0]},
    "prompt is a number": {"prompt": 7},
    "prompt longer than the context": {"prompt": "word " * 100_000},
    "prompt beyond its bytes": {"prompt": "x" * (2_097_152 + 1)},
    "messages are text": {"prompt": None, "messages": "hello"},
    "messages are texts": {"prompt": None, "messages": ["hello"]},
    "tools without messages": {"tools": [{"name": "f"}]},
    "unknown model": {"model": "no-such-model"},
    "n is 0": {"n": 0},
    "n is 17": {"n": 17},
    "n without sampling": {"n": 2, "temperature": 0},
    "max_tokens is 0": {"max_tokens": 0},
    "max_tokens is negative": {"max_tokens": -5},
    "max_tokens is a float": {"max_tokens": 5.0},
    "max_tokens is text": {"max_tokens": "5"},
    "max_tokens is a bool": {"max_tokens": True},
    "max_tokens beyond the context": {"max_tokens": 10**9},
    "min_tokens above max_tokens": {"min_tokens": 2},
    "temperature is NaN": {"temperature": float("nan")},
    "temperature is infinite": {"temperature": float("inf")},
    "temperature is negative": {"temperature": -0.5},
    "temperature is nil": {"temperature": None},
    "top_p is 0": {"top_p": 0.0},
    "top_p is NaN": {"top_p": float("nan")},
    "top_k is -2": {"top_k": -2},
    "min_p is 2": {"min_p": 2.0},
    "repetition_penalty is 0": {"repetition_penalty": 0.0},
    "presence_penalty is 3": {"presence_penalty": 3.0},
    "priority is huge": {"priority": 10**9},
    "logit_bias names no token": {"logit_bias": {"x": 1.0}},
    "logit_bias beyond the vocabulary": {"logit_bias": {"1000000": 1.0}},
    "logit_bias is NaN": {"logit_bias": {"5": float("nan")}},
    "logprobs are 21": {"logprobs": 21},
    "stop is empty": {"stop": [""]},
    "stop is text": {"stop": "x"},
    "stop is long": {"stop": ["x" * 257]},
    "stops are many": {"stop": ["x"] * 17},
    "stop id beyond the vocabulary": {"stop_token_ids": [10**6]},
    "echo with messages": {"prompt": None, "messages": [{"role": "user", "content": "x"}], "echo": True},
}
#: What the message must say, where it is not the field that the case names first.
NAMED_OTHERWISE = {"unknown model": "no-such-model", "id beyond the vocabulary": "id", "negative id": "id",
                   "huge id": "id", "n without sampling": "greedy", "prompt longer than the context": "context",
                   "max_tokens beyond the context": "max_tokens"}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_fields(wire, name):
    payload = {key: value for key, value in {**PAYLOAD, **BAD_FIELDS[name]}.items()
               if not (key == "prompt" and value is None)}
    answer = one_error(wire, GOOD_HEADER, msgpack.packb(payload))
    assert answer.request_id == "bad"
    assert answer.payload["code"] == ("not_found" if name == "unknown model" else "invalid_argument"), answer
    words = {"prompt", *BAD_FIELDS[name]} if name not in NAMED_OTHERWISE else {NAMED_OTHERWISE[name]}
    assert any(word in answer.payload["message"] for word in words), answer.payload["message"]


@pytest.mark.parametrize("kind", [SUBMIT, CANCEL, RESUME, PING, STATS])
def test_unknown_keys_are_named(wire, kind):
    header = msgpack.packb([1, kind, "bad" if kind in (SUBMIT, CANCEL, RESUME) else "", 0, 0, "realtime", 0])
    answer = one_error(wire, header, msgpack.packb({"max_tokenz": 5}))
    assert answer.payload["code"] == "invalid_argument"
    assert "max_tokenz" in answer.payload["message"]
    if kind == SUBMIT:
        assert "max_tokens" in answer.payload["message"], "and the likely one is suggested"


@pytest.mark.parametrize("kind", [CANCEL, RESUME, PING, STATS])
def test_only_submits_are_large(wire, kind):
    header = msgpack.packb([1, kind, "bad" if kind in (CANCEL, RESUME) else "", 0, 0, "realtime", 0])
    answer = one_error(wire, header, msgpack.packb({"nonce": [1] * 5000}))
    assert answer.payload["code"] == "corrupt" and "4096" in answer.payload["message"], answer.payload


def test_a_message_of_very_many_frames_is_one_bad_message(wire):
    answer = one_error(wire, GOOD_HEADER, *[b""] * 20_000)
    assert answer.payload["code"] == "corrupt" and "20001" in answer.payload["message"], answer.payload


@pytest.mark.parametrize("offsets", [-1, [-1], ["x"], [1.5], {"0": 1}])
def test_bad_offsets(wire, offsets):
    header = msgpack.packb([1, RESUME, "bad", 0, 0, "realtime", 0])
    answer = one_error(wire, header, msgpack.packb({"offsets": offsets}))
    assert answer.payload["code"] == "invalid_argument"
    assert "offsets" in answer.payload["message"]


def test_a_refused_id_can_be_used_again(wire):
    one_error(wire, GOOD_HEADER, msgpack.packb({**PAYLOAD, "temperature": -1}))
    assert wire.generate("bad", **PAYLOAD).finished


def test_payload_of_9_mb(wire):
    answer = one_error(wire, GOOD_HEADER, msgpack.packb({"prompt": "x" * (9 << 20)}))
    assert answer.payload["code"] in ("corrupt", "invalid_argument")
    assert answer.request_id == "bad"


def test_a_payload_beyond_all_measure_costs_only_its_own_connection(server, wire):
    with Wire(server.zmq) as hostile:
        hostile.send_raw(GOOD_HEADER, b"\x00" * (40 << 20))
        assert wire.generate(**GREEDY).finished


def test_a_req_socket_is_told_what_to_use(server):
    with Wire(server.zmq, socket_type=zmq.REQ, REQ_CORRELATE=0) as request:
        request.send_raw(GOOD_HEADER, GOOD_PAYLOAD)
        # The answer has no delimiter, so that a REQ socket drops it; the server must not mind.
        assert not request.socket.poll(200)

"""The client wire in bare pyzmq and msgpack, written from docs/protocol.md alone: what any other language would do.

It shares nothing with clients/python, so that a misunderstanding of the page shows on one side.
"""
import os
import time
import typing

import msgpack
import zmq

SUBMIT, ACCEPTED, DELTA, FINISHED, ERROR, CANCEL, RESUME, PING, PONG, STATS = range(1, 11)
SECONDS_MAX = 60.0


class Message(typing.NamedTuple):
    version: int
    kind: int
    request_id: str
    sequence: int
    offset: int
    lane: str
    deadline_ms: int
    payload: dict


class Reply:
    """Everything that a server says about one request, checked as it comes."""

    def __init__(self, request_id: str, offsets=()):
        self.request_id = request_id
        self.accepted: dict | None = None
        self.texts: dict[int, str] = {}
        self.tokens: dict[int, list[int]] = {}
        self.reasons: dict[int, str] = {}
        self.terminal: Message | None = None
        self.delta_count = 0
        self._next = dict(enumerate(offsets))

    def take(self, message: Message) -> None:
        assert self.terminal is None, f"{message} after the terminal reply"
        if message.kind == ACCEPTED:
            assert not self.delta_count, "accepted comes first"
            self.accepted = message.payload
        elif message.kind == DELTA:
            self._take_delta(message)
        else:
            assert message.kind in (FINISHED, ERROR), message
            self.terminal = message
            if message.kind == FINISHED:
                assert message.payload["finish_reasons"] == [
                    self.reasons[i] for i in range(len(self.reasons))]

    def _take_delta(self, message: Message) -> None:
        sequence, ids = message.sequence, message.payload.get("token_ids", [])
        assert sequence not in self.reasons, "a delta after the last one of its sequence"
        assert message.offset == self._next.get(sequence, 0), "offsets have neither gap nor repeat"
        assert ids or "finish_reason" in message.payload
        self.delta_count += 1
        self._next[sequence] = message.offset + len(ids)
        self.tokens.setdefault(sequence, []).extend(ids)
        self.texts[sequence] = self.texts.get(sequence, "") + message.payload.get("text", "")
        if "finish_reason" in message.payload:
            self.reasons[sequence] = message.payload["finish_reason"]

    @property
    def text(self) -> str:
        return self.texts[0]

    @property
    def code(self) -> str | None:
        """Of the error that ended it."""
        return self.terminal.payload["code"] if self.terminal.kind == ERROR else None

    @property
    def finished(self) -> dict:
        assert self.terminal.kind == FINISHED, self.terminal
        return self.terminal.payload


class Wire:
    """One DEALER. It answers the server's pings, and sends none on its own."""

    def __init__(self, endpoint: str, *, socket_type=zmq.DEALER, routing_id: bytes | None = None, **options):
        self.routing_id = routing_id or os.urandom(16).hex().encode()
        self.socket = zmq.Context.instance().socket(socket_type)
        self.socket.setsockopt(zmq.ROUTING_ID, self.routing_id)
        self.socket.setsockopt(zmq.LINGER, 0)
        for name, value in options.items():
            self.socket.setsockopt(getattr(zmq, name), value)
        self.socket.connect(endpoint)
        self.server_pings = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close(0)

    def send_raw(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def send(self, kind: int, request_id: str = "", payload=None, *, lane="realtime", deadline_ms=0) -> None:
        header = [1, kind, request_id, 0, 0, lane, deadline_ms]
        self.send_raw(msgpack.packb(header), msgpack.packb(payload or {}))

    def submit(self, request_id: str, *, lane="realtime", deadline_ms=0, **fields) -> None:
        self.send(SUBMIT, request_id, fields, lane=lane, deadline_ms=deadline_ms)

    def receive(self, seconds_max: float = SECONDS_MAX) -> Message:
        deadline = time.monotonic() + seconds_max
        while True:
            left_ms = max(0.0, deadline - time.monotonic()) * 1000
            assert self.socket.poll(left_ms), f"no message within {seconds_max} s"
            frames = self.socket.recv_multipart()
            assert len(frames) == 2, frames
            header, payload = map(msgpack.unpackb, frames)
            message = Message(*header, payload)
            assert message.version == 1
            if message.kind != PING:
                return message
            self.server_pings += 1
            self.send(PONG, payload={"nonce": message.payload.get("nonce", 0)})

    def receive_of(self, *kinds: int, seconds_max: float = SECONDS_MAX) -> Message:
        """The next message of these kinds; others are dropped."""
        deadline = time.monotonic() + seconds_max
        while True:
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if message.kind in kinds:
                return message

    def collect(self, *request_ids: str, offsets=(), seconds_max: float = SECONDS_MAX) -> list[Reply]:
        """Reads until all of these requests have ended."""
        replies = {request_id: Reply(request_id, offsets) for request_id in request_ids}
        deadline = time.monotonic() + seconds_max
        while any(reply.terminal is None for reply in replies.values()):
            message = self.receive(max(0.0, deadline - time.monotonic()))
            if message.request_id in replies:
                replies[message.request_id].take(message)
            else:
                assert message.kind in (PONG, STATS), message
        return list(replies.values())

    def generate(self, request_id: str | None = None, *, lane="realtime", deadline_ms=0, **fields) -> Reply:
        request_id = request_id or new_id()
        self.submit(request_id, lane=lane, deadline_ms=deadline_ms, **fields)
        return self.collect(request_id)[0]

    def stats(self) -> dict[str, float]:
        self.send(STATS)
        return self.receive_of(STATS).payload["values"]

    def is_idle(self) -> bool:
        now = self.stats()
        return not (now["num_requests_running"] or now["num_requests_waiting"] or now["kv_cache_usage_perc"])


def new_id() -> str:
    return os.urandom(8).hex()

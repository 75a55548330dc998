"""A ROUTER that plays Troupe's gateway from a script, inside the test process.

The script is a function of (server, identity, frame) that sends what it likes. All of it runs on the server's
thread; tests wait for what arrived with `expect`, which ends at a deadline and never sleeps a fixed time.
"""

import queue
import threading
import time

import msgpack
import zmq

from troupe.wire import Frame, Kind, decode

DEADLINE_S = 10.0


class FakeServer:
    def __init__(self, script, *, answer_pings=True, endpoint="tcp://127.0.0.1:*"):
        self.script = script
        self.answer_pings = answer_pings
        self.seen = queue.SimpleQueue()
        self.pings = 0
        self._backlog = []
        self._context = zmq.Context()
        self._commands = queue.SimpleQueue()
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._bind_to = endpoint
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stopping.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self._context.term()

    def run_on_thread(self, command):
        self._commands.put(command)

    def send(self, identity, frame):
        self.send_raw(identity, *frame.encode())

    def send_raw(self, identity, *parts):
        self._socket.send_multipart([identity, *parts])

    def expect(self, kind):
        """The next message of a kind; others before it are kept for later calls."""
        for index, frame in enumerate(self._backlog):
            if frame.kind == kind:
                return self._backlog.pop(index)
        ends_at = time.monotonic() + DEADLINE_S
        while True:
            frame = self.seen.get(timeout=max(0.01, ends_at - time.monotonic()))
            if frame.kind == kind:
                return frame
            self._backlog.append(frame)

    def _run(self):
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(self._bind_to)
        self.endpoint = self._socket.getsockopt(zmq.LAST_ENDPOINT).decode()
        self._ready.set()
        while not self._stopping.is_set():
            while not self._commands.empty():
                self._commands.get()()
            if not self._socket.poll(5):
                continue
            identity, *parts = self._socket.recv_multipart()
            frame = decode(parts)
            if frame.kind == Kind.PING:
                self.pings += 1
                if self.answer_pings:
                    self.send(identity, Frame(Kind.PONG, payload={"nonce": frame.payload["nonce"]}))
                continue
            self.seen.put(frame)
            self.script(self, identity, frame)
        self._socket.close(0)


def accepted(frame, prompt_tokens=3):
    return Frame(Kind.ACCEPTED, frame.request_id, payload={"prompt_tokens": prompt_tokens})


def delta(frame, offset, text, *, sequence=0, tokens=1, finish=None):
    payload = {"text": text, "token_ids": list(range(offset, offset + tokens))}
    if finish:
        payload["finish_reason"] = finish
    return Frame(Kind.DELTA, frame.request_id, sequence, offset, payload=payload)


def finished(frame, completion_tokens=3):
    payload = {
        "finish_reasons": ["stop"],
        "prompt_tokens": 3,
        "completion_tokens": completion_tokens,
        "cached_tokens": 1,
        "queue_ms": 0.5,
        "ttft_ms": 1.5,
        "e2e_ms": 2.5,
    }
    return Frame(Kind.FINISHED, frame.request_id, payload=payload)


def failed(frame, code, message="because"):
    return Frame(Kind.ERROR, frame.request_id, payload={"code": code, "message": message})


def raw_header(*fields):
    return msgpack.packb(list(fields))

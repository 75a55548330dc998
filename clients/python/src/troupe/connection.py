"""The thread that owns the socket. ZeroMQ sockets belong to one thread; callers hand it work through a
queue and a wake-up byte, and get events through the sinks they gave, which must not block."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

import zmq
import zmq.utils.monitor

from .errors import Aborted, CorruptData, Overloaded, TroupeError, Unavailable, error_of
from .requests import RequestTable, Sink
from .wire import HEARTBEAT_S, PAYLOAD_BYTES_MAX, Frame, Kind, decode

#: Messages that wait for a full socket before `submit` answers Overloaded.
OUTBOX_MAX = 4096

Waiter = Callable[[Any], None]  # takes the answer's payload or an error


class Connection:
    """Keeps one DEALER socket alive: heartbeats, reconnects, resumes."""

    def __init__(
        self,
        endpoint: str,
        *,
        heartbeat: float = HEARTBEAT_S / 2,
        reconnect: float = 3 * HEARTBEAT_S,
        give_up: float = 30.0,
        server_public_key: Optional[bytes] = None,
    ) -> None:
        self._endpoint = endpoint
        self._heartbeat = heartbeat
        self._reconnect = reconnect
        self._give_up = give_up
        self._server_public_key = server_public_key
        self._routing_id = os.urandom(16).hex().encode()  # never begins with a zero byte
        self._requests = RequestTable()
        self._pings: Dict[int, Waiter] = {}
        self._stats: List[Waiter] = []
        self._nonces = itertools.count(1)
        self._commands: Deque[Tuple[Callable[..., None], tuple]] = deque()
        self._outbox: Deque[List[bytes]] = deque()
        self._lost = False  # the connection broke since the last resume
        self._closed = threading.Event()
        self._closed_because = "the client is closed"
        # Held where a command is added, so that none is added after the thread has run its last. Reentrant,
        # because a collected stream may cancel itself at any instruction.
        self._commands_lock = threading.RLock()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._context = zmq.Context()
        self._thread = threading.Thread(target=self._run, name="troupe-client", daemon=True)
        self._thread.start()

    # --- called from any thread ---

    def submit(self, frame: Frame, sink: Sink) -> None:
        self._call(self._do_submit, frame, sink)

    def cancel(self, request_id: str) -> None:
        try:
            self._call(self._do_cancel, request_id)
        except Aborted:
            pass  # closing has cancelled everything

    def ping(self, waiter: Waiter) -> None:
        self._call(self._do_ping, waiter)

    def stats(self, waiter: Waiter) -> None:
        self._call(self._do_stats, waiter)

    def close(self) -> None:
        """Cancels what runs, sends what can be sent at once, ends the thread."""
        with self._commands_lock:
            self._closed.set()
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5.0)

    def _call(self, command: Callable[..., None], *arguments: Any) -> None:
        with self._commands_lock:
            if self._closed.is_set():
                raise Aborted(self._closed_because)
            self._commands.append((command, arguments))
        self._wake()

    def _wake(self) -> None:
        try:
            self._wake_writer.send(b"x")
        except (BlockingIOError, OSError):
            pass  # a full pipe wakes the thread as well; a closed one has no thread

    # --- the thread ---

    def _run(self) -> None:
        self._open()
        try:
            while not self._closed.is_set():
                self._wait()
                self._run_commands()
                self._receive()
                self._watch_connection()
                self._keep_alive()
                self._send()
        except Exception as failure:  # a defect here must not leave callers waiting
            self._closed_because = f"the client's thread failed: {failure!r}"
            self._fail_all(TroupeError(self._closed_because))
        finally:
            self._shut_down()

    def _open(self) -> None:
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.ROUTING_ID, self._routing_id)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, PAYLOAD_BYTES_MAX)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if self._server_public_key is not None:
            public, secret = zmq.curve_keypair()
            self._socket.curve_publickey = public
            self._socket.curve_secretkey = secret
            self._socket.curve_serverkey = self._server_public_key
        events = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED
        self._monitor = self._socket.get_monitor_socket(events)
        self._socket.connect(self._endpoint)
        now = time.monotonic()
        self._opened_at = self._heard_at = now
        self._pinged_at = now - self._heartbeat
        if not hasattr(self, "_last_life"):
            self._last_life = now

    def _reopen(self) -> None:
        self._close_socket()
        self._outbox.clear()
        self._open()
        self._lost = False
        self._resume_all()

    def _wait(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN | (zmq.POLLOUT if self._outbox else 0))
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._wake_reader, zmq.POLLIN)
        next_ping = self._pinged_at + self._heartbeat - time.monotonic()
        poller.poll(max(0.0, min(next_ping, self._heartbeat)) * 1000)
        try:
            self._wake_reader.recv(4096)
        except BlockingIOError:
            pass

    def _run_commands(self) -> None:
        while self._commands:
            command, arguments = self._commands.popleft()
            command(*arguments)

    def _receive(self) -> None:
        # Bounded, so that a fast stream cannot starve heartbeats and cancels.
        for _ in range(1000):
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard_at = self._last_life = time.monotonic()
            try:
                self._on_frame(decode(parts))
            except CorruptData as failure:
                self._cancel_all(failure)

    def _on_frame(self, frame: Frame) -> None:
        if frame.kind == Kind.PONG:
            waiter = self._pings.pop(frame.payload.get("nonce"), None)
            if waiter:
                waiter(frame.payload)
        elif frame.kind == Kind.STATS:
            waiters, self._stats = self._stats, []
            for waiter in waiters:
                waiter(frame.payload.get("values", {}))
        elif frame.kind == Kind.ERROR and not frame.request_id:
            # Nobody knows which frame it answers: a refusal of this client as a whole.
            payload = frame.payload
            self._fail_all(error_of(payload.get("code", "internal"), payload.get("message", "")))
        else:
            self._queue(self._requests.on_frame(frame))

    def _watch_connection(self) -> None:
        while self._monitor.poll(0):
            event = zmq.utils.monitor.recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]
            if event == zmq.EVENT_DISCONNECTED:
                self._lost = True
            elif event == zmq.EVENT_CONNECTED and self._lost:
                self._lost = False
                self._resume_all()

    def _keep_alive(self) -> None:
        now = time.monotonic()
        if now - self._last_life > self._give_up and (self._requests or self._waiting()):
            self._fail_all(
                Unavailable(f"nothing was heard from {self._endpoint} for {self._give_up:g} s")
            )
            self._last_life = now
        if now - self._heard_at > self._reconnect:
            self._reopen()
        if now - self._pinged_at >= self._heartbeat:
            self._pinged_at = now
            if not self._outbox:  # what waits in the outbox is a sign of life as well
                self._queue(Frame(Kind.PING, payload={"nonce": next(self._nonces)}))

    def _send(self) -> None:
        while self._outbox:
            try:
                self._socket.send_multipart(self._outbox[0], zmq.NOBLOCK)
            except zmq.Again:
                return
            self._outbox.popleft()

    def _queue(self, frame: Optional[Frame]) -> None:
        if frame is not None:
            self._outbox.append(frame.encode())

    def _resume_all(self) -> None:
        for frame in self._requests.on_reconnect():
            self._queue(frame)
        if self._stats:
            self._queue(Frame(Kind.STATS))
        for nonce in self._pings:
            self._queue(Frame(Kind.PING, payload={"nonce": nonce}))

    def _waiting(self) -> bool:
        return bool(self._pings or self._stats)

    def _note_activity(self) -> None:
        """The patience of give_up starts when somebody begins to wait."""
        if not self._requests and not self._waiting():
            self._last_life = time.monotonic()

    def _do_submit(self, frame: Frame, sink: Sink) -> None:
        if frame.request_id in self._requests:
            sink(error_of("already_exists", f"request id {frame.request_id!r} is in use"))
        elif len(self._outbox) >= OUTBOX_MAX:
            sink(Overloaded(f"{OUTBOX_MAX} messages already wait to be sent"))
        else:
            self._note_activity()
            self._queue(self._requests.add(frame, sink))

    def _do_cancel(self, request_id: str) -> None:
        self._queue(self._requests.cancel(request_id))

    def _do_ping(self, waiter: Waiter) -> None:
        self._note_activity()
        nonce = next(self._nonces)
        self._pings[nonce] = waiter
        self._queue(Frame(Kind.PING, payload={"nonce": nonce}))

    def _do_stats(self, waiter: Waiter) -> None:
        self._note_activity()
        self._stats.append(waiter)
        self._queue(Frame(Kind.STATS))

    def _fail_all(self, error: TroupeError) -> None:
        self._requests.fail_all(error)
        waiters = list(self._pings.values()) + self._stats
        self._pings, self._stats = {}, []
        for waiter in waiters:
            waiter(error)

    def _cancel_all(self, error: TroupeError) -> None:
        for frame in self._requests.cancel_frames():
            self._queue(frame)
        self._fail_all(error)

    def _shut_down(self) -> None:
        with self._commands_lock:
            self._closed.set()
        # Commands that raced with close() still get an answer.
        self._run_commands()
        self._cancel_all(Aborted("the client was closed"))
        self._send()
        self._close_socket(linger_ms=500)
        self._context.term()
        self._wake_reader.close()
        self._wake_writer.close()

    def _close_socket(self, linger_ms: int = 0) -> None:
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(linger_ms)

"""The synchronous client."""

from __future__ import annotations

import queue
import time
from typing import Any, Callable, Dict, Iterable, Mapping, Optional

from .arguments import Prompt, submit_frame
from .connection import Connection
from .errors import DeadlineExceeded, TroupeError
from .requests import Event
from .results import Delta, Result
from .wire import Frame


class Stream:
    """The deltas of one request, in order for each sequence, none twice.

    Iterate to the end, then read `result`. Closing it early (or leaving its `with` block) cancels the request.
    """

    def __init__(self, connection: Connection, frame: Frame, timeout: Optional[float]) -> None:
        self.request_id = frame.request_id
        #: The whole output; set once iteration has ended.
        self.result: Optional[Result] = None
        self._connection = connection
        self._timeout = timeout
        self._events: "queue.SimpleQueue[Event]" = queue.SimpleQueue()
        self._done = False
        connection.submit(frame, self._events.put)

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> Delta:
        return self._next(self._timeout)

    def _next(self, timeout: Optional[float]) -> Delta:
        if self._done:
            raise StopIteration
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise DeadlineExceeded(
                f"request {self.request_id} gave nothing for {timeout:g} s and was cancelled"
            ) from None
        except BaseException:  # an interrupt ends the request too
            self.close()
            raise
        if isinstance(event, Delta):
            return event
        self._done = True
        if isinstance(event, Result):
            self.result = event
            raise StopIteration
        raise event

    def close(self) -> None:
        """Cancels the request, unless it has ended."""
        if not self._done:
            self._done = True
            self._connection.cancel(self.request_id)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_done"):
            self.close()


class Client:
    """A connection to a Troupe server. Usable from many threads.

    endpoint: where the server's ROUTER listens. timeout: the default for every wait, in seconds. heartbeat:
    seconds between pings. reconnect: seconds of silence after which a new connection is made. give_up: seconds of
    silence after which everything that waits fails with Unavailable. server_public_key: the server's CURVE key
    (Z85), where it asks for encryption.
    """

    def __init__(
        self,
        endpoint: str = "tcp://127.0.0.1:5555",
        *,
        timeout: float = 300.0,
        heartbeat: float = 1.0,
        reconnect: float = 6.0,
        give_up: float = 30.0,
        server_public_key: Optional[bytes] = None,
    ) -> None:
        self._timeout = timeout
        self._connection = Connection(
            endpoint,
            heartbeat=heartbeat,
            reconnect=reconnect,
            give_up=give_up,
            server_public_key=server_public_key,
        )

    def stream(
        self,
        prompt: Optional[Prompt] = None,
        *,
        messages: Optional[Iterable[Mapping[str, Any]]] = None,
        lane: str = "realtime",
        deadline_ms: float = 0,
        request_id: Optional[str] = None,
        timeout: Optional[float] = None,
        **params: Any,
    ) -> Stream:
        """Starts a request and returns its deltas as they come.

        Give a prompt (text or token ids) or chat messages. lane: "vip", "realtime" or "async". deadline_ms: the
        server ends the request after this long; 0 is never. timeout: longest wait for one delta, in seconds.
        params: fields of `submit` (max_tokens, temperature, ...). What cannot be sent raises InvalidArgument here.
        """
        frame = submit_frame(prompt, messages, lane, deadline_ms, request_id, params)
        return Stream(self._connection, frame, self._timeout if timeout is None else timeout)

    def generate(
        self,
        prompt: Optional[Prompt] = None,
        *,
        timeout: Optional[float] = None,
        **arguments: Any,
    ) -> Result:
        """Runs a request to its end. Arguments as for stream; timeout bounds the whole of it."""
        limit = self._timeout if timeout is None else timeout
        ends_at = time.monotonic() + limit
        with self.stream(prompt, timeout=limit, **arguments) as stream:
            while True:
                try:
                    stream._next(max(0.0, ends_at - time.monotonic()))
                except StopIteration:
                    assert stream.result is not None
                    return stream.result

    def ping(self, timeout: float = 5.0) -> float:
        """Seconds for a round trip."""
        began = time.monotonic()
        self._ask(self._connection.ping, "ping", timeout)
        return time.monotonic() - began

    def stats(self, timeout: float = 5.0) -> Dict[str, float]:
        """The server's metrics, by name without prefix."""
        return self._ask(self._connection.stats, "stats", timeout)

    def _ask(self, ask: Callable[[Callable[[Any], None]], None], what: str, timeout: float) -> Any:
        answers: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        ask(answers.put)
        try:
            answer = answers.get(timeout=timeout)
        except queue.Empty:
            raise DeadlineExceeded(f"{what} was not answered within {timeout:g} s") from None
        if isinstance(answer, TroupeError):
            raise answer
        return answer

    def close(self) -> None:
        """Cancels all running requests and disconnects."""
        self._connection.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

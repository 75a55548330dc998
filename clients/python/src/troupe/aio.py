"""The asyncio client: the same connection thread, with events handed to the loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Dict, Iterable, Mapping, Optional

from .arguments import Prompt, submit_frame
from .connection import Connection
from .errors import DeadlineExceeded, TroupeError
from .requests import Event
from .results import Delta, Result
from .wire import Frame


def _into_loop(loop: asyncio.AbstractEventLoop, put: Callable[[Any], None]) -> Callable[[Any], None]:
    def sink(event: Any) -> None:
        try:
            loop.call_soon_threadsafe(put, event)
        except RuntimeError:
            pass  # the loop has closed; nobody waits any more

    return sink


async def _take(queue: "asyncio.Queue[Any]", timeout: Optional[float]) -> Any:
    """The queue's next item. Before Python 3.12 asyncio.wait_for swallows a cancellation that meets an
    item which has just arrived; this does not."""
    getter = asyncio.ensure_future(queue.get())
    try:
        done, _ = await asyncio.wait({getter}, timeout=timeout)
    finally:
        getter.cancel()
    if not done:
        raise asyncio.TimeoutError
    return getter.result()


class AsyncStream:
    """The deltas of one request; see Stream. `async with` or `aclose()` cancels it when left early."""

    def __init__(self, connection: Connection, frame: Frame, timeout: Optional[float]) -> None:
        self.request_id = frame.request_id
        #: The whole output; set once iteration has ended.
        self.result: Optional[Result] = None
        self._connection = connection
        self._timeout = timeout
        self._events: "asyncio.Queue[Event]" = asyncio.Queue()
        self._done = False
        connection.submit(frame, _into_loop(asyncio.get_running_loop(), self._events.put_nowait))

    def __aiter__(self) -> "AsyncStream":
        return self

    async def __anext__(self) -> Delta:
        return await self._next(self._timeout)

    async def _next(self, timeout: Optional[float]) -> Delta:
        if self._done:
            raise StopAsyncIteration
        try:
            event = await _take(self._events, timeout)
        except asyncio.TimeoutError:
            await self.aclose()
            raise DeadlineExceeded(
                f"request {self.request_id} gave nothing for {timeout:g} s and was cancelled"
            ) from None
        except BaseException:  # a cancelled task ends the request too
            await self.aclose()
            raise
        if isinstance(event, Delta):
            return event
        self._done = True
        if isinstance(event, Result):
            self.result = event
            raise StopAsyncIteration
        raise event

    async def aclose(self) -> None:
        """Cancels the request, unless it has ended."""
        self._cancel()

    def _cancel(self) -> None:
        if not self._done:
            self._done = True
            self._connection.cancel(self.request_id)

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if hasattr(self, "_done"):
            self._cancel()


class AsyncClient:
    """A connection to a Troupe server for asyncio. Arguments as for Client."""

    def __init__(
        self, endpoint: str = "tcp://127.0.0.1:5555", *, timeout: float = 300.0, **options: Any
    ) -> None:
        self._timeout = timeout
        self._connection = Connection(endpoint, **options)

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
    ) -> AsyncStream:
        """Starts a request; see Client.stream. Call it inside a running loop."""
        frame = submit_frame(prompt, messages, lane, deadline_ms, request_id, params)
        return AsyncStream(self._connection, frame, self._timeout if timeout is None else timeout)

    async def generate(
        self,
        prompt: Optional[Prompt] = None,
        *,
        timeout: Optional[float] = None,
        **arguments: Any,
    ) -> Result:
        """Runs a request to its end; see Client.generate."""
        limit = self._timeout if timeout is None else timeout
        ends_at = time.monotonic() + limit
        async with self.stream(prompt, timeout=limit, **arguments) as stream:
            while True:
                try:
                    await stream._next(max(0.0, ends_at - time.monotonic()))
                except StopAsyncIteration:
                    assert stream.result is not None
                    return stream.result

    async def ping(self, timeout: float = 5.0) -> float:
        """Seconds for a round trip."""
        began = time.monotonic()
        await self._ask(self._connection.ping, "ping", timeout)
        return time.monotonic() - began

    async def stats(self, timeout: float = 5.0) -> Dict[str, float]:
        """The server's metrics, by name without prefix."""
        return await self._ask(self._connection.stats, "stats", timeout)

    async def _ask(
        self, ask: Callable[[Callable[[Any], None]], None], what: str, timeout: float
    ) -> Any:
        answers: "asyncio.Queue[Any]" = asyncio.Queue()
        ask(_into_loop(asyncio.get_running_loop(), answers.put_nowait))
        try:
            answer = await _take(answers, timeout)
        except asyncio.TimeoutError:
            raise DeadlineExceeded(f"{what} was not answered within {timeout:g} s") from None
        if isinstance(answer, TroupeError):
            raise answer
        return answer

    async def aclose(self) -> None:
        """Cancels all running requests and disconnects."""
        await asyncio.get_running_loop().run_in_executor(None, self._connection.close)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

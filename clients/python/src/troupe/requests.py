"""The state of running requests, without sockets, threads or clocks: frames in, frames and events out.

A request is submitted -> running -> done. Frames may come twice (after a resume) or be lost (with a
connection); what is repeated is dropped by (sequence, offset), what is missing is asked for with `resume`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Union

from .errors import CorruptData, TroupeError, error_of
from .results import Delta, Result, Sequence
from .wire import Frame, Kind

#: What a request's owner is told: a Delta, then the Result, or an error at any time.
Event = Union[Delta, Result, TroupeError]
Sink = Callable[[Event], None]


class RunningRequest:
    """One request from submit to its terminal event."""

    def __init__(self, submit: Frame, sink: Sink) -> None:
        self.submit = submit
        self.sink = sink
        count = submit.payload.get("n", 1)
        count = count if isinstance(count, int) and 1 <= count <= 1024 else 1
        self.result = Result(submit.request_id, [Sequence() for _ in range(count)])
        self.known_to_server = False  # some answer has come
        self.resubmitted = False
        self.resume_pending = False  # asked for, nothing of it has come yet

    def resume_frame(self) -> Frame:
        offsets = [len(sequence.token_ids) for sequence in self.result.sequences]
        return self._like_submit(Kind.RESUME, {"offsets": offsets})

    def cancel_frame(self) -> Frame:
        return self._like_submit(Kind.CANCEL, {})

    def on_reconnect(self) -> Frame:
        """What to send over a new connection."""
        if self.known_to_server:
            self.resume_pending = True
            return self.resume_frame()
        self.resubmitted = True
        return self.submit

    def on_frame(self, frame: Frame) -> "tuple[Optional[Frame], bool]":
        """A frame to answer with, and whether the request is done."""
        if frame.kind == Kind.ERROR:
            return self._on_error(frame)
        self.known_to_server = True
        if frame.kind == Kind.ACCEPTED:
            self.result.prompt_tokens = frame.payload.get("prompt_tokens", 0)
            return None, False
        if frame.kind == Kind.DELTA:
            return self._on_delta(frame), False
        if frame.kind == Kind.FINISHED:
            return self._on_finished(frame)
        return None, False

    def _on_error(self, frame: Frame) -> "tuple[Optional[Frame], bool]":
        code = frame.payload.get("code", "internal")
        if code == "already_exists" and self.resubmitted and not self.known_to_server:
            # The first submit had arrived after all.
            self.known_to_server = True
            self.resume_pending = True
            return self.resume_frame(), False
        self.sink(error_of(code, frame.payload.get("message", "")))
        return None, True

    def _on_delta(self, frame: Frame) -> Optional[Frame]:
        if frame.sequence >= len(self.result.sequences):
            return None
        sequence = self.result.sequences[frame.sequence]
        expected = len(sequence.token_ids)
        if sequence.finish_reason is not None or frame.offset < expected:
            return None  # a repetition
        if frame.offset > expected:
            return self._ask_once()
        self.resume_pending = False
        delta = Delta.of(frame.sequence, frame.offset, frame.payload)
        sequence.add(delta)
        self.sink(delta)
        return None

    def _on_finished(self, frame: Frame) -> "tuple[Optional[Frame], bool]":
        if any(sequence.finish_reason is None for sequence in self.result.sequences):
            return self._ask_once(), False
        for name in (
            "prompt_tokens",
            "completion_tokens",
            "cached_tokens",
            "queue_ms",
            "ttft_ms",
            "e2e_ms",
        ):
            setattr(self.result, name, frame.payload.get(name, 0))
        self.sink(self.result)
        return None, True

    def _ask_once(self) -> Optional[Frame]:
        if self.resume_pending:
            return None
        self.resume_pending = True
        return self.resume_frame()

    def _like_submit(self, kind: Kind, payload: Dict[str, Any]) -> Frame:
        return Frame(kind, self.submit.request_id, lane=self.submit.lane, payload=payload)


class RequestTable:
    """All requests of one connection, by id."""

    def __init__(self) -> None:
        self._running: Dict[str, RunningRequest] = {}

    def __len__(self) -> int:
        return len(self._running)

    def add(self, submit: Frame, sink: Sink) -> Frame:
        self._running[submit.request_id] = RunningRequest(submit, sink)
        return submit

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._running

    def cancel(self, request_id: str) -> Optional[Frame]:
        """Forgets the request; its late frames are ignored."""
        request = self._running.pop(request_id, None)
        return request.cancel_frame() if request else None

    def on_frame(self, frame: Frame) -> Optional[Frame]:
        request = self._running.get(frame.request_id)
        if request is None:
            return None
        try:
            answer, done = request.on_frame(frame)
        except Exception as failure:  # values of wrong types: this request's trouble, nobody else's
            request.sink(CorruptData(f"a message of request {frame.request_id}: {failure!r}"))
            return self.cancel(frame.request_id)
        if done:
            self._running.pop(frame.request_id, None)
        return answer

    def on_reconnect(self) -> List[Frame]:
        return [request.on_reconnect() for request in self._running.values()]

    def fail_all(self, error: TroupeError) -> None:
        running, self._running = self._running, {}
        for request in running.values():
            request.sink(error)

    def cancel_frames(self) -> List[Frame]:
        """What tells the server that nobody wants any of these."""
        return [request.cancel_frame() for request in self._running.values()]

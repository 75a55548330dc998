"""What a request gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional


@dataclass(frozen=True)
class LogprobEntry:
    """One token of a logprobs report; `bytes` are exact where `token` shows U+FFFD."""

    token_id: int
    token: str
    bytes: bytes
    logprob: float
    rank: int

    @staticmethod
    def of(value: Dict[str, Any]) -> "LogprobEntry":
        return LogprobEntry(
            value.get("token_id", 0),
            value.get("token", ""),
            value.get("bytes", b""),
            value.get("logprob", 0.0),
            value.get("rank", 0),
        )


@dataclass(frozen=True)
class PositionLogprobs:
    """The token at one position and its most probable alternatives."""

    chosen: LogprobEntry
    top: List[LogprobEntry]

    @staticmethod
    def of(value: Dict[str, Any]) -> "PositionLogprobs":
        chosen = LogprobEntry.of(value.get("chosen", {}))
        return PositionLogprobs(chosen, [LogprobEntry.of(each) for each in value.get("top", [])])


@dataclass(frozen=True)
class Delta:
    """New output of one sequence. `offset` is the index of token_ids[0] among its output tokens."""

    sequence: int
    offset: int
    text: str
    token_ids: List[int]
    logprobs: List[PositionLogprobs] = field(default_factory=list)
    prompt_logprobs: List[PositionLogprobs] = field(default_factory=list)
    finish_reason: Optional[str] = None
    stop_reason: Optional[str] = None

    @staticmethod
    def of(sequence: int, offset: int, payload: Dict[str, Any]) -> "Delta":
        return Delta(
            sequence,
            offset,
            payload.get("text", ""),
            list(payload.get("token_ids", [])),
            [PositionLogprobs.of(each) for each in payload.get("logprobs", [])],
            [PositionLogprobs.of(each) for each in payload.get("prompt_logprobs", [])],
            payload.get("finish_reason"),
            payload.get("stop_reason"),
        )


@dataclass
class Sequence:
    """One finished (or growing) output."""

    text: str = ""
    token_ids: List[int] = field(default_factory=list)
    logprobs: List[PositionLogprobs] = field(default_factory=list)
    prompt_logprobs: List[PositionLogprobs] = field(default_factory=list)
    finish_reason: Optional[str] = None
    stop_reason: Optional[str] = None

    def add(self, delta: Delta) -> None:
        self.text += delta.text
        self.token_ids += delta.token_ids
        self.logprobs += delta.logprobs
        self.prompt_logprobs += delta.prompt_logprobs
        self.finish_reason = delta.finish_reason or self.finish_reason
        self.stop_reason = delta.stop_reason or self.stop_reason


@dataclass
class Result:
    """All of a request. Times are the server's, in milliseconds from arrival."""

    request_id: str
    sequences: List[Sequence] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    queue_ms: float = 0.0
    ttft_ms: float = 0.0
    e2e_ms: float = 0.0

    @property
    def text(self) -> str:
        """Text of the first sequence."""
        return self.sequences[0].text

    @property
    def finish_reason(self) -> Optional[str]:
        """"stop" or "length", of the first sequence."""
        return self.sequences[0].finish_reason

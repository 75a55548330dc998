"""Frames of the client protocol (docs/protocol.md): a header and a payload, both msgpack."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Dict, List, Optional, Sequence

import msgpack

from .errors import CorruptData

PROTOCOL_VERSION = 1
HEARTBEAT_S = 2.0
#: Of a message that is received.
PAYLOAD_BYTES_MAX = 64 << 20
# What a server takes of a message that is sent (docs/protocol.md, sections 2 and 9).
SUBMIT_BYTES_MAX = 8 << 20
REQUEST_ID_BYTES_MAX = 128
DEADLINE_MS_MAX = 604_800_000
LANES = ("vip", "realtime", "async")


class Kind(IntEnum):
    SUBMIT = 1
    ACCEPTED = 2
    DELTA = 3
    FINISHED = 4
    ERROR = 5
    CANCEL = 6
    RESUME = 7
    PING = 8
    PONG = 9
    STATS = 10


def pack(value: Any) -> bytes:
    """As msgpack. Raises TypeError, ValueError or OverflowError for what has no such form."""
    return msgpack.packb(value)


@dataclass(frozen=True)
class Frame:
    """One message. `offset` is in tokens; `deadline_ms` counts from arrival, 0 is none."""

    kind: int
    request_id: str = ""
    sequence: int = 0
    offset: int = 0
    lane: str = "realtime"
    deadline_ms: int = 0
    payload: Dict[str, Any] = None  # type: ignore[assignment]
    parts: Optional[List[bytes]] = field(default=None, compare=False, repr=False)

    def sealed(self) -> "Frame":
        """The same with its bytes made now; later changes of what the payload refers to do not reach them."""
        return replace(self, parts=self.encode())

    def encode(self) -> List[bytes]:
        if self.parts is not None:
            return self.parts
        header = [
            PROTOCOL_VERSION,
            int(self.kind),
            self.request_id,
            self.sequence,
            self.offset,
            self.lane,
            self.deadline_ms,
        ]
        return [pack(header), pack(self.payload or {})]


def decode(parts: Sequence[bytes]) -> Frame:
    """The message in a multipart's frames. Raises CorruptData for anything else."""
    if len(parts) != 2:
        raise CorruptData(f"a message has 2 frames, not {len(parts)}")
    try:
        header = msgpack.unpackb(parts[0])
        payload = msgpack.unpackb(parts[1])
    except Exception as failure:  # msgpack raises many types for broken bytes
        raise CorruptData(f"not msgpack: {failure}") from failure
    if not isinstance(header, list) or len(header) != 7 or not isinstance(payload, dict):
        raise CorruptData("the header must be an array of 7 and the payload a map")
    version, kind, request_id, sequence, offset, lane, deadline_ms = header
    if version != PROTOCOL_VERSION:
        raise CorruptData(f"protocol version {version!r} is not supported")
    integers = (kind, sequence, offset, deadline_ms)
    if not all(isinstance(value, int) for value in integers) or not isinstance(request_id, str):
        raise CorruptData("the header has a field of a wrong type")
    return Frame(kind, request_id, sequence, offset, lane, deadline_ms, payload)

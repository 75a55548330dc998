"""From a call's arguments to the message that is sent, in the caller's thread: what cannot be sent raises
there, before anybody else's request could suffer from it. What the values mean is the server's to check."""

from __future__ import annotations

import math
import uuid
from typing import Any, Dict, Iterable, Mapping, Optional, Union

from .errors import InvalidArgument
from .wire import (
    DEADLINE_MS_MAX,
    LANES,
    REQUEST_ID_BYTES_MAX,
    SUBMIT_BYTES_MAX,
    Frame,
    Kind,
    pack,
)

#: Text, or token ids.
Prompt = Union[str, Iterable[int]]

#: What conversions and msgpack raise for values that they have no form for.
_UNUSABLE = (TypeError, ValueError, OverflowError)


def submit_frame(
    prompt: Optional[Prompt],
    messages: Optional[Iterable[Mapping[str, Any]]],
    lane: str,
    deadline_ms: float,
    request_id: Optional[str],
    params: Dict[str, Any],
) -> Frame:
    """The submit message of a call, with its bytes; the id is drawn where none is given."""
    request_id = request_id or uuid.uuid4().hex
    _check_request_id(request_id)
    if lane not in LANES:
        raise InvalidArgument(f"lane must be one of {', '.join(LANES)}, not {lane!r}")
    whole_ms = _whole_ms(deadline_ms)
    payload = submit_payload(prompt, messages, params)
    return _sealed(
        Frame(Kind.SUBMIT, request_id, lane=lane, deadline_ms=whole_ms, payload=payload)
    )


def submit_payload(prompt: Any, messages: Any, params: Dict[str, Any]) -> Dict[str, Any]:
    """The submit payload of a call's arguments; what is None is left to the server."""
    payload = {name: value for name, value in params.items() if value is not None}
    if messages is not None:
        payload["messages"] = _list_of("messages", messages)
    if isinstance(prompt, str):
        payload["prompt"] = prompt
    elif prompt is not None:
        payload["prompt_token_ids"] = _token_ids(prompt)
    if isinstance(payload.get("stop"), str):
        payload["stop"] = [payload["stop"]]
    if "logit_bias" in payload:
        payload["logit_bias"] = _logit_bias(payload["logit_bias"])
    return payload


def _check_request_id(request_id: Any) -> None:
    if not isinstance(request_id, str) or not 1 <= len(request_id) <= REQUEST_ID_BYTES_MAX:
        raise InvalidArgument(f"request_id must be a text of 1 to {REQUEST_ID_BYTES_MAX} characters")
    if not all("!" <= character <= "~" for character in request_id):
        raise InvalidArgument(f"request_id must be printable ASCII without spaces, not {request_id!r}")


def _whole_ms(deadline_ms: Any) -> int:
    """Rounded up: a deadline that is near does not become 0, which is none."""
    try:
        whole = math.ceil(deadline_ms)
    except _UNUSABLE as failure:
        raise InvalidArgument(f"deadline_ms: {failure}") from None
    if not 0 <= whole <= DEADLINE_MS_MAX:
        raise InvalidArgument(f"deadline_ms must be in [0, {DEADLINE_MS_MAX}], got {deadline_ms}")
    return whole


def _list_of(name: str, values: Any) -> list:
    try:
        return list(values)
    except TypeError as failure:
        raise InvalidArgument(f"{name}: {failure}") from None


def _token_ids(prompt: Any) -> list:
    try:
        return [int(token) for token in prompt]
    except _UNUSABLE as failure:
        raise InvalidArgument(f"prompt must be text or token ids: {failure}") from None


def _logit_bias(biases: Any) -> Dict[str, float]:
    try:
        return {str(token): float(bias) for token, bias in dict(biases).items()}
    except _UNUSABLE as failure:
        raise InvalidArgument(f"logit_bias must map token ids to numbers: {failure}") from None


def _sealed(frame: Frame) -> Frame:
    try:
        sealed = frame.sealed()
    except _UNUSABLE as failure:
        raise InvalidArgument(f"{_culprit(frame.payload)} cannot be sent: {failure}") from None
    byte_count = len(sealed.encode()[1])
    if byte_count > SUBMIT_BYTES_MAX:
        raise InvalidArgument(
            f"the request has {byte_count} bytes; a server takes {SUBMIT_BYTES_MAX} at most"
        )
    return sealed


def _culprit(payload: Dict[str, Any]) -> str:
    """The name of the first value that is no msgpack."""
    for name, value in payload.items():
        try:
            pack({name: value})
        except _UNUSABLE:
            return repr(name)
    return "the request"

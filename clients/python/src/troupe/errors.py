"""One exception class for each error code of the protocol."""

from __future__ import annotations

from typing import Dict, Type


class TroupeError(Exception):
    """Base of all errors of this package."""

    code = "internal"
    #: Whether the same request may succeed later.
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(TroupeError):
    """The request makes no sense; the message names the parameter."""

    code = "invalid_argument"


class NotFound(TroupeError):
    """No such model, or no such request (it was lost, or too long ago to be resumed)."""

    code = "not_found"


class AlreadyExists(TroupeError):
    """The request id is in use."""

    code = "already_exists"


class Unauthorized(TroupeError):
    """Missing or wrong credentials."""

    code = "unauthorized"


class PermissionDenied(TroupeError):
    """The credentials are known, but do not reach this far: a lane that the tenant may not use."""

    code = "permission_denied"


class OutOfMemory(TroupeError):
    """The server has no memory for this request."""

    code = "out_of_memory"
    retryable = True


class Overloaded(TroupeError):
    """A queue of the server is full."""

    code = "overloaded"
    retryable = True


class RateLimited(TroupeError):
    """The tenant is above its token rate."""

    code = "rate_limited"
    retryable = True


class SlowClient(TroupeError):
    """This client read its stream too slowly."""

    code = "slow_client"


class CorruptData(TroupeError):
    """Bytes that break their own format."""

    code = "corrupt"


class Unsupported(TroupeError):
    """Well formed, but not something that this server can do."""

    code = "unsupported"


class Unavailable(TroupeError):
    """The server is draining, restarting or gone."""

    code = "unavailable"
    retryable = True


class DeadlineExceeded(TroupeError):
    """A wait ran out, here or on the server."""

    code = "deadline_exceeded"
    retryable = True


class DeadlineUnmeetable(TroupeError):
    """The request would not be done by its deadline: refused at once, with the estimate."""

    code = "deadline_unmeetable"
    retryable = True


class Aborted(TroupeError):
    """The request was cancelled, or the client closed."""

    code = "aborted"


class InternalError(TroupeError):
    """A defect of the server."""

    code = "internal"


_BY_CODE: Dict[str, Type[TroupeError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        NotFound,
        AlreadyExists,
        Unauthorized,
        PermissionDenied,
        OutOfMemory,
        Overloaded,
        RateLimited,
        SlowClient,
        CorruptData,
        Unsupported,
        Unavailable,
        DeadlineExceeded,
        DeadlineUnmeetable,
        Aborted,
        InternalError,
    )
}


def error_of(code: str, message: str) -> TroupeError:
    """The exception for a code of the wire; an unknown code gives a plain TroupeError."""
    error = _BY_CODE.get(code, TroupeError)(message)
    error.code = code
    return error

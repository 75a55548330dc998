"""Client of Troupe, an actor-based server for large language models."""

from .aio import AsyncClient, AsyncStream
from .client import Client, Stream
from .errors import (
    Aborted,
    AlreadyExists,
    CorruptData,
    DeadlineExceeded,
    DeadlineUnmeetable,
    InternalError,
    InvalidArgument,
    NotFound,
    OutOfMemory,
    Overloaded,
    PermissionDenied,
    RateLimited,
    SlowClient,
    TroupeError,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from .results import Delta, LogprobEntry, PositionLogprobs, Result, Sequence

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncStream",
    "Client",
    "CorruptData",
    "DeadlineExceeded",
    "DeadlineUnmeetable",
    "Delta",
    "InternalError",
    "InvalidArgument",
    "LogprobEntry",
    "NotFound",
    "OutOfMemory",
    "Overloaded",
    "PermissionDenied",
    "PositionLogprobs",
    "RateLimited",
    "Result",
    "Sequence",
    "SlowClient",
    "Stream",
    "TroupeError",
    "Unauthorized",
    "Unavailable",
    "Unsupported",
]

__version__ = "0.1.0"

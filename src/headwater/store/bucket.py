"""The bucket: a connection to object storage, and what its failures are called here.

    open_bucket(url)    's3://bucket/prefix', 'gs://…' or 'az://account/container/…'
    asking(what)        errors of the library inside become Unavailable, NoSpace, Refused or Moved

Credentials, region and endpoint come from the environment, by the library's own names (AWS_…,
GOOGLE_…, AZURE_…). A request is tried again, with growing pauses, for at most `RETRY_S`; what still
fails is told as Unavailable. "Not found" stays FileNotFoundError: only the caller knows what the
absence means.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from headwater.errors import Moved, NoSpace, Refused, Unavailable

SCHEMES = ("s3://", "gs://", "az://")
RETRY_S = 20  # then the client hears 503 and tries again itself
REQUEST_S = 60  # one request: a part of 8 MiB at 140 KB/s
CONNECT_S = 5

log = logging.getLogger(__name__)


def open_bucket(url: str, retries: int = 5) -> ObjectStore:
    """A connection; nothing is asked yet. Refused when `url` or the environment make no sense."""
    if not url.startswith(SCHEMES):
        raise Refused(f"store_url must begin with one of {', '.join(SCHEMES)}")
    try:
        bucket = from_url(
            url,
            client_options={
                # The library's own variable, which options given here would otherwise hide.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true"),
                "connect_timeout": timedelta(seconds=CONNECT_S),
                "timeout": timedelta(seconds=REQUEST_S),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=RETRY_S),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=3),
                    "base": 2,
                },
            },
        )
    except (BaseError, ValueError) as error:
        raise Refused(f"store_url cannot be used: {_first_line(error)}") from error
    if not isinstance(bucket, S3Store | GCSStore | AzureStore):
        raise Refused(f"store_url leads to a {type(bucket).__name__}, which is no bucket")
    return bucket


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Names the failure of a request about `what`, in words that give nothing away to a client;
    the log has the library's own."""
    try:
        yield
    except AlreadyExistsError:
        raise  # an answer
    except PreconditionError as error:
        raise Moved(f"{what} was replaced while it was read; ask again") from error
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise Unavailable("the bucket of this hub is gone; its operator knows more") from error
        raise
    except BaseError as error:
        text = str(error)
        log.error("object storage: %s: %s", what, _first_line(error))
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            raise Refused("the bucket in store_url does not exist; make it first") from error
        if "QuotaExceeded" in text:
            raise NoSpace("Not enough storage on the hub. Nothing was saved.") from error
        if isinstance(error, PermissionDeniedError | UnauthenticatedError) or " 403 " in text:
            raise Unavailable(
                "the object storage refuses the hub's credentials; its operator can tell by the "
                "log which permission is missing"
            ) from error
        raise Unavailable(f"{what}: the object storage does not answer; try again") from error


def was_answered(error: BaseException) -> bool:
    """Whether a removal that failed was answered so by the bucket: then it is not under way any
    more, as it may be after a broken connection. radosgw answers so when an upload of the same
    object comes in between, and all of them (503) when they are asked too often."""
    text = str(error.__cause__)
    return "request failed for key" in text or " 503 " in text


def _first_line(error: Exception) -> str:
    """The library appends its whole source of trouble, many lines of it."""
    return str(error).partition("\n")[0][:500]

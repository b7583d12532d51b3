"""One error tree: every failure a caller can meet, and how the outside hears of it.

    HeadwaterError
      BadRequest     your request is malformed          400   exit 2
      Unauthorized   who are you?                       401   exit 77
      Forbidden      you may not                        403   exit 77
      NotFound       it is not here (for you)           404   exit 3
      Conflict       it is here already                 409   exit 4
      Stale          it moved while you looked          412   exit 4
      TooLarge       over a stated limit                413   exit 2
      Unavailable    try again                          503   exit 75
      TooMany        you ask too often                  429   exit 75
      NoSpace        the disk is full, nothing saved    507   exit 74
      Corrupt        stored bytes no longer match       500   exit 65

`status` is the HTTP status, `code` is sent as `X-Error-Code` (append-only: clients pick their
exception by it), `exit` is the process exit code of a command. A message says what happened
and what to do. Raised where known; turned into a reply by `hub.replies`, into an exit code by
`cli.main`, and nowhere else.
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """Base of every failure that is not a bug."""

    status = 500
    code = "InternalError"
    exit = 70

    def __init__(self, message: str, *, extra: dict[str, object] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.extra = extra or {}  # merged into the JSON body, e.g. {"url": ...} of a 409
        self.headers: dict[str, str] = {}  # added to the reply, e.g. X-Repo-Commit


class BadRequest(HeadwaterError):
    """The request itself is wrong; the same request will fail again."""

    status = 400
    code = "BadRequest"
    exit = 2


class InvalidPath(BadRequest):
    """A path inside a repo that is refused, with the segment named."""

    code = "InvalidPath"


class PathCollision(BadRequest):
    """Two paths of one tree that a file system somewhere could not tell apart."""

    code = "PathCollision"


class InvalidName(BadRequest):
    """A repo, organisation, user or ref name that is refused."""

    code = "InvalidName"


class DigestMismatch(BadRequest):
    """The bytes that came do not have the hash or the size that was promised."""

    code = "DigestMismatch"


class Malformed(BadRequest):
    """Bytes that do not follow their format (xorb, shard, safetensors, front matter, NDJSON)."""

    code = "Malformed"


class Unprocessable(BadRequest):
    """Well-formed, but it asks for something that cannot be done."""

    status = 422
    code = "Unprocessable"


class OAuthError(BadRequest):
    """A step of a sign-in that gives no token (yet); `word` is one of RFC 6749 or RFC 8628."""

    code = "OAuthError"

    def __init__(self, message: str, word: str = "invalid_request") -> None:
        super().__init__(message)
        self.word = word


class Unauthorized(HeadwaterError):
    """No identity, or one that does not hold."""

    status = 401
    code = "Unauthorized"
    exit = 77


class Forbidden(HeadwaterError):
    """Known, and not allowed."""

    status = 403
    code = "Forbidden"
    exit = 77


class GatedRepo(Forbidden):
    """The page is public, the bytes are behind a request for access."""

    code = "GatedRepo"

    def __init__(self, message: str, *, page: str = "") -> None:
        super().__init__(message)
        self.page = page  # the path in the message: the hub puts its own address before it


class NotFound(HeadwaterError):
    """It is not here, or not for you: the two look the same."""

    status = 404
    code = "NotFound"
    exit = 3


class RepoNotFound(NotFound):
    """No such repo for this caller."""

    code = "RepoNotFound"


class RevisionNotFound(NotFound):
    """The repo is here; the branch, tag or commit is not."""

    code = "RevisionNotFound"


class EntryNotFound(NotFound):
    """The revision is here; the file is not."""

    code = "EntryNotFound"


class ContentGone(EntryNotFound):
    """The file is named here; its owners deleted its bytes for good."""

    status = 410


class Conflict(HeadwaterError):
    """It exists already, or another change is in the way."""

    status = 409
    code = "Conflict"
    exit = 4


class Stale(HeadwaterError):
    """The branch moved on since the caller looked."""

    status = 412
    code = "StaleParent"
    exit = 4


class TooLarge(HeadwaterError):
    """Over a stated limit."""

    status = 413
    code = "TooLarge"
    exit = 2


class RangeNotSatisfiable(HeadwaterError):
    """A byte range that begins past the end."""

    status = 416
    code = "RangeNotSatisfiable"
    exit = 2

    def __init__(self, message: str, *, size_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


class Unavailable(HeadwaterError):
    """Busy or restarting; the same request will work later."""

    status = 503
    code = "Unavailable"
    exit = 75
    retry_after_s = 2


class Moved(Unavailable):
    """Bytes that were being read have been replaced or deleted; asked again, what is there now
    answers."""


class TooMany(Unavailable):
    """Over a rate or a number that this caller gets; later it will work."""

    status = 429
    code = "TooManyRequests"
    retry_after_s = 60


class NoSpace(HeadwaterError):
    """The disk is full. 507 is not in the client's retry list, so a person hears of it."""

    status = 507
    code = "NoSpace"
    exit = 74


class Corrupt(HeadwaterError):
    """Stored bytes no longer match their name or checksum: never served, always reported."""

    status = 500
    code = "BlobCorrupt"
    exit = 65


class Refused(HeadwaterError):
    """The process will not start or go on: wrong store version, unsafe setting."""

    status = 500
    code = "Refused"
    exit = 2

"""Challenges: git and git-lfs offer a token only to a 401 that names a scheme.

CHALLENGE              the value of WWW-Authenticate
challenging(endpoint)  an endpoint whose 401 carries it, and whose errors git-lfs can read
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from starlette.requests import Request
from starlette.responses import Response

from headwater.errors import HeadwaterError
from headwater.hub.routing import Endpoint
from headwater.hub.templates import Params

CHALLENGE = 'Basic realm="Headwater"'


def challenging(endpoint: Callable[[Request, Params], Awaitable[Response]]) -> Endpoint:
    """git-lfs looks for `message` in the body, where our other clients look for `error`."""

    @wraps(endpoint)
    async def challenged(request: Request, params: Params) -> Response:
        try:
            return await endpoint(request, params)
        except HeadwaterError as error:
            error.extra.setdefault("message", error.message)
            if error.status == 401:
                error.headers["WWW-Authenticate"] = CHALLENGE
            raise

    return challenged

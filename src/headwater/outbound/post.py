"""One POST to a checked target: to its addresses alone, within a deadline, no redirects.

No proxy of the environment is used, no cookie kept, no certificate taken on trust. Of the reply
the status and Retry-After are kept; its body is read up to a limit and dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headwater.errors import Unavailable
from headwater.outbound.target import Target

if TYPE_CHECKING:
    import httpx

CONNECT_S = 5.0  # for each address
TOTAL_S = 10.0  # from the first connect to the last byte, however slowly they come
REPLY_BYTES_MAX = 64 * 2**10
RETRY_AFTER_CHARS_MAX = 10


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    retry_after_s: int | None  # when it was sent, in seconds


class Undelivered(Unavailable):
    """No reply came: the network, a certificate, or the time."""


def post(
    target: Target, body: bytes, headers: Mapping[str, str], total_s: float = TOTAL_S
) -> Reply:
    """Send `body`; the reply, whatever its status, or Undelivered. Blocks up to `total_s`."""
    return asyncio.run(_deadline(target, body, headers, total_s))


async def _deadline(
    target: Target, body: bytes, headers: Mapping[str, str], total_s: float
) -> Reply:
    try:
        async with asyncio.timeout(total_s):
            return await _any_address(target, body, headers)
    except TimeoutError:
        raise Undelivered(f"no whole reply within {total_s:g} seconds") from None


async def _any_address(target: Target, body: bytes, headers: Mapping[str, str]) -> Reply:
    """The first address that can be connected to; the body is sent to one only."""
    import httpx  # late: a tenth of a second that starting need not pay

    limits = httpx.Timeout(TOTAL_S, connect=CONNECT_S)
    last: Exception | None = None
    async with httpx.AsyncClient(
        timeout=limits, trust_env=False, follow_redirects=False, headers={}
    ) as client:
        for address in target.addresses:
            try:
                return await _send(client, target, address, body, headers)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                last = error
            except httpx.HTTPError as error:
                raise Undelivered(_said(error)) from None
    raise Undelivered(_said(last or OSError("no address"))) from None


async def _send(
    client: httpx.AsyncClient, target: Target, address: str, body: bytes, headers: Mapping[str, str]
) -> Reply:
    url = target.url
    host = f"[{address}]" if ":" in address else address
    request = client.build_request(
        "POST",
        f"{url.scheme}://{host}:{url.port}{url.target}",
        content=body,
        headers={
            **headers,
            "Host": url.host_header,
            "Accept-Encoding": "identity",
            "Connection": "close",
        },
        # The certificate must be the name's, not the address's.
        extensions={"sni_hostname": url.host},
    )
    reply = await client.send(request, stream=True)
    try:
        seen_bytes = 0
        async for piece in reply.aiter_raw():
            seen_bytes += len(piece)
            if seen_bytes >= REPLY_BYTES_MAX:
                break
    finally:
        await reply.aclose()
    return Reply(reply.status_code, _retry_after(reply.headers.get("retry-after", "")))


def _retry_after(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= RETRY_AFTER_CHARS_MAX:
        return int(text)
    return None


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]

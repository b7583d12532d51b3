"""A small page of the hub's own: HTML without script, with nothing from anywhere else.

The policy allows this module's style sheet by its hash and a form back to this hub, no more.
`Referrer-Policy: same-origin` and not `no-referrer`: with that, browsers send `Origin: null` with
a form. Whoever makes a body escapes what goes into it.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import Response

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}"
    "label{display:block;margin:1rem 0 .25rem}input{font:inherit;width:100%;padding:.4rem;"
    "box-sizing:border-box}button{font:inherit;margin:1.5rem .5rem 0 0;padding:.4rem 1rem}"
    ".problem{border-left:4px solid #b00;padding-left:.75rem}"
    ".text{white-space:pre-wrap;overflow-wrap:anywhere}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def plain_page(title: str, body: str, status: int = 200) -> Response:
    """`title` is text, `body` is HTML."""
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(html.encode(), status, _HEADERS)

"""Requests as bytes, most of them wrong: the raw cases of the fault list (3.9, B31, B32, B36).

`app` and `proxy` are the statuses that may answer, without and with nginx in front; 0 stands for no
answer at all, the connection closed. A case that hides a second request asks for /healthz in it, so
that an answer from there shows who was fooled.
"""

import gzip
from dataclasses import dataclass

HOST = b"Host: hub.example\r\n"
CARD = b'{"content":"---\\nlicense: mit\\n---\\n"}'
HIDDEN = b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n"
HIDDEN_MARK = b'{"status":"ok"}'
LIST = b"/api/models?limit=1"


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sent: bytes
    app: tuple[int, ...]
    proxy: tuple[int, ...]
    body: bytes | None = None  # what must stand in the answer's body, if it is 2xx


def get(*lines: bytes, target: bytes = LIST, version: bytes = b"1.1", host: bytes = HOST) -> bytes:
    head = b"GET %s HTTP/%s\r\n" % (target, version) + host
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    head = b"POST /api/validate-yaml HTTP/1.1\r\n" + HOST
    return head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def chunked(body: bytes, *lines: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", *lines, body=body)


CLOSE = b"Connection: close"
LENGTH = b"Content-Length: %d" % len(CARD)
WHOLE = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CARD), CARD)
BOMB = gzip.compress(bytes(64 * 2**20))
BAD = (400,)
REFUSED = (400, 414, 431)

CASES = (
    # Where one request ends
    Case("cl+te", post(b"Content-Length: 5", b"Transfer-Encoding: chunked",
                       body=b"0\r\n\r\n" + HIDDEN), BAD, BAD),
    Case("te+cl", post(b"Transfer-Encoding: chunked", b"Content-Length: 5",
                       body=b"0\r\n\r\n" + HIDDEN), BAD, BAD),
    Case("two equal lengths", post(LENGTH, LENGTH, body=CARD), BAD, BAD),
    Case("two lengths", post(b"Content-Length: 0", LENGTH, body=HIDDEN), BAD, BAD),
    Case("length list", post(b"Content-Length: 5, 5", body=b"abcde"), BAD, BAD),
    Case("length +5", post(b"Content-Length: +5", body=b"abcde"), BAD, BAD),
    Case("length -1", post(b"Content-Length: -1", body=b"abcde"), BAD, BAD),
    Case("length 0x5", post(b"Content-Length: 0x5", body=b"abcde"), BAD, BAD),
    Case("length over 64 bits", post(b"Content-Length: 99999999999999999999", body=b"a"), BAD, BAD),
    Case("space before the colon", post(b"Content-Length : 0", body=HIDDEN), BAD, (*BAD, 411)),
    Case("two codings", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked",
                             body=b"0\r\n\r\n" + HIDDEN), BAD, BAD),
    Case("coding gzip, chunked", post(b"Transfer-Encoding: gzip, chunked",
                                      body=b"0\r\n\r\n" + HIDDEN), BAD, (400, 501)),
    Case("coding xchunked", post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + HIDDEN),
         BAD, (400, 501)),
    Case("coding in http/1.0", b"POST /api/validate-yaml HTTP/1.0\r\n" + HOST
         + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN, BAD, BAD),
    Case("chunk not hex", chunked(b"ZZ\r\nabc\r\n0\r\n\r\n"), BAD, BAD),
    Case("chunk too long", chunked(b"3\r\nabcdef\r\n0\r\n\r\n"), BAD, BAD),
    Case("chunk over 64 bits", chunked(b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), BAD, BAD),
    Case("chunk extension of 200 KB", chunked(b"3;" + b"a" * 200_000 + b"\r\nabc\r\n0\r\n\r\n"),
         BAD, (200, *BAD)),
    Case("trailer with a length", chunked(WHOLE[:-2] + b"Content-Length: 9\r\n\r\n", CLOSE),
         BAD, (200, 400)),
    Case("trailer with rights", chunked(WHOLE[:-2] + b"Host: evil\r\nAuthorization: x\r\n\r\n",
                                        CLOSE), (200,), (200, 400)),
    Case("trailers of 1 MB", chunked(WHOLE[:-2] + b"A: b\r\n" * 170_000 + b"\r\n"),
         REFUSED, (200, *REFUSED)),
    Case("get with a body", get(b"Content-Length: %d" % len(HIDDEN), CLOSE) + HIDDEN,
         (200,), (200,)),
    # Lines
    Case("bare LF", get(CLOSE).replace(b"\r\n", b"\n"), BAD, (200, *BAD)),
    Case("bare LF hides a length", get(b"X: a\nContent-Length: %d" % len(HIDDEN)) + HIDDEN,
         BAD, (200, *BAD)),
    Case("bare CR", get(b"X: a\rContent-Length: 9", CLOSE), BAD, BAD),
    Case("folded header", get(b"X: a\r\n b", CLOSE), BAD, (200, *BAD)),
    Case("NUL in a header", get(b"X: a\0b", CLOSE), BAD, BAD),
    Case("NUL in the address", get(target=b"/\0"), BAD, BAD),
    Case("space in the address", get(target=b"/a b"), BAD, BAD),
    # Who is called
    Case("two hosts", get(host=HOST + b"Host: evil.example\r\n"), BAD, BAD),
    Case("no host", get(host=b""), BAD, BAD),
    Case("host with a path", get(host=b"Host: evil/..\r\n"), BAD, BAD),
    Case("host with a name", get(host=b"Host: a@evil\r\n"), BAD, BAD),
    Case("absolute form", get(target=b"http://evil.example" + LIST), BAD, BAD),
    Case("connect", b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", BAD, (400, 405)),
    Case("options *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", BAD, BAD),
    # Too much
    Case("one header of 64 KB", get(b"X: " + b"a" * 65536), (431,), REFUSED),
    Case("one header of 1 MB", get(b"X: " + b"a" * 2**20), (431,), REFUSED),
    Case("20,000 headers", get(*[b"X: a"] * 20_000), (431,), REFUSED),
    Case("address of 1 MB", get(target=b"/" + b"a" * 2**20), (414,), (400, 414)),
    Case("address of 12 KB", get(target=b"/" + b"a" * 12_000), BAD, BAD),
    Case("empty lines without end", b"\r\n" * 100_000, (431,), (0, *REFUSED)),
    Case("50 at once", get() * 50, (200,), (200,)),
    # Versions and methods
    Case("http/0.9", b"GET /api/models\r\n\r\n", BAD, (0, *BAD)),
    Case("http/1.0", get(version=b"1.0"), (200,), (200,)),
    Case("http/1.0 without host", get(version=b"1.0", host=b""), (200,), BAD),
    Case("http/1.2", get(CLOSE, version=b"1.2"), BAD, (200, *BAD)),
    Case("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD, (400, 505)),
    Case("method in small letters", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", BAD, BAD),
    Case("method override", post(LENGTH, CLOSE, b"X-HTTP-Method-Override: DELETE",
                                 b"X-Method-Override: DELETE", body=CARD), (200,), (200,)),
    Case("trace", b"TRACE /healthz HTTP/1.1\r\n" + HOST + b"\r\n", (405,), (405,)),
    Case("upgrade", get(b"Connection: Upgrade", b"Upgrade: websocket") + get(), (200,), (200,)),
    Case("upgrade with a body", post(LENGTH, b"Connection: Upgrade", b"Upgrade: h2c",
                                     body=CARD + get()), BAD, (200,)),
    Case("after close", get(CLOSE) + HIDDEN, (200,), (200,)),
    Case("expect nonsense", post(LENGTH, CLOSE, b"Expect: 200-ok", body=CARD), (200,), (200, 417)),
    Case("expect 100", post(LENGTH, CLOSE, b"Expect: 100-continue", body=CARD), (200,), (200,)),
    # Bodies
    Case("gzip bomb", post(b"Content-Length: %d" % len(BOMB), CLOSE, b"Content-Encoding: gzip",
                           body=BOMB), (415,), (415,)),
    Case("x-gzip, twice", post(LENGTH, CLOSE, b"Content-Encoding: gzip, x-gzip", body=CARD),
         (415,), (415,)),
    Case("chunked card", chunked(WHOLE, CLOSE), (200,), (200,)),
)  # fmt: skip

"""One POST: bounded in time and bytes, no redirects, no proxy, certificates by name."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.outbound.post import Undelivered, post
from headwater.outbound.target import Outbound, Target
from receiver import Receiver, Reply, receiver

OUTBOUND = Outbound.parse("127.0.0.1")


@pytest.fixture
def got() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def test_a_redirect_is_an_answer(got: Receiver) -> None:
    got.replies.append(Reply(302, {"Location": got.url}))
    assert post(OUTBOUND.resolve(got.url), b"", {}).status == 302
    assert got.connections == 1


def test_no_proxy_of_the_environment_is_asked(
    got: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(OUTBOUND.resolve(got.url), b"", {}).status == 200
        assert (proxy.connections, got.connections) == (0, 1)


@pytest.mark.parametrize("text", ["7", "0", "soon", "-1", "9" * 40, "1.5"])
def test_retry_after_is_a_number_of_seconds_or_nothing(got: Receiver, text: str) -> None:
    got.replies.append(Reply(503, {"Retry-After": text}))
    wanted = int(text) if text in ("7", "0") else None
    assert post(OUTBOUND.resolve(got.url), b"", {}).retry_after_s == wanted


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(Undelivered, match="Connect"):
        post(OUTBOUND.resolve(url), b"", {})


def test_the_second_address_is_tried_when_the_first_is_dead(got: Receiver) -> None:
    url = OUTBOUND.check(got.url)
    assert post(Target(url, ("127.0.0.9", "127.0.0.1")), b"x", {}).status == 200
    assert [one.body for one in got.requests] == [b"x"]


@pytest.mark.parametrize("drips", [b"H", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_receiver_that_drips_is_left_at_the_deadline(drips: bytes) -> None:
    """A byte now and then keeps every single read short; the whole is bounded all the same."""
    with server(lambda peer: drip(peer, drips)) as port:
        began = time.monotonic()
        with pytest.raises(Undelivered, match="within 1 seconds"):
            post(OUTBOUND.resolve(f"http://127.0.0.1:{port}/"), b"x", {}, 1.0)
        assert time.monotonic() - began < 5


def test_an_endless_reply_is_cut() -> None:
    """Its first 64 KiB are read and dropped; the status counts."""

    def pour(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            peer.sendall(bytes(65536))

    with server(pour) as port:
        assert post(OUTBOUND.resolve(f"http://127.0.0.1:{port}/"), b"x", {}).status == 200


def test_what_is_no_http_is_undelivered() -> None:
    with (
        server(lambda peer: peer.sendall(b"220 smtp.example ESMTP\r\n")) as port,
        pytest.raises(Undelivered),
    ):
        post(OUTBOUND.resolve(f"http://127.0.0.1:{port}/"), b"x", {})


def test_a_certificate_must_be_the_names(tmp_path: Path) -> None:
    """TLS to the checked address: SNI is the URL's host, and a self-signed certificate is none."""
    import datetime
    import ssl

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = tmp_path / "pem"
    pem.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[str] = []
    context.sni_callback = lambda _socket, host, _context: asked.append(host)

    def shake(peer: socket.socket) -> None:
        context.wrap_socket(peer, server_side=True)

    with server(shake) as port:
        url = OUTBOUND.check(f"https://hooks.example:{port}/")
        with pytest.raises(Undelivered, match=r"(?i)certificate"):
            post(Target(url, ("127.0.0.1",)), b"secret", {})
    assert asked == ["hooks.example"]


class server:
    """Hands the first connection to a function, in a thread; its errors end it."""

    def __init__(self, serve: object) -> None:
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            peer, _ = self.listener.accept()
            with peer:
                self.serve(peer)  # type: ignore[operator]
        except OSError:
            pass

    def __enter__(self) -> int:
        self.thread.start()
        return int(self.listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        self.thread.join(10)


def drip(peer: socket.socket, first: bytes) -> None:
    peer.recv(65536)
    peer.sendall(first)
    while True:
        time.sleep(0.1)
        peer.sendall(b"a")

"""What may be attached: by allowlist, and by the first bytes. A page under a picture's name is
refused, whatever it says it is."""

import pytest

from headwater.errors import BadRequest
from headwater.formats.media_types import ENDINGS, checked_media

HEADS = {
    "image/png": b"\x89PNG\r\n\x1a\n....",
    "image/jpeg": b"\xff\xd8\xff\xe0....",
    "image/gif": b"GIF89a......",
    "image/webp": b"RIFF....WEBP",
    "video/mp4": b"....ftypisom",
    "video/quicktime": b"....ftypqt  ",
    "video/webm": b"\x1a\x45\xdf\xa3....",
    "audio/mpeg": b"\xff\xfb\x90....",
    "audio/wav": b"RIFF....WAVE",
}


def test_every_type_of_the_list_is_known_by_its_head_and_by_no_other() -> None:
    assert HEADS.keys() == ENDINGS.keys()
    for kind in ENDINGS:
        taken = []
        for name, head in HEADS.items():
            try:
                taken.append((name, checked_media(f"{kind.upper()}; charset=x", head)))
            except BadRequest:
                continue
        one_format = {"video/mp4", "video/quicktime"}  # MP4 was made of QuickTime
        allowed = one_format if kind in one_format else {kind}
        assert kind in [name for name, _ in taken]
        assert {name for name, _ in taken} <= allowed
        assert {what for _, what in taken} == {(kind, ENDINGS[kind])}


@pytest.mark.parametrize(
    "kind", ["image/svg+xml", "text/html", "application/pdf", "", "image/x-icon", "text/png"]
)
def test_what_a_browser_would_run_is_not_on_the_list(kind: str) -> None:
    for head in (*HEADS.values(), b"<svg onload=alert(1)>", b""):
        with pytest.raises(BadRequest):
            checked_media(kind, head)


@pytest.mark.parametrize("kind", sorted(ENDINGS))
def test_a_page_under_a_pictures_name_is_refused(kind: str) -> None:
    for head in (b"<!DOCTYPE html>", b"<svg xmlns=", b"%PDF-1.7\n%..", b"", b"\xff", b"MZ\x90\0"):
        with pytest.raises(BadRequest):
            checked_media(kind, head)

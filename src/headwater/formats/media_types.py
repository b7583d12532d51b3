"""Pictures, clips and sounds that a comment may show: by allowlist, and by their first bytes.

    checked_media(content_type, head) -> ending of its file name, or BadRequest

What a browser would run (SVG, HTML) is not on the list, and a file that is something else than
it says is refused, so that no page of a stranger is ever served under a picture's name.
"""

from __future__ import annotations

from headwater.errors import BadRequest
from headwater.names import shown

HEAD_BYTES = 12  # as many as the longest mark takes

# What clients of Hugging Face's hub offer, each with the ending of its name.
ENDINGS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
}


def checked_media(content_type: str, head: bytes) -> tuple[str, str]:
    """(the plain content type, the ending of the file's name); BadRequest when it is not allowed
    or when `head`, the file's first bytes, is of something else."""
    plain = content_type.partition(";")[0].strip().lower()
    ending = ENDINGS.get(plain)
    if ending is None:
        raise BadRequest(
            f"Content-Type {shown(content_type)} cannot be attached; send one of "
            f"{', '.join(ENDINGS)}"
        )
    if not _is(ending, head):
        raise BadRequest(f"this file does not begin as {plain} does")
    return plain, ending


def _is(ending: str, head: bytes) -> bool:
    match ending:
        case "png":
            return head.startswith(b"\x89PNG\r\n\x1a\n")
        case "jpg":
            return head.startswith(b"\xff\xd8\xff")
        case "gif":
            return head.startswith((b"GIF87a", b"GIF89a"))
        case "webp":
            return head.startswith(b"RIFF") and head[8:12] == b"WEBP"
        case "wav":
            return head.startswith(b"RIFF") and head[8:12] == b"WAVE"
        case "mp4":
            return head[4:8] == b"ftyp"
        case "mov":  # older cameras write the frames first, and no `ftyp` at all
            return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
        case "webm":
            return head.startswith(b"\x1a\x45\xdf\xa3")
        case _:  # mp3: a tag, or the sync word of a frame of layer III
            return head.startswith(b"ID3") or (
                head[:1] == b"\xff" and head[1:2] != b"" and head[1] & 0xE6 == 0xE2
            )

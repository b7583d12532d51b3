"""Settings: every choice an operator has, with a default that needs none of them made.

    defaults  <  headwater.toml in the data folder  <  HEADWATER_… environment  <  command line

One flat frozen struct; a name that is not a field is refused, so a typo is an error and not a
silently ignored wish. `docs/operations.md` has a heading for every field (a test compares).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headwater.errors import Refused

ENV_PREFIX = "HEADWATER_"
FILE_NAME = "headwater.toml"


def default_data() -> Path:
    """Where the data folder lies when nobody says: the XDG data home."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "headwater"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them. Sizes in bytes, times in seconds."""

    data: Path = msgspec.field(default_factory=default_data)
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    database_url: str = ""  # empty: SQLite in the data folder
    store_url: str = ""  # empty: blobs lie in the data folder; else a bucket, s3://bucket/prefix
    public_url: str = ""  # empty: replies use the host that the client called
    trusted_proxies: str = "127.0.0.1,::1"  # peers whose X-Forwarded-* headers are believed
    log_level: str = "info"
    file_bytes_max: int = 2 * 2**40  # refuse a declared size nobody means
    regular_bytes_max: int = 10 * 10**6  # larger files go to LFS or Xet (Hugging Face's rule)
    commit_bytes_max: int = 1 * 2**30  # one commit body, inline files included
    xet: bool = True  # offer Xet downloads; uploads by Xet are the client's choice
    xet_grants: bool = False  # upload grants: two more requests a xorb; see docs/protocol.md
    xet_token_ttl_s: int = 3600
    url_ttl_s: int = 300  # signed data URLs: one object, one verb, five minutes
    upload_ttl_s: int = 24 * 3600  # how long uploaded bytes may wait for their commit
    lfs_multipart_bytes_min: int = 64 * 2**20
    lfs_part_bytes: int = 16 * 2**20
    gc_grace_s: int = 28 * 24 * 3600  # clients dedup against a local cache for three weeks
    metrics_loopback: bool = False  # may /metrics be read from this machine without a token
    anonymous_read: bool = True  # may the public repos be read without a token
    outbound_allow: str = ""  # hosts and networks that users' URLs may lead to, beside public ones
    job_threads: int = 4  # background jobs at once in each process; 0: none here
    lineage: bool = True  # find out from the weights that come which models they were made from
    pack_small_after_s: int = 30 * 24 * 3600  # unasked for so long: smallest forms; -1: never
    pack_after_s: int = 900  # how long after its upload a file is packed; -1: never by itself
    hot_bytes_max: int = 8 * 2**30  # decoded copies of packed files that are read often
    webhook_retry_s: float = 15.0  # before the second attempt; later ones wait longer
    webhook_give_up_s: int = 3 * 24 * 3600  # a webhook that fails this long is switched off

    @property
    def catalog_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'catalog.sqlite'}"

    @property
    def jobs_url(self) -> str:
        """PostgreSQL serves both, in schemas of their own; of SQLite each has a file."""
        on_server = self.database_url and not self.database_url.startswith("sqlite")
        return self.database_url if on_server else f"sqlite:///{self.data / 'jobs.sqlite'}"


def _path(type: type, value: Any) -> Any:
    if type is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no setting is a {type.__name__}")


def load(
    overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from file, environment and `overrides` (None values mean: not given)."""
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    env = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(ENV_PREFIX) and not name.startswith(ENV_PREFIX + "TEST_")
    }
    data = Path(given.get("data") or env.get("data") or default_data()).expanduser().absolute()
    file = data / FILE_NAME
    values: dict[str, Any] = {}
    if file.is_file():
        try:
            values.update(tomllib.loads(file.read_text("utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise Refused(f"{FILE_NAME} in the data folder cannot be read: {error}") from None
    values.update(env)
    values.update(given)
    values["data"] = str(data)
    try:
        settings = msgspec.convert(values, Settings, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise Refused(f"a setting is wrong: {error}") from None
    if not 0 < settings.workers <= 64:
        raise Refused(f"workers must be 1 to 64, not {settings.workers}")
    if not 0 <= settings.job_threads <= 64:
        raise Refused(f"job_threads must be 0 to 64, not {settings.job_threads}")
    if settings.pack_small_after_s < -1:
        raise Refused("pack_small_after_s must be 0 or more, or -1")
    if settings.pack_after_s < -1:
        raise Refused(f"pack_after_s must be 0 or more, or -1, not {settings.pack_after_s}")
    if settings.hot_bytes_max < 0:
        raise Refused(f"hot_bytes_max cannot be negative: {settings.hot_bytes_max}")
    return settings

"""`headwater token`: made once, shown once."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from headwater.catalog.actors import TOKEN_ROLES, Scope, TokenRole
from headwater.catalog.clock import iso, now_ms
from headwater.cli.common import Data, opened
from headwater.errors import BadRequest
from headwater.names import REPO_TYPES

app = typer.Typer(help="Access tokens.", no_args_is_help=True)
DAY_MS = 86_400_000


def parse_scope(text: str) -> Scope:
    """`TYPE:NAME=permission+permission`, e.g. `model:lab/m=repo.content.read+repo.write`."""
    where, equals, permissions = text.partition("=")
    type, colon, name = where.partition(":")
    if not equals or not colon or type not in ("user", "org", *REPO_TYPES):
        raise BadRequest(
            f"scope {text!r}: write TYPE:NAME=PERMISSION+PERMISSION, for example "
            "model:lab/m=repo.content.read"
        )
    return Scope(type, name, tuple(permissions.split("+")))  # type: ignore[arg-type]


@app.command("create")
def create(
    user: str,
    name: Annotated[str, typer.Option(help="To know it by, e.g. laptop.")] = "default",
    role: Annotated[str, typer.Option(help=f"One of {', '.join(TOKEN_ROLES)}.")] = "read",
    scope: Annotated[
        list[str] | None, typer.Option(help="For fineGrained: TYPE:NAME=PERMISSION+…")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Days until it ends.")] = None,
    data: Data = None,
) -> None:
    """Make a token and print it, this once, alone on a line."""
    with opened(data) as floors:
        print(
            floors.catalog.tokens.create(
                user,
                name,
                cast(TokenRole, role),
                scopes=tuple(parse_scope(text) for text in scope or ()),
                expires_ms=None if days is None else now_ms() + days * DAY_MS,
            )
        )


@app.command("list")
def list_(user: str, data: Data = None) -> None:
    """A user's tokens: name, role, when made, whether it still opens anything."""
    with opened(data) as floors:
        for token in floors.catalog.tokens.list(user):
            ended = token.expires_ms is not None and token.expires_ms <= now_ms()
            state = "revoked" if token.revoked_ms else "expired" if ended else "valid"
            print(f"{token.name}\t{token.role}\t{iso(token.created_ms)}\t{state}")


@app.command("revoke")
def revoke(user: str, name: str, data: Data = None) -> None:
    """End a token now."""
    with opened(data) as floors:
        floors.catalog.tokens.revoke(user, name)
    print(f"token {name} of {user} revoked")

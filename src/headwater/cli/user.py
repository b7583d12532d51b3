"""`headwater user`: who may sign in."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.cli.common import Data, opened

app = typer.Typer(help="Users of the hub.", no_args_is_help=True)


@app.command("add")
def add(
    name: str,
    fullname: Annotated[str, typer.Option(help="Shown beside the name.")] = "",
    email: Annotated[str | None, typer.Option()] = None,
    admin: Annotated[bool, typer.Option(help="May do everything on this hub.")] = False,
    data: Data = None,
) -> None:
    """Make a user. Give them a token with `headwater token create`."""
    with opened(data) as floors:
        made = floors.catalog.accounts.create(
            name, "user", fullname=fullname, email=email, is_admin=admin
        )
    print(f"user {made.name} made")


@app.command("list")
def list_(data: Data = None) -> None:
    """All users, one a line."""
    with opened(data) as floors:
        for user in floors.catalog.accounts.list("user"):
            print(f"{user.name}\t{'admin' if user.is_admin else 'user'}\t{user.fullname}")


@app.command("delete")
def delete(name: str, data: Data = None) -> None:
    """Remove a user who owns no repos. The name is never given out again."""
    with opened(data) as floors:
        floors.catalog.accounts.delete(name)
    print(f"user {name} deleted")

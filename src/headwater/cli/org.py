"""`headwater org`: organisations and who belongs to them."""

from __future__ import annotations

from typing import Annotated

import typer

from headwater.catalog.actors import ORG_ROLES, OrgRole
from headwater.cli.common import Data, opened
from headwater.errors import BadRequest

app = typer.Typer(help="Organisations and their members.", no_args_is_help=True)


def _role(text: str) -> OrgRole:
    if text not in ORG_ROLES:
        raise BadRequest(f"role {text} is not one of {', '.join(ORG_ROLES)}")
    return text


@app.command("add")
def add(
    name: str,
    owner: Annotated[str, typer.Option(help="The user who becomes its first admin.")],
    fullname: Annotated[str, typer.Option(help="Shown beside the name.")] = "",
    private_by_default: Annotated[
        bool, typer.Option(help="New repos are private when their maker does not say.")
    ] = False,
    data: Data = None,
) -> None:
    """Make an organisation."""
    with opened(data) as floors:
        floors.catalog.accounts.find(owner)
        made = floors.catalog.accounts.create(
            name, "org", fullname=fullname, repos_private=private_by_default
        )
        floors.catalog.accounts.set_role(made.name, owner, "admin")
    print(f"organisation {made.name} made; {owner} is its admin")


@app.command("set")
def set_(
    name: str,
    private_by_default: Annotated[
        bool, typer.Option(help="Whether new repos are private when their maker does not say.")
    ],
    data: Data = None,
) -> None:
    """Change the settings of an organisation."""
    with opened(data) as floors:
        org = floors.catalog.accounts.set_repos_private(name, private_by_default)
    print(f"new repos of {org.name} are {'private' if org.repos_private else 'public'} by default")


@app.command("list")
def list_(data: Data = None) -> None:
    """All organisations, one a line."""
    with opened(data) as floors:
        for org in floors.catalog.accounts.list("org"):
            print(f"{org.name}\t{org.fullname}")


@app.command("member")
def member(
    org: str,
    user: str,
    role: Annotated[str, typer.Option(help=f"One of {', '.join(ORG_ROLES)}.")] = "read",
    remove: Annotated[bool, typer.Option(help="Take the user out instead.")] = False,
    data: Data = None,
) -> None:
    """Give a user a role in an organisation, or take them out."""
    with opened(data) as floors:
        floors.catalog.accounts.set_role(org, user, None if remove else _role(role))
    print(f"{user} is no longer in {org}" if remove else f"{user} is {role} in {org}")


@app.command("members")
def members(org: str, data: Data = None) -> None:
    """Members and their roles, one a line."""
    with opened(data) as floors:
        for name, role in floors.catalog.accounts.members(org):
            print(f"{name}\t{role}")


@app.command("delete")
def delete(name: str, data: Data = None) -> None:
    """Remove an organisation that owns no repos. The name is never given out again."""
    with opened(data) as floors:
        floors.catalog.accounts.delete(name)
    print(f"organisation {name} deleted")

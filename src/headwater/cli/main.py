"""`headwater`: the commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import sys

import typer

from headwater import __version__
from headwater.cli import bundles, check, gc, lineage, org, pack, serve, stats, token, user, worker
from headwater.errors import HeadwaterError

app = typer.Typer(
    name="headwater",
    help="A self-hosted hub for AI model weights that speaks the Hugging Face protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("check")(check.check)
app.command("gc")(gc.gc)
app.command("export")(bundles.export)
app.command("import")(bundles.import_)
app.command("pack")(pack.pack)
app.command("unpack")(pack.unpack)
app.command("stats")(stats.stats)
app.add_typer(lineage.app, name="lineage")
app.add_typer(user.app, name="user")
app.add_typer(org.app, name="org")
app.add_typer(token.app, name="token")


@app.command("version")
def version() -> None:
    """Print the version."""
    print(__version__)


def run() -> None:
    """Entry point: a failure is one line on stderr and the exit code of its class."""
    try:
        app()
    except HeadwaterError as error:
        print(f"headwater: {error.message}", file=sys.stderr)
        sys.exit(error.exit)

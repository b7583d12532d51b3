"""The page on which a sign-in is approved: a form, and what became of it."""

from __future__ import annotations

from html import escape

from starlette.responses import Response

from headwater.hub.plain_page import plain_page
from headwater.names import shown

CODE_CHARS_MAX = 20  # of a code that is shown again in its field


def form_page(code: str, *, problem: str = "", status: int = 200) -> Response:
    """The form, with the code that the terminal put into the address."""
    said = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    value = escape(code[:CODE_CHARS_MAX], quote=True)
    return plain_page(
        "Sign in on a terminal",
        f"""{said}<p>A program on one of your machines shows a code and waits. Approve only if
<strong>you started it yourself, just now</strong>: whoever started it can then do on this hub
whatever you can.</p>
<form method="post" action="verify">
<label for="code">The code that your terminal shows</label>
<input id="code" name="user_code" value="{value}" required maxlength="20" autocomplete="off"
 autocapitalize="characters" spellcheck="false">
<label for="token">An access token of yours, with the role &#x2018;write&#x2019;</label>
<input id="token" name="token" type="password" required maxlength="100" autocomplete="off">
<button name="decision" value="approve">Approve</button>
<button name="decision" value="deny">Deny</button>
</form>""",
        status,
    )


def told_page(approved: bool, client: str) -> Response:
    """What was decided, in one sentence."""
    if approved:
        text = f"Approved. The program ({escape(shown(client))}) goes on by itself in some seconds."
    else:
        text = "Denied. The program was told so; nothing was given to it."
    return plain_page("Done", f"<p>{text} You can close this page.</p>")

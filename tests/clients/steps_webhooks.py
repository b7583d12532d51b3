"""Steps about webhooks: made, listed, changed, switched and deleted with the client's own calls."""

from __future__ import annotations

from typing import Any

from huggingface_hub.errors import HfHubHTTPError
from stepkit import Context, Facts, refused, step

URL = "https://203-0-113-9.example.org/hook"  # nobody; the hub looks it up and finds nothing


def seen(webhook: Any) -> tuple[Any, ...]:
    watched = sorted((item.type, item.name) for item in webhook.watched)
    return webhook.url, watched, sorted(webhook.domains), webhook.secret, webhook.disabled


@step
def webhooks(context: Context) -> Facts:
    """The whole life of one, and another user's view of it: none."""
    api = context.api
    if not hasattr(api, "create_webhook"):
        return {"skipped": "this release has no webhooks"}
    model = context.repo("basic")
    watched: list[Any] = [{"type": "user", "name": context.user}, {"type": "model", "name": model}]
    pairs = sorted((item["type"], item["name"]) for item in watched)
    made = api.create_webhook(url=URL, watched=watched, domains=["repo", "discussion"], secret="s3")
    assert seen(made) == (URL, pairs, ["discussion", "repo"], "s3", False), made
    assert seen(api.get_webhook(made.id)) == seen(made)
    assert made.id in [one.id for one in api.list_webhooks()]
    changed = api.update_webhook(
        made.id, url=URL + "2", watched=watched[:1], domains=["repo"], secret="s4"
    )
    assert seen(changed) == (URL + "2", pairs[1:], ["repo"], "s4", False), changed
    assert api.disable_webhook(made.id).disabled is True
    assert api.enable_webhook(made.id).disabled is False
    for url in ("http://127.0.0.1:1/", "http://0x7f.1/", "ftp://example.org/", "http://a:b@x.org/"):
        refused(HfHubHTTPError, api.create_webhook, status=400, url=url, watched=watched)
        refused(HfHubHTTPError, api.update_webhook, made.id, status=400, url=url, watched=watched)
    stranger = context.other(context.stranger)
    for call in ("get_webhook", "enable_webhook", "disable_webhook", "delete_webhook"):
        refused(HfHubHTTPError, getattr(stranger, call), made.id, status=404)
    assert made.id not in [one.id for one in stranger.list_webhooks()]
    api.delete_webhook(made.id)
    refused(HfHubHTTPError, api.get_webhook, made.id, status=404)
    return {}

"""Telling webhooks: events become deliveries, deliveries become jobs, jobs become POSTs.

    tick()    often, in every process: dispatch events, enqueue a job where something is due

What waits and when it is due stands in the catalog; a job is only the turn of one webhook. Its id
names the delivery and the attempt that it begins with, so that ticks of many processes make one
job; a lane for each webhook keeps its deliveries in order. If the jobs' database were lost, the
next tick would make them anew.
"""

from __future__ import annotations

import hmac
import logging
import random
import time
from collections import OrderedDict
from typing import Any

from headwater import __version__
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.deliveries import Outcome, Ready
from headwater.errors import BadRequest, HeadwaterError, Unavailable
from headwater.jobs.jobs import Jobs, Kind, Run
from headwater.outbound.post import Reply, post
from headwater.outbound.target import Outbound
from headwater.settings import Settings

log = logging.getLogger(__name__)

KIND = "webhook.turn"
TURN_DELIVERIES = 50  # in one job; then others get their turn
TURN_S = 20.0  # the same for a receiver that is slow
ATTEMPTS_MAX = 9  # of one delivery: with the default delays a good four hours
RETRY_FACTOR = 4.0
RETRY_MAX_S = 3600.0  # between two attempts
RETRY_AFTER_MAX_S = 24 * 3600  # that a receiver may ask for
JITTER = 0.2
RETRY_STATUSES = frozenset({408, 425, 429})  # and all from 500 on
ANEW_S = 3600  # a turn that was lost with its job is made again
KNOWN_MAX = 10_000  # ids that this process need not enqueue again


class WebhookWork:
    def __init__(
        self, settings: Settings, catalog: Catalog, jobs: Jobs, outbound: Outbound
    ) -> None:
        self.settings = settings
        self.catalog = catalog
        self.jobs = jobs
        self.outbound = outbound
        self._known: OrderedDict[str, None] = OrderedDict()
        jobs.register(Kind(KIND, self._turn, attempts_max=1))

    def tick(self) -> None:
        """One look at what waits."""
        while self.catalog.outbox.dispatch():
            pass
        for webhook_id, delivery_id, attempts in self.catalog.deliveries.due():
            anew = now_ms() // 1000 // ANEW_S
            id = f"webhook-{webhook_id}-{delivery_id}-{attempts}-{anew}"
            if id in self._known:
                continue
            self.jobs.enqueue(KIND, id, {"webhook": webhook_id}, lane=f"webhook-{webhook_id}")
            self._known[id] = None
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)

    def _turn(self, run: Run, arg: dict[str, Any]) -> int:
        """Send what is due for one webhook, the oldest first; how many were settled."""
        until = time.monotonic() + TURN_S
        for done in range(TURN_DELIVERIES):
            if time.monotonic() > until:
                return done
            ready = self.catalog.deliveries.next(arg["webhook"], self.settings.public_url)
            if ready is None:
                return done
            outcome = self._attempt(ready)
            self.catalog.deliveries.settle(ready, outcome, self.settings.webhook_give_up_s)
            if outcome.again_ms is not None:
                return done
        return TURN_DELIVERIES

    def _attempt(self, ready: Ready) -> Outcome:
        if ready.webhook.secret is None:
            return Outcome(False, error="its secret does not open any more; set it anew")
        try:
            target = self.outbound.resolve(ready.webhook.url)
            reply = post(target, ready.body, headers_of(ready))
        except BadRequest as error:
            return Outcome(False, error=error.message)
        except Unavailable as error:
            return self._later(ready, None, error.message)
        except (HeadwaterError, OSError, ValueError) as error:
            log.warning("delivery %s: %s", ready.hub_id, error)
            return self._later(ready, None, f"{type(error).__name__}: {error}")
        return self._judged(ready, reply)

    def _judged(self, ready: Ready, reply: Reply) -> Outcome:
        if 200 <= reply.status < 300:
            return Outcome(True, reply.status)
        if 300 <= reply.status < 400:
            why = f"answered {reply.status}: redirects are not followed; give the final URL"
            return Outcome(False, reply.status, why)
        why = f"answered {reply.status}"
        if reply.status in RETRY_STATUSES or reply.status >= 500:
            return self._later(ready, reply.status, why, reply.retry_after_s)
        return Outcome(False, reply.status, why)

    def _later(
        self, ready: Ready, status: int | None, why: str, retry_after_s: int | None = None
    ) -> Outcome:
        made = ready.attempts + 1
        if made >= ATTEMPTS_MAX:
            return Outcome(False, status, f"{why}; given up after {made} attempts")
        delay_s = min(self.settings.webhook_retry_s * RETRY_FACTOR ** (made - 1), RETRY_MAX_S)
        delay_s *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  (no secret)
        if retry_after_s is not None:
            delay_s = max(delay_s, min(retry_after_s, RETRY_AFTER_MAX_S))
        return Outcome(False, status, why, now_ms() + int(delay_s * 1000))


def headers_of(ready: Ready) -> dict[str, str]:
    """What goes with the body: the secret as Hugging Face sends it, and a signature beside it."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Headwater/{__version__} (webhooks)",
        "X-Headwater-Delivery": ready.hub_id,
    }
    if secret := ready.webhook.secret:
        headers["X-Webhook-Secret"] = secret
        signature = hmac.new(secret.encode(), ready.body, "sha256").hexdigest()
        headers["X-Headwater-Signature"] = f"sha256={signature}"
    return headers

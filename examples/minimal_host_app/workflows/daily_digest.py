"""Every working day, the finance team reads how the invoices stand.

Shows two triggers, one of them cron, and another way to be safe against
repetition: a key that the business has anyway. However many runs are asked for
a day, by the clock or by hand, there is one digest of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from marshmallow import fields
from sqlalchemy import func, select

from flask_squidmesh import Retry, StepContext, Workflow, complete, cron, fixed, log, manual, step
from minimal_host_app.extensions import db
from minimal_host_app.models import Digest, Invoice


def choose_day(context: StepContext, day: str | None = None) -> dict[str, str]:
    """Say which day it is about: the one asked for, or that of the cron window."""
    if context.schedule is None:
        return {"day": str(day)}
    # A run that starts late is still about its own day.
    window = datetime.fromisoformat(context.schedule["window_start"])
    local = window.astimezone(ZoneInfo(context.schedule["timezone"]))
    return {"day": local.date().isoformat()}


def count_invoices() -> dict[str, int]:
    counted = select(Invoice.status, func.count().label("invoices")).group_by(Invoice.status)
    return {row.status: row.invoices for row in db.session.execute(counted)}


def write_digest(day: str, invoices: Mapping[str, int]) -> dict[str, int]:
    about = date.fromisoformat(day)
    digest = db.session.scalar(select(Digest).where(Digest.day == about))
    if digest is None:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(invoices.items()))
        digest = Digest(day=about, text=f"Invoices on {day}: {counts or 'none'}")
        db.session.add(digest)
        # Two runs may come here at once. One is refused by the database; it is
        # tried again, and finds the digest of the other.
        db.session.flush()
    return {"digest_id": digest.id}


class DailyDigest(Workflow):
    """Sum up the invoices for the finance team."""

    by_hand = manual(day=fields.Date(required=True))
    every_working_day = cron("0 9 * * 1-5", timezone="Europe/Paris")

    choose_day = step(choose_day)
    count_invoices = step(count_invoices, output="invoices")
    write_digest = step(write_digest, retry=Retry(max_attempts=5, backoff=fixed(0.2)))
    announce = log("The digest is written")

    transitions = [choose_day >> count_invoices >> write_digest >> announce >> complete]

"""Write down what is handed out. Nothing is handed out when it cannot be written down."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from teiten.accounts.models import User
from teiten.custody import metrics
from teiten.custody.models import Channel, Disclosure, DisclosureEnd
from teiten.custody.payload import active_reason
from teiten.search import url
from teiten.search.recording import Disclosed


@dataclass(frozen=True)
class Recipient:
    """Who gets it, by which way."""

    user: User
    channel: Channel


def record(
    recipient: Recipient,
    disclosed: Disclosed,
    *,
    tlp: str,
    at: datetime,
    sha256: str = "",
    is_file: bool = False,
) -> Disclosure:
    """Append one disclosure; of a file before its first byte. A relative period is written as the one that it was."""
    query = replace(disclosed.query, period="custom")
    row = Disclosure.objects.create(
        at=at,
        user=recipient.user,
        organisation_id=recipient.user.organisation_id,
        channel=recipient.channel,
        call=disclosed.call,
        query=url.encode_string(query),
        dataset=disclosed.query.dataset,
        start_at=disclosed.query.start,
        end_at=disclosed.query.end,
        level=disclosed.level,
        tlp=tlp,
        rows=disclosed.rows,
        sha256=sha256,
        source=disclosed.source,
        sensors=list(disclosed.sensors),
        payload_reason=active_reason(recipient.user, at) if disclosed.has_payload else None,
        is_file=is_file,
    )
    metrics.DISCLOSURES.labels(recipient.channel, disclosed.level).inc()
    return row


def record_end(disclosure_id: int, *, at: datetime, is_whole: bool, byte_count: int, sha256: str) -> None:
    """Append how a file ended; once."""
    DisclosureEnd.objects.create(
        disclosure_id=disclosure_id, at=at, is_whole=is_whole, byte_count=byte_count, sha256=sha256
    )

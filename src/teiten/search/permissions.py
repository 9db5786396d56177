"""What each column of a packet needs before it is shown or asked by: closed unless listed open.

A member gets what is useful to share and what still holds when many sensors saw the
same. Closed are columns that state the destination or follow from it (Mirai's sequence
number *is* the destination, Masscan's IP id and sequence narrow it, ICMP quotes and
payloads hold it, the hash of a quote can be searched by trying every address), that
tell one sensor from another, and every value by which a sender could recognise a
packet of their own. A column that nobody thought of is closed.
"""

from __future__ import annotations

from teiten.search.visibility import Permission
from teiten.traffic.columns import COLUMNS

#: Shown to members, where enough sensors saw the same; ``observed_at`` as the hour.
OPEN = (
    "dataset", "region", "answering", "observed_at", "ip_version", "src_addr", "protocol", "dst_port", "nature",
    "validity", "probe", "hints", "tcp_fp", "country", "asn", "survey", "actor",
)  # fmt: skip
_DESTINATION = ("dst_addr", "tcp_seq", "tcp_ack", "ip_id", "payload_hash")
_PAYLOAD = ("payload",)
_SENSOR = ("sensor", "epoch", "batch_seq", "row", "landed_at", "vlan")

#: Column → permission, for every column of a packet.
PERMISSIONS: dict[str, Permission] = {
    **{column.name: "marker" for column in COLUMNS},
    **dict.fromkeys(OPEN, "open"),
    **dict.fromkeys(_DESTINATION, "destination"),
    **dict.fromkeys(_PAYLOAD, "payload"),
    **dict.fromkeys(_SENSOR, "sensor"),
}
#: What showing it would tell, for messages.
WORDS: dict[Permission, str] = {
    "open": "nothing",
    "sensor": "which sensor saw a packet",
    "destination": "where a sensor stands",
    "payload": "what a payload holds",
    "marker": "which sensors a marked packet reached",
}

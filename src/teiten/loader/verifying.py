"""Decide whether a batch may be believed: who sealed it, what it says, and whether the two fit.

Pure: bytes, the ledger's entry and the sensor's placement in, a batch or a reason out.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from teiten.landing.blocks import Member
from teiten.loader.config import LoaderConfig
from teiten.loader.doors import AddressPeriod, Placement
from teiten.loader.errors import Unbelievable
from teiten.protocol import batch, keys, seal
from teiten.protocol.batch import Batch, DecodeLimits
from teiten.protocol.errors import BatchError, MessageError, SealError
from teiten.protocol.header import BatchHeader, Watched
from teiten.protocol.header_text import MAX_EXAMPLE_BYTES
from teiten.traffic.access import get_numbers, get_strings

#: A shorter IPv4 prefix cannot be what one sensor watches.
SHORTEST_IPV4 = 8
_SECOND_US = 1_000_000
_DAY_US = 86_400 * _SECOND_US


@dataclass(frozen=True)
class Verified:
    """A batch that may be believed, and where its sensor stood."""

    member: Member
    batch: Batch
    region: str
    #: Public addresses of the sensor, the best known first.
    periods: Sequence[AddressPeriod] = ()
    #: Revision in which region or public addresses changed last.
    revision: int = 0


def verify(member: Member, body: bytes, placement: Placement | None, *, config: LoaderConfig) -> Verified:
    """Verify one landed batch.

    Raises:
        Unbelievable: with the code and the rule that it breaks.
    """
    known = _check_sensor(member, placement)
    _check_seal(member, known)
    try:
        unpacked = batch.decode(body, limits_of(config))
    except BatchError as error:
        raise Unbelievable(error.code, str(error)) from error
    try:
        _check_statement(member, unpacked.header, known, config=config)
        _check_examples(unpacked)
    except Unbelievable as error:
        error.header = unpacked.header
        raise
    return Verified(
        member,
        unpacked,
        known.region_at(unpacked.header.window_start_us),
        known.public_periods,
        known.revision,
    )


def limits_of(config: LoaderConfig) -> DecodeLimits:
    """Give how much one batch may make us unpack."""
    return DecodeLimits(max_bytes=config.batch_bytes, max_rows=config.batch_rows)


def _check_statement(
    member: Member, header: BatchHeader, placement: Placement, *, config: LoaderConfig
) -> None:
    _check_claims(member, header)
    _check_dataset(placement, header)
    _check_window(member, header, config)
    problem = find_watched_problem(header.watched)
    if problem is not None:
        raise Unbelievable(*problem)


def _check_examples(unpacked: Batch) -> None:
    """Check that an example has the hash that its packet states.

    That it begins with what the packet keeps and is no longer than the packet's payload
    was checked when the batch was read. The hash covers what was captured, which is at
    least what is kept and at most the whole: how much, no batch says.
    """
    if not unpacked.header.examples:
        return
    kept = get_strings(unpacked.columns, "payload")
    hashes = get_numbers(unpacked.columns, "payload_hash", np.uint64)
    lengths = get_numbers(unpacked.columns, "payload_length", np.uint32)
    for example in unpacked.header.examples:
        size = int(kept.offsets[example.row + 1]) - int(kept.offsets[example.row])
        # Of a longer payload more may have been captured than an example holds: nobody can tell.
        is_cut = int(lengths[example.row]) > MAX_EXAMPLE_BYTES
        if not is_cut and not _has_hash(example.payload, int(hashes[example.row]), least=size):
            raise Unbelievable(
                "examples.hash",
                f"the example of row {example.row} has another hash than the payload_hash of that row",
            )


def _has_hash(payload: bytes, stated: int, *, least: int) -> bool:
    """Tell whether so many first bytes of a payload, or more, have a hash."""
    wanted = stated.to_bytes(8, "little")
    sizes = (len(payload), *range(max(1, least), len(payload)))
    return any(hashlib.blake2b(payload[:size], digest_size=8).digest() == wanted for size in sizes)


def _check_sensor(member: Member, placement: Placement | None) -> Placement:
    if placement is None:
        raise Unbelievable("sensor.unknown", f"sensor {member.sensor} is not in the fleet")
    if member.key_no not in placement.keys:
        raise Unbelievable("sensor.key", f"sensor {member.sensor} has no key {member.key_no}")
    if not placement.may_seal(member.key_no, epoch=member.epoch, seq=member.seq):
        raise Unbelievable(
            "sensor.key_range",
            f"key {member.key_no} of sensor {member.sensor} was not good for epoch {member.epoch}, sequence {member.seq}",
        )
    return placement


def _check_seal(member: Member, placement: Placement) -> None:
    try:
        seal.verify(
            _load_key(placement.keys[member.key_no]),
            member.seal,
            sensor=member.sensor,
            key_no=member.key_no,
            epoch=member.epoch,
            seq=member.seq,
            digest=member.digest,
        )
    except (SealError, MessageError) as error:
        raise Unbelievable(error.code, str(error)) from error


def _check_claims(member: Member, header: BatchHeader) -> None:
    claims = {
        "sensor": (header.sensor, member.sensor),
        "epoch": (header.epoch, member.epoch),
        "seq": (header.seq, member.seq),
    }
    for name, (said, landed) in claims.items():
        if said != landed:
            raise Unbelievable(f"claims.{name}", f"the header says {name} {said}, but it landed as {landed}")


def _check_dataset(placement: Placement, header: BatchHeader) -> None:
    is_import = header.dataset.startswith("import:")
    if is_import and not placement.may_import:
        raise Unbelievable(
            "dataset.import", f"sensor {header.sensor} may not send imports ({header.dataset})"
        )
    if not is_import and header.dataset != placement.dataset:
        raise Unbelievable(
            "dataset.other",
            f"sensor {header.sensor} belongs to data set {placement.dataset}, not {header.dataset}",
        )


def _check_window(member: Member, header: BatchHeader, config: LoaderConfig) -> None:
    if header.window_end_us > member.landed_at_us + config.future_seconds * _SECOND_US:
        ahead = (header.window_end_us - member.landed_at_us) // _SECOND_US
        raise Unbelievable(
            "window.future",
            f"the window ends {ahead} s after the batch landed; at most {config.future_seconds} s are allowed",
        )
    is_import = header.dataset.startswith("import:")
    if not is_import and header.window_start_us < member.landed_at_us - config.max_age_days * _DAY_US:
        raise Unbelievable(
            "window.old",
            f"the window began more than {config.max_age_days} days before the batch landed; send it as an import",
        )


@lru_cache(maxsize=65_536)
def find_watched_problem(watched: tuple[Watched, ...]) -> tuple[str, str] | None:
    """Find what cannot be true of the prefixes that a batch says it watched: code and message."""
    networks = [ipaddress.ip_network(item.prefix) for item in watched]
    for number, network in enumerate(networks):
        if network.version == 4 and network.prefixlen < SHORTEST_IPV4:
            return (
                "watched.breadth",
                f"watched prefix {network} is wider than /{SHORTEST_IPV4}; no sensor watches that",
            )
        if any(_overlap(network, other) for other in networks[:number]):
            return "watched.overlap", f"watched prefix {network} overlaps another; an address counts once"
    return None


def _overlap(
    one: ipaddress.IPv4Network | ipaddress.IPv6Network, other: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> bool:
    return (
        one.version == other.version
        and int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
    )


@lru_cache(maxsize=65_536)
def _load_key(raw: bytes) -> Ed25519PublicKey:
    return keys.load_public(raw)

"""From raw packets to columns, whole blocks at a time.

Cost is per block, not per packet, so hand over thousands at once. Invariants:

* any bytes give an answer, never an error;
* no answer depends on a byte beyond the packet's own, which end at the smaller of
  captured length and the total length in the IP header. Capture slots are reused
  without being cleared, so what follows is another packet's (``capture.md``).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from teiten.traffic.columns import VarBytes
from teiten.traffic.marks import ParseMark
from teiten.traffic.parse_bytes import Bytes, Ints, Mask, cut_ragged
from teiten.traffic.parse_network import NetworkLayer, parse_network
from teiten.traffic.parse_payload import hash_payloads
from teiten.traffic.parse_transport import TransportLayer, parse_transport

#: The largest part of a payload that a column keeps.
MAX_PAYLOAD_BYTES = 128
#: Narrower blocks are padded, so that fixed header fields can be read from any row.
_MIN_WIDTH = 64
_MAX_LENGTH = np.iinfo(np.int32).max

ParsedColumns = dict[str, "NDArray[np.generic] | VarBytes"]


def parse_packets(
    raw: Bytes,
    captured_length: NDArray[np.uint32],
    *,
    wire_length: NDArray[np.uint32],
    observed_at_us: NDArray[np.int64],
    vlan: NDArray[np.uint16],
    payload_bytes: int = 64,
    stacked_vlan: Mask | None = None,
) -> ParsedColumns:
    """Give every wire column of ``traffic.columns``, in its order, for n packets.

    Args:
        raw: shape (n, width), C order; each row begins at the IP header.
        captured_length: bytes of each row that were captured; what follows is ignored.
        wire_length: bytes of each packet on the wire, from the IP header on.
        observed_at_us: when each packet arrived, µs since 1970-01-01 UTC.
        vlan: outer VLAN tag control information, 0 for none.
        payload_bytes: bytes of payload to keep, 0..128; the hash covers all captured ones.
        stacked_vlan: which packets had more than one VLAN tag.
    """
    if not 0 <= payload_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload_bytes is {payload_bytes}; it must be 0 to {MAX_PAYLOAD_BYTES}")
    block = _widen(raw)
    captured = np.minimum(captured_length, raw.shape[1]).astype(np.int32)
    wire = np.maximum(np.minimum(wire_length, _MAX_LENGTH).astype(np.int32), captured)
    network = parse_network(block, captured, wire)
    transport = parse_transport(block, network)
    if stacked_vlan is not None:
        network.marks |= stacked_vlan * np.uint16(ParseMark.STACKED_VLAN)
    columns: ParsedColumns = {"observed_at": observed_at_us.astype(np.int64)}
    columns |= _collect_headers(network, transport)
    columns["tcp_options"] = cut_ragged(block, transport.options_at, transport.options_length)
    columns |= _collect_addressing(network)
    columns["vlan"] = vlan.astype(np.uint16)
    columns |= _collect_payload(block, network, transport, payload_bytes=payload_bytes)
    columns["parse_marks"] = network.marks
    return columns


def _widen(raw: Bytes) -> Bytes:
    if raw.shape[1] >= _MIN_WIDTH:
        return np.ascontiguousarray(raw)
    block = np.zeros((raw.shape[0], _MIN_WIDTH), np.uint8)
    block[:, : raw.shape[1]] = raw
    return block


def _collect_headers(network: NetworkLayer, transport: TransportLayer) -> ParsedColumns:
    return {
        "ip_version": network.ip_version,
        "src_addr": network.src_addr,
        "dst_addr": network.dst_addr,
        "protocol": network.protocol,
        "src_port": transport.src_port,
        "dst_port": transport.dst_port,
        "icmp_type": transport.icmp_type,
        "icmp_code": transport.icmp_code,
        "tcp_flags": transport.tcp_flags,
        "tcp_seq": transport.tcp_seq,
        "tcp_ack": transport.tcp_ack,
        "tcp_window": transport.tcp_window,
    }


def _collect_addressing(network: NetworkLayer) -> ParsedColumns:
    return {
        "ttl": network.ttl,
        "ip_id": network.ip_id,
        "ip_df": network.ip_df,
        "ip_mf": network.ip_mf,
        "fragment_offset": network.fragment_offset,
        "tos": network.tos,
        "total_length": network.total_length.astype(np.uint32),
    }


def _collect_payload(
    block: Bytes, network: NetworkLayer, transport: TransportLayer, *, payload_bytes: int
) -> ParsedColumns:
    own: Ints = np.clip(network.own_end - transport.payload_at, 0, transport.payload_length)
    return {
        "payload_length": transport.payload_length.astype(np.uint32),
        "payload_hash": hash_payloads(block, transport.payload_at, own),
        "payload": cut_ragged(block, transport.payload_at, np.minimum(own, payload_bytes)),
    }

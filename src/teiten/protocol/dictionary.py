"""The zstd dictionaries of a batch, one pair for schema versions 1 and 2.

A dictionary is what every batch would repeat: the schema message with a typical
header, common values and probes, and, for small batches, the record batch messages of
0 to 63 rows. All of it is written by the code that writes batches; only the
entropy tables in front (zstd_compression_format.md, "Dictionary format") are
frozen bytes, trained once by ``tests/golden/train_dictionary.py``. The
dictionary's number is in every frame, so that old batches stay readable.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import zstandard

from teiten.protocol import arrow, header_text
from teiten.protocol.header import BatchHeader, Watched

#: Dictionary number of batches below :data:`SMALL_ROWS` rows, schema versions 1 and 2: their
#: columns are the same, and another version in the typical header would be another dictionary.
SMALL_ID = 1
#: Dictionary number of all others.
LARGE_ID = 2
SMALL_ROWS = 64

_MAGIC = bytes.fromhex("37a430ec")
#: Huffman and FSE tables and the three first repeat offsets.
_ENTROPY_TABLES = bytes.fromhex(
    "2910407c3534e9cf54ba68011af2000f44ed8c7fa7c42a670a43dd88b25f4a767777f74701375e20b25333787908a438"
    "080100008361d20394c20f84c203c58081c18445c7236150080600c2c130100c0e06ce84100ec1280684200ce3a4c624"
    "010034e68b0a850e23c451082162002286cc101101000000010000000400000008000000"
)
_TCP_OPTIONS = bytes.fromhex("020405b4020405b40103030801010402020405b40402080a0000000001030307")

#: What scanners send to look for open UDP services, as far as it never changes (ZMap's
#: ``examples/udp-probes``), rarest first: what stands nearer to the end is cheaper to refer to.
_PROBES = (
    b"\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n",  # memcached
    b"\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03",  # DNS
    b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00\xff\x00\x01\x00\x00)\x10\x00\x00\x00\x00\x00\x00\x00",  # DNS ANY
    b"\x80\xf0\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00 CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00!\x00\x01",  # NetBIOS
    b"0)\x02\x01\x00\x04\x06public\xa0\x1c\x02\x04",  # SNMP
    b"\x00\x01\x00\x02\x00\x01\x00",  # XDMCP
    b"\x00\x01a\x00netascii\x00",  # TFTP
    b"AA\x00\x00AAAA netcore\x00",  # Netis
    b"\x81\n\x00\x11\x01\x04\x00\x05\x01\x0c\x0c\x02?\xff\xff\x19K",  # BACnet
    b"\xff\xff\xff\xffTSource Engine Query\x00",
    b"@\x01\x00\x01\xbb.well-known\x04core",  # CoAP
    b"\x00\x01\x00\x00\x00\x01\x00\x00version\r\n",  # memcached
    b"\x06\x00\xff\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\t \x18\xc8\x81\x008\x8e\x04\xb5",  # IPMI
    b"\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\t_services\x07_dns-sd\x04_udp\x05local\x00\x00\x0c\x00\x01",
    b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http:',  # WS-Discovery
    b"\x17\x00\x03*\x00\x00\x00\x00",  # NTP monlist
    b"0%\x02\x01\x01c \x04\x00\n\x01\x00\n\x01\x00\x02\x01\x00\x02\x01\x00\x01\x01\x00\x87\x0bobjectclass0\x00",  # CLDAP
    b"OPTIONS sip:nm SIP/2.0\r\nVia: SIP/2.0/UDP ",
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:disc',
)


def number_for(rows: int) -> int:
    """Give the number of the dictionary that a batch of ``rows`` uses."""
    return SMALL_ID if rows < SMALL_ROWS else LARGE_ID


@lru_cache(maxsize=2)
def build(number: int) -> zstandard.ZstdCompressionDict:
    """Build dictionary 1 or 2."""
    return zstandard.ZstdCompressionDict(dictionary_bytes(number), dict_type=zstandard.DICT_TYPE_FULLDICT)


def dictionary_bytes(number: int) -> bytes:
    """Write down dictionary 1 or 2; its digest is a golden value."""
    content = (
        _write_probes()
        + _TCP_OPTIONS
        + b'"simulated"'
        + arrow.schema_template().render(header_text.write_header(_typical_header()))
    )
    if number == SMALL_ID:
        # Typical totals of the variable columns: 8 bytes of options and 4 of payload a packet.
        messages = [arrow.lay_out(rows, (8 * rows, 4 * rows)).message for rows in range(SMALL_ROWS)]
        content = b"".join(messages) + content
    return _MAGIC + number.to_bytes(4, "little") + _ENTROPY_TABLES + content


def _write_probes() -> bytes:
    """Write the hash that the column ``payload_hash`` has for each probe, then the probes."""
    hashes = b"".join(hashlib.blake2b(probe, digest_size=8).digest() for probe in _PROBES)
    return hashes + b"".join(_PROBES)


def _typical_header() -> BatchHeader:
    return BatchHeader(
        schema_version=1,
        dataset="live",
        sensor=1000,
        epoch=1,
        seq=10000,
        window_start_us=1_795_230_000_000_000,
        window_end_us=1_795_230_300_000_000,
        rows=24,
        watched=(Watched("192.0.2.7/32", "silent"),),
        captured=24,
        kernel_drops=0,
        excluded=0,
        gap_us=0,
        clock_offset_us=-1000,
        clock_stepped=False,
        payload_bytes=64,
        boot_id="00000000000",
        software="0.1.0",
    )

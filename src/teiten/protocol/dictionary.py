"""The zstd dictionaries of a batch, one pair a schema version.

A dictionary is what every batch would repeat: the schema message with a typical
header, common values, and, for small batches, the record batch messages of
0 to 63 rows. All of it is written by the code that writes batches; only the
entropy tables in front (zstd_compression_format.md, "Dictionary format") are
frozen bytes, trained once by ``tests/golden/train_dictionary.py``. The
dictionary's number is in every frame, so that old batches stay readable.
"""

from __future__ import annotations

from functools import lru_cache

import zstandard

from teiten.protocol import arrow, header_text
from teiten.protocol.header import BatchHeader, Watched

#: Dictionary number of batches below :data:`SMALL_ROWS` rows, schema version 1.
SMALL_ID = 1
#: Dictionary number of all others.
LARGE_ID = 2
SMALL_ROWS = 64

_MAGIC = bytes.fromhex("37a430ec")
#: Huffman and FSE tables and the three first repeat offsets.
_ENTROPY_TABLES = bytes.fromhex(
    "2c10487c358399c8ef32220d1030eca43a65d1fa7c7337386341dd04436d0059d3a3c9ee77076d5eaa4e8e4c01b32659"
    "20180a620cc000108d4579b4600996890686828402998902484218140603c284310c43614c8a010843510c83418a2946"
    "25490000f409eb85097ba0614619440c9819101940000000010000000400000008000000"
)
_TCP_OPTIONS = bytes.fromhex("020405b4020405b40103030801010402020405b40402080a0000000001030307")


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
        _TCP_OPTIONS
        + b'"simulated"'
        + arrow.schema_template().render(header_text.write_header(_typical_header()))
    )
    if number == SMALL_ID:
        # Typical totals of the variable columns: 8 bytes of options and 4 of payload a packet.
        messages = [arrow.lay_out(rows, (8 * rows, 4 * rows)).message for rows in range(SMALL_ROWS)]
        content = b"".join(messages) + content
    return _MAGIC + number.to_bytes(4, "little") + _ENTROPY_TABLES + content


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

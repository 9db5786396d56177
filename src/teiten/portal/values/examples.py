"""Whole payloads as bytes and as letters; what strangers sent is never markup."""

from __future__ import annotations

from typing import Any

from teiten.portal.explore.packets import dump_bytes, write_letters
from teiten.portal.naming.sensors import name_sensor
from teiten.portal.presenting.pivots import page_of
from teiten.portal.screen import Screen
from teiten.search.answers_news import Examples, PayloadExample


def describe_examples(examples: Examples, screen: Screen) -> list[dict[str, Any]]:
    """Give each example with where it leads."""
    return [describe_example(example, screen) for example in examples.examples]


def describe_example(example: PayloadExample, screen: Screen) -> dict[str, Any]:
    """Give one example: its bytes, its letters, and what it belongs to."""
    return {
        "example": example,
        "at": screen.instants.full(example.observed_at),
        "sensor": "" if example.sensor is None else name_sensor(example.sensor),
        "source_url": screen.url_of("source", None, example.source),
        "port_url": page_of(screen, example.port),
        "packet_url": screen.url_of("packet", None, ref=example.reference),
        "hex": dump_bytes(example.payload, ()),
        "text": write_letters(example.payload),
        "is_cut": len(example.payload) < example.payload_length,
    }

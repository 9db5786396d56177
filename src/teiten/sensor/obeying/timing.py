"""What time it is for a command: the sensor's clock may be wrong, and the base may lie about it.

The base tells a sensor how far its clock is off, in signed answers; a captured base
can therefore say that it is last week, and deliver what two persons signed then and
nobody meant any more. For everything that changes a sensor, the base's word is
believed only where it makes commands expire *sooner*, or where the sensor's own clock
is a year ahead. And never is it earlier than the newest command that was obeyed says:
that time was signed by operators.
"""

from __future__ import annotations

_SECOND_US = 1_000_000
#: A clock further ahead than this (a year) is broken: then only the base knows the time.
BROKEN_AHEAD_US = 366 * 86_400 * _SECOND_US


def find_time_s(command_class: str, own_us: int, offset_us: int | None, *, floor_s: int = 0) -> int:
    """Give the second by which a command of this class is judged.

    Args:
        command_class: ``A`` only looks.
        own_us: this machine's clock.
        offset_us: base minus sensor, as the base said last; None when it said nothing.
        floor_s: from when the newest command that was obeyed is valid.
    """
    told_us = own_us + (offset_us or 0)
    is_believed = command_class == "A" or told_us >= own_us or own_us - told_us > BROKEN_AHEAD_US
    return max(floor_s, (told_us if is_believed else own_us) // _SECOND_US)

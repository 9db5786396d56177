"""What time it is for a command: the sensor's clock may be wrong, and the base may lie about it.

The base tells a sensor how far its clock is off, in signed answers; a captured base
can therefore say that it is last week, and deliver what two persons signed then and
nobody meant any more. For everything that changes a sensor, the base's word is
believed only where it makes commands expire *sooner*, or where the sensor's own clock
must be broken: a year ahead of the base's, and later than any operator's key on the signed
list is good for. By such a clock nobody could be obeyed at all; by one that is right, a
base that speaks of years ago finds no way to give out what expired then. And never is it
earlier than the newest command that was obeyed says: that time was signed by operators.
"""

from __future__ import annotations

from teiten.protocol.operator_list import OperatorList

_SECOND_US = 1_000_000
#: A clock no further ahead than this (a year) is never called broken.
BROKEN_AHEAD_US = 366 * 86_400 * _SECOND_US


def find_time_s(
    command_class: str, own_us: int, offset_us: int | None, *, operators: OperatorList, floor_s: int = 0
) -> int:
    """Give the second by which a command of this class is judged.

    Args:
        command_class: ``A`` only looks.
        own_us: this machine's clock.
        offset_us: base minus sensor, as the base said last; None when it said nothing.
        operators: the signed list: whose keys are good until when.
        floor_s: from when the newest command that was obeyed is valid.
    """
    told_us = own_us + (offset_us or 0)
    is_broken = own_us - told_us > BROKEN_AHEAD_US and own_us // _SECOND_US >= _find_end_s(operators)
    is_believed = command_class == "A" or told_us >= own_us or is_broken
    return max(floor_s, (told_us if is_believed else own_us) // _SECOND_US)


def _find_end_s(operators: OperatorList) -> int:
    return max((one.valid_to_s for one in operators.operators), default=0)

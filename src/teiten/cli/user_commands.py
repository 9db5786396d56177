"""``teiten user …``: words in, people changed, lines out."""

from __future__ import annotations

import argparse

from teiten.cli import printing, user_verbs
from teiten.cli.installation import Installation
from teiten.foundation.settings import Source


def create(source: Source, options: argparse.Namespace) -> int:
    """Make a user and print the first password once."""
    with Installation(source) as installation:
        installation.start_django()
        print(
            user_verbs.create_user(
                user_id=options.user_id,
                role=options.role,
                organisation=options.org,
                display_name=options.name,
                language=installation.site.language,
                clock=installation.clock,
            )
        )
    return 0


def list_all(source: Source, _options: argparse.Namespace) -> int:
    """Print everybody."""
    with Installation(source) as installation:
        installation.start_django()
        lines = user_verbs.list_users()
    printing.print_table(
        ("user", "name", "organisation", "role", "active", "last sign-in"),
        [
            (
                line.user_id,
                line.display_name,
                line.organisation,
                line.role,
                "yes" if line.is_active else "no",
                printing.instant(line.last_sign_in_at),
            )
            for line in lines
        ],
    )
    return 0


def reset_password(source: Source, options: argparse.Namespace) -> int:
    """Print a new first password; sessions and locks of the user end."""
    with Installation(source) as installation:
        installation.start_django()
        print(user_verbs.reset_password(options.user_id, clock=installation.clock))
    return 0


def issue_token(source: Source, options: argparse.Namespace) -> int:
    """Print an API token once."""
    with Installation(source) as installation:
        installation.start_django()
        print(
            user_verbs.issue_token(
                options.user_id, days=options.days, label=options.label, clock=installation.clock
            )
        )
    return 0


def permit_payload(source: Source, options: argparse.Namespace) -> int:
    """Allow a person to see payload, or take that back."""
    is_allowed = options.decision == "allow"
    with Installation(source) as installation:
        installation.start_django()
        user_verbs.permit_payload(options.user_id, is_allowed=is_allowed, clock=installation.clock)
    print(
        f"{options.user_id} may see payload, each time for a stated reason"
        if is_allowed
        else f"{options.user_id} may not see payload"
    )
    return 0

"""``teiten host …``: contacts, agreements, and pauses in a host's name."""

from __future__ import annotations

import argparse

from teiten.cli.installation import Installation
from teiten.cli.printing import instant, print_table
from teiten.foundation.settings import Source


def show(source: Source, options: argparse.Namespace) -> int:
    """Show what is known of a host."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import hosting

        host = hosting.find_host(hosting.get_organisation(options.organisation))
        agreed = f"since {instant(host.agreed_at)}: {host.note}" if host.agreed_at else "as by default"
        print(
            f"{host.organisation.code} {host.organisation.name_en}: {host.sensors} sensors\n"
            f"agreed classes of commands: {', '.join(host.command_classes) or 'none'} ({agreed})"
        )
        rows = [(one.pk, one.name, one.mail, one.language) for one in host.contacts]
        print_table(("contact", "name", "mail", "language"), rows)
    return 0


def contact(source: Source, options: argparse.Namespace) -> int:
    """Enter or remove a contact."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import hosting, services

        organisation = hosting.get_organisation(options.organisation)
        act = services.Act(installation.clock.now())
        if options.remove is not None:
            hosting.remove_contact(organisation, options.remove, act=act)
            print(f"contact {options.remove} of {organisation.code} is removed")
            return 0
        made = hosting.add_contact(
            organisation, name=options.name, mail=options.mail, language=options.language, act=act
        )
        print(f"contact {made.pk} of {organisation.code}: {made.name} <{made.mail}>")
    return 0


def agree(source: Source, options: argparse.Namespace) -> int:
    """Write down what a host agreed to."""
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import hosting, services

        classes = [one.strip() for one in options.classes.split(",") if one.strip()]
        agreement = hosting.agree_classes(
            hosting.get_organisation(options.organisation),
            classes,
            note=options.note,
            act=services.Act(installation.clock.now()),
        )
        print(
            f"{options.organisation} agrees to commands of class {', '.join(agreement.command_classes) or 'none'}"
        )
    return 0


def pause(source: Source, options: argparse.Namespace) -> int:
    """Suspend a sensor in its host's name."""
    return _change(source, options, "pause_sensor")


def resume(source: Source, options: argparse.Namespace) -> int:
    """Accept a paused sensor again."""
    return _change(source, options, "resume_sensor")


def withdraw(source: Source, options: argparse.Namespace) -> int:
    """Revoke a sensor in its host's name."""
    return _change(source, options, "withdraw_sensor", name=options.name)


def _change(source: Source, options: argparse.Namespace, verb: str, **more: str) -> int:
    with Installation(source) as installation:
        installation.start_django()
        from teiten.fleet import hosting, services

        moved = getattr(hosting, verb)(
            services.get_sensor(options.name),
            reason=options.reason,
            act=services.Act(installation.clock.now()),
            **more,
        )
        print(f"sensor {moved.pk} {moved.name} is {moved.state} now")
    return 0

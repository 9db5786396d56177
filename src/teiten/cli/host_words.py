"""What can be typed about hosts, alarms and the prober."""

from __future__ import annotations

import argparse
from pathlib import Path

from teiten.cli.words import Verbs, add_group, add_verb


def add_words(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Declare the verbs."""
    _add_host(verbs)
    _add_alarm(verbs)
    _add_canary(verbs)


def _add_canary(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "canary", "Probes from outside that prove that the world can reach sensors.")
    register = add_verb(group, "register", "canary_commands:register", "Enter a prober; write its key file.")
    register.add_argument("name")
    register.add_argument(
        "--address", action="append", required=True, metavar="ADDRESS", help="from where it sends; repeatable"
    )
    register.add_argument("--slot", type=int, default=900, metavar="SECONDS", help="length of a time slot")
    register.add_argument("--output", type=Path, required=True, metavar="FILE")
    revoke = add_verb(group, "revoke", "canary_commands:revoke", "Take a prober out of use.")
    revoke.add_argument("name")
    add_verb(group, "list", "canary_commands:list_probers", "List the probers.")
    plan = add_verb(group, "plan", "canary_commands:plan", "Write whom a prober sends to.")
    plan.add_argument("name")
    plan.add_argument("--output", type=Path, required=True, metavar="FILE")
    send = add_verb(group, "send", "canary_commands:send", "Be the prober: send slot after slot.")
    send.add_argument("--key", type=Path, required=True, metavar="FILE")
    send.add_argument("--plan", type=Path, required=True, metavar="FILE", help="read anew for each slot")
    send.add_argument("--log", type=Path, required=True, metavar="DIR", help="a file a slot: what was sent")
    send.add_argument("--per-second", type=float, default=50.0, metavar="N", help="canaries a second at most")
    send.add_argument("--slots", type=int, metavar="N", help="end after so many slots")
    bring = add_verb(group, "bring", "canary_commands:bring", "Take up logs of what probers sent.")
    bring.add_argument("file", type=Path, nargs="+", help="a log, or a folder of logs")
    bring.add_argument("--delete", action="store_true", help="remove what was taken up, now or before")
    add_verb(
        group, "status", "canary_commands:status", "Tell how probers do, and which ports do not get through."
    )
    reach = add_verb(group, "reach", "canary_commands:reach", "List which ports canaries reach.")
    reach.add_argument("--sensor", metavar="NAME")


def _add_alarm(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "alarm", "What is wrong with sensors now, and who looks after it.")
    listed = add_verb(group, "list", "alarm_commands:list_alarms", "List open alarms, newest first.")
    listed.add_argument("--all", action="store_true", help="also those that are over, the newest thousand")
    listed.add_argument("--parts", action="store_true", help="also each sensor of a group")
    ack = add_verb(group, "ack", "alarm_commands:ack", "Note that somebody looks after an alarm.")
    ack.add_argument("number", type=int, nargs="+")


def _add_host(verbs: Verbs[argparse.ArgumentParser]) -> None:
    group = add_group(verbs, "host", "Organisations that house sensors: contacts, agreements, pauses.")
    show = add_verb(group, "show", "host_commands:show", "Show a host's contacts and what it agreed to.")
    show.add_argument("organisation", metavar="CODE")
    contact = add_verb(group, "contact", "host_commands:contact", "Enter or remove a contact of a host.")
    contact.add_argument("organisation", metavar="CODE")
    contact.add_argument("--name", default="")
    contact.add_argument("--mail", default="")
    contact.add_argument("--language", choices=("ja", "en"), default="ja")
    contact.add_argument("--remove", type=int, metavar="NUMBER", help="remove this contact instead")
    agree = add_verb(
        group, "agree", "host_commands:agree", "Write down which classes of commands a host agrees to."
    )
    agree.add_argument("organisation", metavar="CODE")
    agree.add_argument("--classes", required=True, metavar="A,B", help="classes, separated by commas")
    agree.add_argument("--note", required=True, help="on what grounds: a contract, a mail")
    for name, text in (
        ("pause", "Suspend a sensor in its host's name; the host may resume it."),
        ("resume", "Accept a paused sensor again."),
        ("withdraw", "Revoke a sensor in its host's name; `teiten sensor recover` takes it back."),
    ):
        change = add_verb(group, name, f"host_commands:{name}", text)
        change.add_argument("name", metavar="SENSOR")
        change.add_argument("--reason", required=True)

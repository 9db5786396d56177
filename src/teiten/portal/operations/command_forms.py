"""Forms about commands: bring one that operators signed, look whom a selector means, start, stop."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

#: An envelope of 10,000 numbers is below 200 KB; a list with names of all sensors below 2 MB.
MAX_ENVELOPE_BYTES = 512 * 1024
MAX_TARGETS_BYTES = 2 * 1024 * 1024
_STAGES = re.compile(r"\d{1,3}(,\d{1,3}){0,9}")


class SubmitForm(forms.Form):
    """What `teiten-operator` wrote on an operator's machine."""

    envelope = forms.FileField(
        label=gettext_lazy("Command"),
        help_text=gettext_lazy("NAME.command.json, signed with teiten-operator"),
    )
    targets = forms.FileField(
        label=gettext_lazy("Targets"), required=False, help_text=gettext_lazy("NAME.targets.json, for a command with a selector")
    )  # fmt: skip

    def clean_envelope(self) -> bytes:
        return _read(self.cleaned_data["envelope"], MAX_ENVELOPE_BYTES)

    def clean_targets(self) -> list[int] | None:
        """Give the numbers in the file; None where none was given."""
        given = self.cleaned_data["targets"]
        return None if given is None else _read_numbers(_read(given, MAX_TARGETS_BYTES))


class SelectorForm(forms.Form):
    """Which sensors are meant."""

    selector = forms.CharField(
        label=gettext_lazy("Selector"), max_length=1000,
        help_text=gettext_lazy('For example: region = "kanto" AND version < "0.2"'),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "class": "mono"}),
    )  # fmt: skip


class StartForm(forms.Form):
    """How fast a command goes out."""

    stages = forms.CharField(label=gettext_lazy("Stages (per cent)"), initial="1,10,50,100", max_length=40)
    per_minute = forms.IntegerField(
        label=gettext_lazy("Sensors a minute, at most"), min_value=1, max_value=10_000
    )

    def clean_stages(self) -> Sequence[int]:
        text = self.cleaned_data["stages"].replace(" ", "")
        if not _STAGES.fullmatch(text):
            raise ValidationError(_("Write whole per cents with commas, the last one 100: 1,10,50,100"))
        return [int(part) for part in text.split(",")]


def _read(given: UploadedFile[Any], most: int) -> bytes:
    if (given.size or 0) > most:
        raise ValidationError(_("The file is larger than %(most)s KiB.") % {"most": most // 1024})
    return bytes(given.read())


def _read_numbers(content: bytes) -> list[int]:
    """Read a targets file: numbers, or objects with a number."""
    try:
        told = json.loads(content)
        listed = told["sensors"] if isinstance(told, dict) else told
        numbers = [one["number"] if isinstance(one, dict) else one for one in listed]
    except (ValueError, KeyError, TypeError, RecursionError):
        numbers = [None]
    if not all(type(number) is int and 0 < number < 1 << 32 for number in numbers):
        raise ValidationError(_("This is no targets file: {\"sensors\": [7, 8]}."))  # fmt: skip
    return numbers

"""The form that makes sensors."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Organisation
from teiten.fleet.models import Dataset, Region, SensorKind, SensorMode
from teiten.fleet.models.sensors import SENSOR_NAME_PATTERN
from teiten.portal import frame
from teiten.portal.naming.groups import name_mode

#: More scripts than this are no download of a page.
MAX_HERE = 200


def _list_modes() -> list[tuple[str, str]]:
    return [(mode, name_mode(mode)) for mode in SensorMode.values]


class MakeForm(forms.Form):
    """What sensors that are made together have in common."""

    name = forms.CharField(
        label=_("Name"), max_length=58, validators=[RegexValidator(SENSOR_NAME_PATTERN)],
        help_text=_("Several are numbered: NAME-0001, NAME-0002, …"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )  # fmt: skip
    count = forms.IntegerField(label=_("How many"), initial=1, min_value=1, max_value=10_000)
    region = forms.ModelChoiceField(label=_("Region"), queryset=Region.objects.none())
    organisation = forms.ModelChoiceField(
        label=_("Host organisation"), queryset=Organisation.objects.none(), to_field_name="code"
    )
    dataset = forms.ChoiceField(label=_("Data set"), choices=Dataset.choices, initial=Dataset.LIVE)
    country = forms.CharField(
        label=_("Country"), required=False, max_length=2, help_text=_("Two letters, for example JP.")
    )
    asn = forms.IntegerField(label=_("AS number"), required=False, min_value=0, max_value=(1 << 32) - 1)
    provider = forms.CharField(label=_("Provider"), required=False, max_length=100)
    kind = forms.ChoiceField(label=_("Kind of network"), choices=SensorKind.choices, initial=SensorKind.OTHER)
    mode = forms.ChoiceField(label=_("Way of watching"), choices=_list_modes, initial=SensorMode.SILENT)
    cidr = forms.CharField(
        label=_("Allowed network"), required=False, max_length=49,
        help_text=_("Tokens work only from there, for example 192.0.2.0/24."),
    )  # fmt: skip
    needs_approval = forms.BooleanField(
        label=_("Wait for approval"), required=False, help_text=_("After enrolment an operator lets each in by hand.")
    )  # fmt: skip
    allow_exec = forms.BooleanField(
        label=_("Allow free commands"), required=False,
        help_text=_("Class C: two operators may run any program on the host. Leave it off unless the host has agreed."),
    )  # fmt: skip

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        suffix = "ja" if frame.language() == "ja" else "en"
        for field, rows in (
            ("region", Region.objects.order_by("position", "code")),
            ("organisation", Organisation.objects.order_by("code")),
        ):
            choice = self.fields[field]
            if isinstance(choice, forms.ModelChoiceField):
                choice.queryset = rows
                choice.label_from_instance = partial(_label, suffix)  # type: ignore[method-assign]  # Django's own way


def _label(suffix: str, row: Any) -> str:
    return f"{getattr(row, f'name_{suffix}')} ({row.code})"

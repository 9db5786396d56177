"""Forms about organisations that house sensors: whom to tell, and what operators may command there."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Language

#: Class → what commands of it do.
CLASSES = {
    "A": _("look: status, logs, ping, traceroute"),
    "B": _("change how it runs: settings, restart, recording on and off, update, key"),
    "C": _("run any program on the host; two operators each time"),
    "D": _("end the sensor: wipe, retire; two operators each time"),
}


def _list_classes() -> list[tuple[str, str]]:
    return [(letter, f"{letter} · {says}") for letter, says in CLASSES.items()]


class ContactForm(forms.Form):
    """Somebody who is told when something is wrong with the host's sensors."""

    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("A person or a team."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip
    mail = forms.EmailField(
        label=_("Mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "off"})
    )
    language = forms.ChoiceField(label=_("Language"), choices=Language.choices, initial=Language.JAPANESE)


class AgreementForm(forms.Form):
    """What operators may command, and on what grounds."""

    classes = forms.MultipleChoiceField(
        label=_("Agreed classes"), choices=_list_classes, required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("Without any, operators can give this host's sensors no command at all."),
    )  # fmt: skip
    note = forms.CharField(
        label=_("Grounds"), max_length=200, help_text=_("A contract or a mail, for example. It stays beside the agreement."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )  # fmt: skip


class FindForm(forms.Form):
    """Which hosts to list."""

    q = forms.CharField(max_length=60, required=False)

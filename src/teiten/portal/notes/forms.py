"""Forms by which analysts write annotations and give names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from teiten.datasets.models import AnnotationKind
from teiten.portal.controls import name_dataset

_WALL_CLOCK = "%Y-%m-%dT%H:%M"


def _moment(label: Any, *, required: bool, help_text: Any = "") -> forms.DateTimeField:
    """Give a field for an instant, written as the installation's wall clock."""
    return forms.DateTimeField(
        label=label,
        required=required,
        help_text=help_text,
        input_formats=[_WALL_CLOCK, "%Y-%m-%dT%H:%M:%S"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=_WALL_CLOCK),
    )


class AnnotationForm(forms.Form):
    """What happened, and when."""

    kind = forms.ChoiceField(label=_("Kind"), choices=AnnotationKind.choices)
    at = _moment(_("When"), required=True)
    until_at = _moment(_("Until"), required=False, help_text=_("Only for what lasted."))
    dataset = forms.ChoiceField(label=_("Data set"), required=False)
    text_ja = forms.CharField(label=_("Text in Japanese"), max_length=300)
    text_en = forms.CharField(label=_("Text in English"), max_length=300)
    link = forms.URLField(
        label=_("Link"), required=False, max_length=500, assume_scheme="https", widget=forms.URLInput()
    )

    def __init__(self, *args: Any, datasets: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["dataset"]
        if isinstance(field, forms.ChoiceField):
            field.choices = [("", _("All")), *((name, name_dataset(name)) for name in datasets)]


class NameForm(forms.Form):
    """What a fingerprint, a payload or a probe is called, and on what that rests."""

    name = forms.CharField(label=_("Name"), max_length=100)
    version = forms.CharField(
        label=_("Version"),
        max_length=40,
        required=False,
        help_text=_("Of what the name means, if it has one."),
    )
    valid_from = _moment(_("Valid from"), required=True)
    valid_to = _moment(_("Valid until"), required=False, help_text=_("Empty: until further notice."))
    note = forms.CharField(
        label=_("Note"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )

"""The Django app of the fleet's commands."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CommandsAppConfig(AppConfig):
    name = "teiten.fleet.commands"
    label = "fleet_commands"
    verbose_name = _("Commands")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let commands object to their own roll-outs."""
        from teiten.fleet.commands.consent import find_objection
        from teiten.fleet.rollouts import objecting

        objecting.let_object("command", find_objection)

"""Addresses of the operations screens: alarms, commands, releases, hosts, the audit log, making sensors."""

from django.urls import path

from teiten.portal.operations import alarms, commands, hosts, making, records, rollouts

urlpatterns = [
    path("alarms/", alarms.show_alarms, name="alarms"),
    path("alarms/<int:number>/acknowledge/", alarms.acknowledge, name="acknowledge-alarm"),
    path("commands/", commands.show_commands, name="commands"),
    path("commands/submit/", commands.submit_command, name="submit-command"),
    path("commands/preview/", commands.preview_selector, name="preview-selector"),
    path("commands/<slug:command_id>/", commands.show_command, name="command"),
    path("commands/<slug:command_id>/start/", commands.start_command, name="start-command"),
    path("commands/<slug:command_id>/stop/", commands.stop_command, name="stop-command"),
    path("releases/", rollouts.show_releases, name="releases"),
    path("rollouts/<int:number>/", rollouts.show_rollout, name="rollout"),
    path("rollouts/<int:number>/move/", rollouts.move_rollout, name="move-rollout"),
    path("hosts/", hosts.show_hosts, name="hosts"),
    path("hosts/<slug:code>/", hosts.show_host, name="host"),
    path("hosts/<slug:code>/contacts/", hosts.add_contact, name="add-contact"),
    path("hosts/<slug:code>/contacts/<int:number>/remove/", hosts.remove_contact, name="remove-contact"),
    path("hosts/<slug:code>/classes/", hosts.agree_classes, name="agree-classes"),
    path("audit/", records.show_records, name="audit"),
    path("make/", making.make_sensors, name="make-sensors"),
]

"""The endpoints of the sensor listener, a module each.

A new one is a module here with a ``ROUTE`` (see :class:`teiten.gateway.routing.Route`),
a line in :data:`teiten.gateway.endpoints.table.ROUTES`, and, where it asks somebody, a
door of its own in ``gateway/doors/`` with a line in :class:`teiten.gateway.doors.Doors`.
"""

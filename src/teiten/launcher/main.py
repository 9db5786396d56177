"""``teiten-launcher``: fetches, tries and rolls back releases of the sensor program."""

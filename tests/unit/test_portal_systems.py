from __future__ import annotations

from collections.abc import Iterator

import pytest

from teiten.portal.naming import systems


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    systems.set_as_names(dict)


def test_a_system_has_the_name_of_the_file_in_use() -> None:
    names = {64512: "Example Fiber"}
    systems.set_as_names(lambda: names)

    assert systems.name_system("64512") == "Example Fiber"
    names[64513] = "Sample Hosting"
    assert systems.name_system("64513") == "Sample Hosting"


def test_what_no_file_names_has_no_name() -> None:
    assert systems.name_system("64512") == ""
    assert systems.name_system("unknown") == ""

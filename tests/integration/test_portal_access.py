"""Every URL has an access decision, and each role gets exactly what it should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from teiten.portal.testing import Cast, client_of

pytestmark = pytest.mark.requirement("R3.1")

#: What a stranger may open; everything else needs a role. Changing this list is a decision.
PUBLIC = {"sign-in/", "language/"}


def list_views() -> list[tuple[str, Callable[..., Any]]]:
    from django.urls import URLPattern, get_resolver

    def walk(patterns: list[Any], below: str) -> list[tuple[str, Callable[..., Any]]]:
        found = []
        for pattern in patterns:
            route = below + str(pattern.pattern)
            if isinstance(pattern, URLPattern):
                found.append((route, pattern.callback))
            else:
                found += walk(pattern.url_patterns, route)
        return found

    return walk(get_resolver().url_patterns, "")


def test_every_view_says_who_may_open_it(cast: Cast) -> None:
    from teiten.portal import access

    undecided = [
        route
        for route, view in list_views()
        if access.decision_of(view) is None and not route.startswith(tuple(access.SELF_GUARDED))
    ]

    assert undecided == []


def test_only_these_are_public(cast: Cast) -> None:
    from teiten.portal import access

    assert {route for route, view in list_views() if access.decision_of(view) == "public"} == PUBLIC


def test_a_view_without_a_decision_is_closed(cast: Cast) -> None:
    from django.core.exceptions import PermissionDenied
    from django.http import HttpResponse
    from django.test import RequestFactory

    from teiten.portal.middleware import AccessMiddleware

    request = RequestFactory().get("/new/")
    request.user = cast.dana

    def forgotten(_request: Any) -> HttpResponse:
        return HttpResponse("secret")

    with pytest.raises(PermissionDenied, match="no access decision"):
        AccessMiddleware(forgotten).process_view(request, forgotten, (), {})


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("member", ["alice", "charlie", "ann", "dana"]),
        ("analyst", ["ann", "dana"]),
        ("operator", ["dana"]),
    ],
)
def test_a_role_opens_what_the_ones_below_it_open(cast: Cast, role: str, allowed: list[str]) -> None:
    from django.core.exceptions import PermissionDenied
    from django.http import HttpResponse
    from django.test import RequestFactory
    from django.views import View

    from teiten.portal.access import RoleRequired, role_required
    from teiten.portal.middleware import AccessMiddleware

    @role_required(role)
    def plain(_request: Any) -> HttpResponse:
        return HttpResponse()

    class Classy(RoleRequired, View):
        required_role = role

    def is_admitted(user: Any, view: Callable[..., Any]) -> bool:
        request = RequestFactory().get("/page/")
        request.user = user
        try:
            return AccessMiddleware(plain).process_view(request, view, (), {}) is None
        except PermissionDenied:
            return False

    for view in (plain, Classy.as_view()):
        people = {name: getattr(cast, name) for name in ("alice", "charlie", "ann", "dana")}
        assert [name for name, user in people.items() if is_admitted(user, view)] == allowed


def test_a_member_is_told_that_a_page_is_not_for_them(cast: Cast) -> None:
    answer = client_of(cast.alice).get("/no/such/page/")
    assert answer.status_code == 404


def test_the_database_documents_itself_in_japanese() -> None:
    """R6: the table definitions of the design documents are made from these comments."""
    from teiten.portal.testing import start_django_for_tests

    start_django_for_tests()
    from django.apps import apps
    from django.utils.functional import Promise

    missing = []
    for app in (app for app in apps.get_app_configs() if app.name.startswith("teiten.")):
        for model in app.get_models():
            comments = {"": model._meta.db_table_comment}
            for field in model._meta.local_fields:
                comments[field.name] = field.db_comment
                if not isinstance(field.verbose_name, Promise):
                    missing.append(f"{model.__name__}.{field.name}: no translatable name")
            missing += [
                f"{model.__name__}.{name}"
                for name, comment in comments.items()
                if not comment or comment.isascii()
            ]

    assert missing == []


def test_migrations_say_what_the_models_say(cast: Cast) -> None:
    from django.core.management import call_command

    call_command("makemigrations", check=True, dry_run=True, verbosity=0)

"""Sign in, sign out, change the password, see and end one's sessions, choose the language."""

from __future__ import annotations

from django.conf import settings
from django.contrib import auth
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from teiten.accounts import audit, selectors, services, sessions
from teiten.accounts.errors import AccountsInputError, SignInRefusedError, TooBusyError
from teiten.accounts.models import Language, Role, SecurityEventKind, User
from teiten.accounts.services import Act
from teiten.accounts.signin import verify_credentials
from teiten.portal import middleware
from teiten.portal.access import public, role_required, viewer_of
from teiten.portal.signin.forms import PasswordForm, SignInForm

_BACKEND = "teiten.accounts.backend.UserBackend"


@public
@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Show the form; check it; begin a session."""
    target = _safe_target(request)
    if request.method != "POST":
        if isinstance(request.user, User):
            return redirect(target)
        return _show_sign_in(request, SignInForm(), target)
    form = SignInForm(request.POST)
    if not form.is_valid():
        return _show_sign_in(request, form, target, status=400)
    try:
        user = verify_credentials(
            user_id=form.cleaned_data["user_id"],
            password=form.cleaned_data["password"],
            address=address_of(request),
            now=middleware.clock.now(),
            config=settings.TEITEN_ACCOUNTS,
        )
    except SignInRefusedError:
        form.add_error(
            None,
            _("The user ID or the password is wrong, or sign-in is locked for a while. Try again later."),
        )
        return _show_sign_in(request, form, target, status=401)
    except TooBusyError:
        form.add_error(None, _("Many people are signing in just now. Try again in a few seconds."))
        return _show_sign_in(request, form, target, status=503)
    return _begin_session(request, user, target)


@role_required(Role.MEMBER)
@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session."""
    user = viewer_of(request)
    audit.record_event(
        SecurityEventKind.SIGN_OUT,
        at=middleware.clock.now(),
        user=user,
        actor=user,
        address=address_of(request),
    )
    auth.logout(request)
    return redirect("sign-in")


@role_required(Role.MEMBER)
@never_cache
@sensitive_post_parameters("old_password", "new_password", "repeated_password")
@require_http_methods(["GET", "HEAD", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    """Change one's own password; other sessions end."""
    user = viewer_of(request)
    form = PasswordForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _show_password(request, form, status=400 if request.method == "POST" else 200)
    try:
        services.change_password(
            user,
            old=form.cleaned_data["old_password"],
            new=form.cleaned_data["new_password"],
            act=_act(request),
            keep_session=request.session.session_key,
        )
    except AccountsInputError as error:
        field = "new_password" if error.field == "password" else error.field
        form.add_error(field, str(error).partition(": ")[2])
        return _show_password(request, form, status=400)
    # The session stays, under a new key and with the hash of the new password.
    auth.update_session_auth_hash(request, user)
    return redirect("account")


@role_required(Role.MEMBER)
@require_http_methods(["GET", "HEAD"])
def show_account(request: HttpRequest) -> HttpResponse:
    """Show who one is and where one is signed in."""
    rows = selectors.list_sessions(viewer_of(request), present_key=request.session.session_key)
    return render(request, "portal/signin/account.html", {"sessions": rows})


@role_required(Role.MEMBER)
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End the session named by ``session``, or all others when none is named."""
    user = viewer_of(request)
    named = request.POST.get("session", "")
    if named:
        services.end_session(user, stored_key=named, act=_act(request))
    else:
        services.end_other_sessions(user, keep=request.session.session_key, act=_act(request))
    return redirect("account")


@public
@require_POST
def switch_language(request: HttpRequest) -> HttpResponse:
    """Keep the chosen language in a cookie, and with the person when there is one."""
    chosen = request.POST.get("language", "")
    response = redirect(_safe_target(request))
    if chosen in Language.values:
        _remember_language(response, chosen)
        if isinstance(request.user, User):
            User.objects.filter(pk=request.user.pk).update(language=chosen)
    return response


def address_of(request: HttpRequest) -> str:
    """Give the peer's address; uvicorn has put a trusted proxy's word in its place."""
    return str(request.META.get("REMOTE_ADDR") or "127.0.0.1")


def _begin_session(request: HttpRequest, user: User, target: str) -> HttpResponse:
    now = middleware.clock.now().isoformat()
    auth.login(request, user, backend=_BACKEND)
    request.session[sessions.SIGNED_IN_AT] = now
    request.session[sessions.SEEN_AT] = now
    request.session[sessions.ADDRESS] = address_of(request)
    request.session[sessions.USER_AGENT] = request.headers.get("User-Agent", "")[:200]
    response = redirect(target)
    _remember_language(response, user.language)
    return response


def _remember_language(response: HttpResponse, language: str) -> None:
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        language,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    translation.activate(language)


def _safe_target(request: HttpRequest) -> str:
    """Give the wished next page when it is one of ours, else the first page."""
    wished = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(
        wished, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wished if is_ours else settings.LOGIN_REDIRECT_URL


def _show_sign_in(request: HttpRequest, form: SignInForm, target: str, *, status: int = 200) -> HttpResponse:
    return render(request, "portal/signin/sign_in.html", {"form": form, "next": target}, status=status)


def _show_password(request: HttpRequest, form: PasswordForm, *, status: int) -> HttpResponse:
    must = viewer_of(request).must_change_password
    return render(
        request, "portal/signin/password.html", {"form": form, "must_change_password": must}, status=status
    )


def _act(request: HttpRequest) -> Act:
    return Act(at=middleware.clock.now(), actor=viewer_of(request), address=address_of(request))

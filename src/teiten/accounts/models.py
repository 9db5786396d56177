"""Who may enter: organisations, people, API tokens, sessions, and what happened to them.

Rows of :class:`SecurityEvent` are never changed or deleted; a trigger in the
database refuses it. People are switched off, not deleted, so that the record of
what they did keeps its subject.
"""

from __future__ import annotations

from typing import ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

#: What a user ID looks like; it is compared in lower case.
USER_ID_PATTERN = r"^[a-z0-9][a-z0-9._-]{1,63}$"
#: What a short code (organisation, region) looks like.
CODE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,39}$"


class Role(models.TextChoices):
    """What a person may do; each role may also do what the ones below it may."""

    MEMBER = "member", _("Member")
    ANALYST = "analyst", _("Analyst")
    OPERATOR = "operator", _("Operator")


class Language(models.TextChoices):
    """The languages of the portal."""

    JAPANESE = "ja", "日本語"
    ENGLISH = "en", "English"


class Scope(models.TextChoices):
    """What an API token may be used for."""

    SEARCH = "search", _("Search and figures")
    EXPORT = "export", _("Export of rows")
    SENSORS = "sensors", _("State of sensors")


class Organisation(models.Model):
    """A member of the observatory."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    code = models.CharField(
        _("code"),
        max_length=40,
        unique=True,
        validators=[RegexValidator(CODE_PATTERN)],
        db_comment="組織コード(英小文字・数字・ハイフン)",
    )
    name_ja = models.CharField(_("name in Japanese"), max_length=200, db_comment="組織名(日本語)")
    name_en = models.CharField(_("name in English"), max_length=200, db_comment="組織名(英語)")
    is_active = models.BooleanField(
        _("active"), default=True, db_comment="有効なら真。偽の組織の利用者はサインインできない"
    )
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")

    class Meta:
        verbose_name = _("organisation")
        verbose_name_plural = _("organisations")
        db_table_comment = "参加組織"
        constraints = (
            models.CheckConstraint(condition=Q(code__regex=CODE_PATTERN), name="organisation_code_form"),
        )

    def __str__(self) -> str:
        return self.code


class UserManager(BaseUserManager["User"]):
    """What Django's own code asks of a user model; people are made by ``services.create_user``."""

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(user_id=(username or "").lower())


class User(AbstractBaseUser):
    """A person who signs in with a user ID and a password."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    user_id = models.CharField(
        _("user ID"),
        max_length=64,
        unique=True,
        validators=[RegexValidator(USER_ID_PATTERN)],
        db_comment="利用者ID(英小文字で比較する)",
    )
    password = models.CharField(_("password"), max_length=200, db_comment="パスワードのargon2idハッシュ")
    last_login = models.DateTimeField(
        _("last sign-in"), null=True, blank=True, db_comment="最終サインイン日時(UTC)"
    )
    display_name = models.CharField(_("display name"), max_length=200, db_comment="表示名")
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        related_name="users",
        verbose_name=_("organisation"),
        db_comment="所属組織",
    )
    role = models.CharField(
        _("role"), max_length=16, choices=Role.choices, db_comment="役割(member, analyst, operator)"
    )
    language = models.CharField(
        _("language"),
        max_length=8,
        choices=Language.choices,
        default=Language.JAPANESE,
        db_comment="表示言語(ja, en)",
    )
    is_active = models.BooleanField(
        _("active"), default=True, db_comment="有効なら真。偽ならサインインできない"
    )
    must_change_password = models.BooleanField(
        _("must change password"), default=True, db_comment="次のサインインでパスワード変更を求めるなら真"
    )
    may_see_payload = models.BooleanField(
        _("may see payload"),
        default=False,
        db_comment="ペイロードの閲覧を許すなら真。閲覧のたびに理由の記録も要る。運用者と分析官だけに付けられる",
    )
    password_changed_at = models.DateTimeField(_("password changed at"), db_comment="パスワード変更日時(UTC)")
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")

    USERNAME_FIELD = "user_id"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["display_name"]
    objects: ClassVar[UserManager] = UserManager()

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        db_table_comment = "利用者"
        constraints = (
            models.CheckConstraint(condition=Q(user_id__regex=USER_ID_PATTERN), name="user_user_id_form"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="user_role_known"),
            models.CheckConstraint(condition=Q(language__in=Language.values), name="user_language_known"),
            models.CheckConstraint(
                condition=Q(may_see_payload=False) | ~Q(role=Role.MEMBER), name="user_payload_not_for_members"
            ),
        )

    def __str__(self) -> str:
        return self.user_id

    def has_role(self, role: Role) -> bool:
        """Tell whether this person may do what ``role`` may."""
        ranks = list(Role)
        return ranks.index(Role(self.role)) >= ranks.index(role)


class ApiToken(models.Model):
    """A secret that opens the API for one person; only its hash is kept."""

    id = models.CharField(_("token id"), primary_key=True, max_length=16, db_comment="トークンID(公開部分)")
    user = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="api_tokens", verbose_name=_("user"), db_comment="持ち主"
    )
    name = models.CharField(_("name"), max_length=100, db_comment="用途の名前")
    secret_sha256 = models.BinaryField(_("hash of the secret"), max_length=32, db_comment="秘密部分のSHA-256")
    scopes = ArrayField(
        models.CharField(max_length=16, choices=Scope.choices),
        verbose_name=_("scopes"),
        db_comment="許す範囲",
    )
    cidr = models.CharField(
        _("allowed network"), max_length=49, blank=True, db_comment="利用元ネットワーク(CIDR)。空なら制限なし"
    )
    created_at = models.DateTimeField(_("created at"), db_comment="発行日時(UTC)")
    expires_at = models.DateTimeField(_("expires at"), db_comment="期限(UTC)。発行から1年以内")
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, db_comment="失効日時(UTC)")
    last_used_at = models.DateTimeField(
        _("last used at"), null=True, blank=True, db_comment="最終利用日時(UTC)"
    )

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        db_table_comment = "APIトークン"
        constraints = (
            models.CheckConstraint(
                condition=Q(expires_at__gt=models.F("created_at")), name="api_token_expires_after_creation"
            ),
        )

    def __str__(self) -> str:
        return f"tto_{self.id}"


class Session(AbstractBaseSession):
    """A browser that is signed in."""

    session_key = models.CharField(
        _("key"), max_length=64, primary_key=True, db_comment="セッション鍵のハッシュ(鍵そのものは保存しない)"
    )
    session_data = models.TextField(_("content"), db_comment="セッション内容(署名付き)")
    expire_date = models.DateTimeField(_("expires at"), db_index=True, db_comment="期限(UTC)")
    user = models.ForeignKey(
        User,
        on_delete=models.CASCADE,
        null=True,
        related_name="sessions",
        verbose_name=_("user"),
        db_comment="利用者",
    )
    signed_in_at = models.DateTimeField(_("signed in at"), null=True, db_comment="サインイン日時(UTC)")
    seen_at = models.DateTimeField(_("last seen at"), null=True, db_comment="最終操作日時(UTC)")
    address = models.GenericIPAddressField(_("address"), null=True, db_comment="サインイン元アドレス")
    user_agent = models.CharField(_("browser"), max_length=200, blank=True, db_comment="ブラウザの名乗り")

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        db_table_comment = "サインイン中のセッション"

    def __str__(self) -> str:
        return self.session_key[:8]


class SignInCounter(models.Model):
    """How often a sign-in was tried for a user, an address, or both; the subject only as a keyed hash."""

    key = models.CharField(
        _("key"), primary_key=True, max_length=64, db_comment="対象(利用者、アドレス、その組)の鍵付きハッシュ"
    )
    subject = models.CharField(
        _("user"), max_length=64, db_index=True, blank=True, db_comment="利用者IDの鍵付きハッシュ(解除のため)"
    )
    attempts = models.PositiveIntegerField(_("attempts"), db_comment="数えた試行回数")
    last_attempt_at = models.DateTimeField(_("last attempt at"), db_comment="最後に数えた試行の日時(UTC)")

    class Meta:
        verbose_name = _("sign-in counter")
        verbose_name_plural = _("sign-in counters")
        db_table_comment = "サインイン試行の計数(ロックアウト用)"

    def __str__(self) -> str:
        return self.key[:8]


class SecurityEventKind(models.TextChoices):
    """What the security log records."""

    SIGN_IN = "sign_in", _("Signed in")
    SIGN_IN_FAILED = "sign_in_failed", _("Sign-in failed")
    SIGN_IN_LOCKED = "sign_in_locked", _("Sign-in locked")
    SIGN_OUT = "sign_out", _("Signed out")
    SESSION_ENDED = "session_ended", _("Session ended by its owner")
    USER_CREATED = "user_created", _("User created")
    USER_CHANGED = "user_changed", _("User changed")
    PASSWORD_CHANGED = "password_changed", _("Password changed")
    PASSWORD_RESET = "password_reset", _("Password reset")
    TOKEN_ISSUED = "token_issued", _("API token issued")
    TOKEN_REVOKED = "token_revoked", _("API token revoked")
    TOKEN_REFUSED = "token_refused", _("API token refused")


class SecurityEvent(models.Model):
    """One thing that happened about access; appended, never changed."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    at = models.DateTimeField(_("at"), db_index=True, db_comment="日時(UTC)")
    kind = models.CharField(_("kind"), max_length=32, choices=SecurityEventKind.choices, db_comment="種別")
    user = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="security_events",
        verbose_name=_("user"),
        db_comment="対象の利用者。不明なら空",
    )
    actor = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="security_acts",
        verbose_name=_("actor"),
        db_comment="行った利用者。コマンドなら空",
    )
    address = models.GenericIPAddressField(_("address"), null=True, db_comment="操作元アドレス")
    detail = models.JSONField(_("detail"), default=dict, db_comment="詳細(秘密は含まない)")

    class Meta:
        verbose_name = _("security event")
        verbose_name_plural = _("security events")
        db_table_comment = "セキュリティ記録(追記のみ)"
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=SecurityEventKind.values), name="security_event_kind_known"
            ),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"


class AuditRecord(models.Model):
    """One thing that was done to the fleet; appended to a chain of digests, never changed."""

    number = models.BigIntegerField(_("number"), primary_key=True, db_comment="通番(1から、欠番なし)")
    at = models.DateTimeField(_("at"), db_index=True, db_comment="日時(UTC)")
    kind = models.CharField(_("kind"), max_length=64, db_comment="種別(例 sensor.suspended)")
    subject = models.CharField(_("subject"), max_length=100, db_comment="対象(例 sensor:12)")
    actor = models.CharField(
        _("actor"), max_length=64, blank=True, db_comment="行った利用者のID。コマンド・自動なら空"
    )
    content = models.TextField(_("content"), db_comment="正規形の記録(JSON)。要約値の対象")
    previous = models.BinaryField(
        _("digest before"), max_length=32, db_comment="直前の記録の要約値(SHA-256、32バイト)"
    )
    digest = models.BinaryField(
        _("digest"), max_length=32, db_comment="直前の要約値と内容の要約値(SHA-256、32バイト)"
    )

    class Meta:
        verbose_name = _("audit record")
        verbose_name_plural = _("audit records")
        db_table_comment = "監査記録(追記のみ、要約値の連鎖)"
        indexes = (
            models.Index(fields=["subject", "-number"], name="audit_by_subject"),
            models.Index(fields=["kind", "-number"], name="audit_by_kind"),
        )
        constraints = (models.CheckConstraint(condition=Q(number__gte=1), name="audit_number_from_1"),)

    def __str__(self) -> str:
        return f"{self.number} {self.kind} {self.subject}"

"""Organisations that house sensors: whom to call, and what operators may command there."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from teiten.accounts.models import Language, Organisation, User

#: Classes of commands that a host who has said nothing has agreed to.
DEFAULT_CLASSES = ("A", "B")
COMMAND_CLASSES = ("A", "B", "C", "D")


def default_classes() -> list[str]:
    """Give what a new agreement holds."""
    return list(DEFAULT_CLASSES)


class HostAgreement(models.Model):
    """Which classes of commands an organisation lets operators give to its sensors."""

    organisation = models.OneToOneField(
        Organisation,
        on_delete=models.PROTECT,
        primary_key=True,
        related_name="host_agreement",
        verbose_name=_("organisation"),
        db_comment="設置組織",
    )
    command_classes = ArrayField(
        models.CharField(max_length=1),
        verbose_name=_("agreed command classes"),
        default=default_classes,
        db_comment="同意済みのコマンド区分(A, B, C, D)",
    )
    note = models.CharField(_("note"), max_length=200, blank=True, db_comment="根拠(契約・合意など)")
    agreed_at = models.DateTimeField(_("agreed at"), db_comment="同意を記録した日時(UTC)")

    class Meta:
        verbose_name = _("host agreement")
        verbose_name_plural = _("host agreements")
        db_table_comment = "設置組織が同意したコマンド区分。行がなければAとB"
        constraints = (
            models.CheckConstraint(
                condition=Q(command_classes__contained_by=list(COMMAND_CLASSES)),
                name="host_agreement_classes_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.organisation_id} {''.join(self.command_classes)}"


class HostContact(models.Model):
    """Somebody at a host who is told when something is wrong with its sensors."""

    id = models.BigAutoField(_("number"), primary_key=True, db_comment="通番")
    organisation = models.ForeignKey(
        Organisation,
        on_delete=models.PROTECT,
        related_name="host_contacts",
        verbose_name=_("organisation"),
        db_comment="設置組織",
    )
    name = models.CharField(_("name"), max_length=100, db_comment="氏名または部署名")
    mail = models.EmailField(_("mail address"), max_length=254, db_comment="メールアドレス")
    language = models.CharField(
        _("language"),
        max_length=8,
        choices=Language.choices,
        default=Language.JAPANESE,
        db_comment="連絡の言語(ja, en)",
    )
    created_at = models.DateTimeField(_("created at"), db_comment="登録日時(UTC)")
    created_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        null=True,
        related_name="+",
        verbose_name=_("entered by"),
        db_comment="登録した利用者。コマンドなら空",
    )

    class Meta:
        verbose_name = _("contact of a host")
        verbose_name_plural = _("contacts of hosts")
        db_table_comment = "設置組織の連絡先"
        constraints = (
            models.UniqueConstraint(fields=["organisation", "mail"], name="host_contact_mail_once"),
        )

    def __str__(self) -> str:
        return f"{self.organisation_id} {self.name}"

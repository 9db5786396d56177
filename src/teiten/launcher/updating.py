"""One look for updates: refresh, apply, choose, fetch, unpack, try, flip."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuf.api.metadata import TargetFile  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.launcher import applying, files, trying
from teiten.launcher.choosing import Host, Offer, choose_release, read_offer
from teiten.launcher.config import LauncherConfig
from teiten.launcher.errors import UpdateBlocked
from teiten.launcher.fetching import PART_SUFFIX
from teiten.launcher.flipping import Bench, flip, settle
from teiten.launcher.releases import PART_PREFIX, read_manifest
from teiten.launcher.reporting import write_report
from teiten.launcher.trust import Repository, blocked_by_disk
from teiten.launcher.unpacking import Bounds, unpack

_log = logging.getLogger(__name__)
_DAY_US = 86_400_000_000
#: A sensor may have windows of up to an hour; the first one of a release must end within its probation.
_LONGEST_WINDOW_SECONDS = 3_600
_ORDINARY_WINDOW_SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """What a look for updates has led to."""

    #: Release that is on probation now; 0: none was taken.
    release: int = 0
    #: Settings that were replaced.
    applied: tuple[str, ...] = ()


def update(bench: Bench, config: LauncherConfig) -> Outcome:
    """Look once; whoever holds the launcher's lock may call it.

    Raises:
        UpdateBlocked: with its cause, which the heartbeat will tell; nothing has changed.
    """
    settle(bench)
    if bench.shelf.read_pending() is not None:
        write_report(bench.shelf)
        return Outcome()
    try:
        outcome = _look(bench, config)
    except UpdateBlocked as error:
        write_report(bench.shelf, blocked=f"{error.cause}: {error.text}")
        raise
    except OSError as error:
        blocked = blocked_by_disk(error)
        write_report(bench.shelf, blocked=f"{blocked.cause}: {blocked.text}")
        raise blocked from error
    if not outcome.release:
        write_report(bench.shelf, blocked="")
    return outcome


def apply_only(bench: Bench, config: LauncherConfig) -> tuple[str, ...]:
    """Take signed settings, whatever is on probation; gives their names.

    Raises:
        UpdateBlocked: with its cause.
    """
    repository, targets = _refresh(bench, config)
    return applying.apply_settings(bench, repository, targets)


def _look(bench: Bench, config: LauncherConfig) -> Outcome:
    _empty_downloads(bench.places.downloads)
    repository, targets = _refresh(bench, config)
    bench.at("update.refreshed")
    applied = applying.apply_settings(bench, repository, targets)
    chosen = choose_release(_list_offers(targets), _describe_host(bench, config))
    if chosen is None:
        _empty_downloads(bench.places.downloads, but_parts=False)
        return Outcome(applied=applied)
    _log.info("A release is fetched", extra={"release": chosen.release, "bytes": chosen.size_bytes})
    if not bench.shelf.has(chosen.release):
        _bring(bench, config, repository=repository, target=targets[chosen.path], offer=chosen)
    flip(bench, chosen.release, probation_seconds=_choose_probation(bench, config))
    return Outcome(chosen.release, applied)


def _refresh(bench: Bench, config: LauncherConfig) -> tuple[Repository, Mapping[str, TargetFile]]:
    """Ask where the signed settings say the gateway is, then where the installation said."""
    signed = applying.read_signed_url(bench.places)
    urls = [signed, config.update_url] if signed and signed != config.update_url else [config.update_url]
    for url in urls[:-1]:
        repository = Repository(bench.places, bench.machine, config, url=url)
        try:
            return repository, repository.refresh()
        except UpdateBlocked as error:
            if error.cause != "network":
                raise
            _log.warning("The repository cannot be reached", extra={"url": url, "error": error.text})
    repository = Repository(bench.places, bench.machine, config, url=urls[-1])
    return repository, repository.refresh()


def _list_offers(targets: Mapping[str, TargetFile]) -> list[Offer]:
    read = (read_offer(path, target.length, target.custom or {}) for path, target in targets.items())
    return [offer for offer in read if offer is not None]


def _describe_host(bench: Bench, config: LauncherConfig) -> Host:
    shelf, machine = bench.shelf, bench.machine
    return Host(
        machine.python,
        machine.arch,
        current=shelf.current,
        allowed=find_allowed(bench, config),
        may_try=shelf.may_try,
    )


def find_allowed(bench: Bench, config: LauncherConfig) -> int | None:
    """Give the newest release that may be taken now; None: any, because nobody has been heard for long.

    What the base hints and what an operator commands only choose among signed releases.
    """
    places, now_us = bench.places, bench.machine.clock.now_us()
    heard_us = max(
        files.take_int(files.read_json(places.health), "heartbeat_at_us"), bench.shelf.committed_at_us
    )
    if now_us - heard_us > config.patience_days * _DAY_US:
        return None
    told = [files.take_int(files.read_json(path), "release") for path in (places.hint, places.wanted)]
    return max(told)


def _choose_probation(bench: Bench, config: LauncherConfig) -> int:
    """Give the new release time for its first window where windows are long."""
    window = files.take_int(files.read_json(bench.places.health), "window_seconds", _ORDINARY_WINDOW_SECONDS)
    beyond = min(window, _LONGEST_WINDOW_SECONDS) - _ORDINARY_WINDOW_SECONDS
    return config.probation_seconds + max(0, beyond)


def _bring(
    bench: Bench, config: LauncherConfig, *, repository: Repository, target: TargetFile, offer: Offer
) -> None:
    """Fetch, unpack and try a release; its folder appears only when all of it is good and durable."""
    try:
        _check_room(bench, config, offer)
    except UpdateBlocked as error:
        _give_up(bench, offer, error)
        raise
    bundle = repository.fetch(target)
    bench.at("update.fetched")
    try:
        place_release(bench, config, bundle=bundle, offer=offer)
    finally:
        bundle.unlink(missing_ok=True)


def place_release(bench: Bench, config: LauncherConfig, *, bundle: Path, offer: Offer | None) -> int:
    """Unpack a bundle and let it appear among the releases; gives its number.

    Raises:
        UpdateBlocked: ``bundle`` when it is not what it should be; it is not fetched again.
    """
    part = bench.places.releases / f"{PART_PREFIX}{bundle.name}"
    try:
        release = _unpack_checked(bench, config, bundle=bundle, part=part, offer=offer)
        bench.at("update.unpacked")
        bench.shelf.remove_damaged(release)
        part.rename(bench.places.release(release))
        files.sync_folder(bench.places.releases)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, UpdateBlocked) and offer is not None:
            _give_up(bench, offer, error)
        raise
    bench.at("update.placed")
    return release


def _give_up(bench: Bench, offer: Offer, error: UpdateBlocked) -> None:
    """Never take a release again whose bundle is wrong; what the host lacks is no fault of the bundle."""
    if error.cause == "bundle":
        bench.shelf.mark_bad(offer.release, error.text, is_doubtful=False)


def _unpack_checked(
    bench: Bench, config: LauncherConfig, *, bundle: Path, part: Path, offer: Offer | None
) -> int:
    machine = bench.machine
    unpack(bundle, part, Bounds(config.max_unpacked_bytes, config.max_entries))
    manifest = read_manifest(part)
    if manifest is None:
        raise UpdateBlocked("bundle", f"{bundle.name} holds no release (RELEASE.json, lib/)")
    if (manifest.python, manifest.arch) != (machine.python, machine.arch):
        raise UpdateBlocked(
            "bundle",
            f"{bundle.name} is for Python {manifest.python} on {manifest.arch}, not {machine.python} on {machine.arch}",
        )
    if offer is not None and manifest.release != offer.release:
        raise UpdateBlocked("bundle", f"{bundle.name} holds release {manifest.release}")
    trying.try_import(part, user=config.user)
    return manifest.release


def _check_room(bench: Bench, config: LauncherConfig, offer: Offer) -> None:
    if offer.size_bytes > config.max_bundle_bytes or offer.unpacked_bytes > config.max_unpacked_bytes:
        raise UpdateBlocked(
            "bundle", f"{offer.path} is larger than launcher.max_bundle_bytes or max_unpacked_bytes"
        )
    # The bundle stands twice while it is verified; what a download that broke off has left is there already.
    here = sum(path.stat().st_size for path in bench.places.downloads.glob(f"*{PART_SUFFIX}"))
    needed = max(0, 2 * offer.size_bytes - here) + offer.unpacked_bytes + config.min_free_bytes
    for folder in (bench.places.program, bench.places.downloads):
        free = bench.machine.count_free(folder)
        if free < needed:
            raise UpdateBlocked("disk full", f"{folder} has {free:,} bytes free; {needed:,} are needed")


def _empty_downloads(folder: Path, *, but_parts: bool = True) -> None:
    """Remove what a cut-short update has left: it would be in the way of a full disk."""
    with contextlib.suppress(FileNotFoundError):
        for path in folder.iterdir():
            if not (but_parts and path.suffix == PART_SUFFIX):
                path.unlink(missing_ok=True)

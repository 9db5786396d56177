"""Which bundles are on offer: numbers only grow, the newest few of each Python and processor stay."""

from __future__ import annotations

from collections.abc import Mapping

from tuf.api.metadata import Metadata, TargetFile, Targets  # type: ignore[attr-defined]  # re-exported without __all__

from teiten.fleet.releases.bundles import Bundle
from teiten.fleet.releases.errors import ReleaseError

#: Releases of each Python and processor that stay on offer.
KEPT_RELEASES = 3


def check_new(bundle: Bundle, published: Metadata[Targets] | None) -> None:
    """Refuse a bundle that sensors would never take.

    Raises:
        ReleaseError: when its number was published with other content, or is below one that was.
    """
    known = published.signed.targets if published is not None else {}
    same = known.get(bundle.target)
    if same is not None and same.hashes["sha256"] != bundle.sha256:
        raise ReleaseError(
            f"{bundle.path.name} was published with other content; sensors that have it would keep it: "
            "give the new one a higher release number"
        )
    told = [file.custom or {} for name, file in known.items() if name != bundle.target]
    kind = (bundle.python, bundle.arch)
    newest = max((one["release"] for one in told if (one.get("python"), one.get("arch")) == kind), default=0)
    if same is None and bundle.release < newest:
        raise ReleaseError(
            f"{bundle.path.name} is below release {newest}, which is published for Python {bundle.python} on "
            f"{bundle.arch}: sensors never go back, so give it a higher release number"
        )


def keep_wanted(listed: Mapping[str, TargetFile], dropped: set[int]) -> dict[str, TargetFile]:
    """Leave out dropped releases, and all but the newest few of each Python and processor.

    Raises:
        ReleaseError: when a release is to be dropped that is not there.
    """
    there = {(file.custom or {}).get("release") for file in listed.values()}
    if dropped - there:
        raise ReleaseError(
            f"release {min(dropped - there)} is not on offer, so it cannot be dropped; "
            "`teiten release status` lists what is"
        )
    kept: dict[str, TargetFile] = {}
    seen: dict[tuple[str, str], int] = {}
    for name, file in sorted(listed.items(), key=lambda item: -int((item[1].custom or {}).get("release", 0))):
        custom = file.custom or {}
        if "release" not in custom:
            kept[name] = file
            continue
        kind = (custom["python"], custom["arch"])
        if custom["release"] in dropped or seen.get(kind, 0) >= KEPT_RELEASES:
            continue
        seen[kind] = seen.get(kind, 0) + 1
        kept[name] = file
    return kept

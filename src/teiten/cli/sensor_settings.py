"""What a sensor of this installation must be told; none of it is secret."""

from __future__ import annotations

from pathlib import Path

from teiten.cli.installation import Installation
from teiten.gateway.tls import pin_of
from teiten.protocol import keys


def gateway_url(installation: Installation) -> str:
    """Give the gateway's address for sensors on this machine."""
    config = installation.gateway_config
    host = "127.0.0.1" if config.host in ("", "0.0.0.0", "::") else config.host  # noqa: S104 - compared, nothing is bound
    return f"https://{host}:{config.port}"


def gateway_pin(installation: Installation) -> str:
    """Give the pin of the gateway's TLS key; the certificate is made when there is none."""
    from teiten.gateway import tls

    config = installation.gateway_config
    if config.tls_certificate is not None:
        return pin_of(config.tls_certificate)
    host = config.authority.rsplit(":", 1)[0].strip("[]")
    return pin_of(
        tls.make_self_signed(installation.gateway_key_dir, host=host, now=installation.clock.now())[0]
    )


def gateway_key_text(installation: Installation) -> str:
    """Give the gateway's signing key as sensors are told it: ``id=base64url``."""
    public = keys.public_bytes(installation.gateway_key)
    return f"{keys.gateway_key_id(public)}={keys.to_text(public)}"


def write_sensor_settings(
    installation: Installation, path: Path, *, state_dir: Path | None, extra: dict[str, object], url: str = ""
) -> Path:
    """Write the TOML file that a sensor of this installation needs; it holds no secret."""
    values = sensor_settings(installation, state_dir=state_dir, extra=extra, url=url)
    lines = [f"{name} = {value}" for name, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["[sensor]", *lines, ""]), encoding="utf-8")
    return path


def sensor_settings(
    installation: Installation, *, state_dir: Path | None, extra: dict[str, object], url: str = ""
) -> dict[str, str]:
    """Give what a sensor of this installation must be told, as name → TOML value."""
    values: dict[str, object] = {
        **({} if state_dir is None else {"state_dir": str(state_dir)}),
        "gateway_url": url or gateway_url(installation),
        "authority": installation.gateway_config.authority,
        "pins": [gateway_pin(installation)],
        "gateway_keys": [gateway_key_text(installation)],
        **extra,
    }
    return {name: _toml(value) for name, value in values.items()}


def _toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value).lower()

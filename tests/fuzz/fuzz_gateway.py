"""Coverage-guided fuzzing of the gateway's HTTP side and its endpoints (atheris).

    .venv/bin/python tests/fuzz/fuzz_gateway.py [-max_total_time=600] [FOLDER OF INPUTS]

The first byte of an input says what the rest is: bytes on the wire as they are, a body that
the honest sensor signs, or an honest request that is cut, doubled and joined.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent))
with atheris.instrument_imports(include=["teiten.gateway", "teiten.protocol"]):
    from changing import change
    from honest_inputs import list_honest
    from wire_harness import BEAT, WireHarness, honest_batch, signed, unsigned

#: Path, honest body, whether the sensor signs.
ASKED = (
    ("/v1/heartbeat", "heartbeat", True),
    ("/v1/keys/rotate", "rotate_request", True),
    ("/v1/enrol", "enrol_request", False),
    ("/v1/recover", "recover_request", False),
)
TARGETS = (*(path for path, _name, _signs in ASKED), "/v1/batches/1/1", "/v1/commands")
HONEST = list_honest()
logging.getLogger("teiten").setLevel(logging.CRITICAL)
HARNESS = WireHarness()


def test_one_input(data: bytes) -> None:
    """Let the gateway answer one input."""
    given = atheris.FuzzedDataProvider(data)
    said = MAKERS[given.ConsumeIntInRange(0, len(MAKERS) - 1)](given)
    cut = given.ConsumeIntInRange(0, len(said))
    HARNESS.check([part for part in (said[:cut], said[cut:]) if part])


def make_raw(given: atheris.FuzzedDataProvider) -> bytes:
    """Give bytes as they are."""
    return bytes(given.ConsumeBytes(4096))


def make_signed(given: atheris.FuzzedDataProvider) -> bytes:
    """Let the honest sensor sign whatever body."""
    target = given.PickValueInList(list(TARGETS))
    return signed("PUT" if "batches" in target else "POST", target, given.ConsumeBytes(4096))


def make_changed(given: atheris.FuzzedDataProvider) -> bytes:
    """Change an honest message, and sign it anew where the sensor signs."""
    path, name, signs = ASKED[given.ConsumeIntInRange(0, len(ASKED) - 1)]
    body = change(json.loads(HONEST[name]), given)
    return signed("POST", path, body) if signs else unsigned(path, body)


def spoil(given: atheris.FuzzedDataProvider) -> bytes:
    """Put bytes into an honest request, or take some out of it."""
    honest = bytearray(
        given.PickValueInList([honest_batch(), signed("POST", "/v1/heartbeat", BEAT.to_json())])
    )
    for _ in range(given.ConsumeIntInRange(0, 4)):
        place = given.ConsumeIntInRange(0, len(honest))
        gone = given.ConsumeIntInRange(0, 40)
        honest[place : place + gone] = given.ConsumeBytes(given.ConsumeIntInRange(0, 40))
    return bytes(honest)


MAKERS = (make_raw, make_signed, make_changed, spoil)

if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()

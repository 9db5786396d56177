"""Messages about keys: which one sealed, which one follows, which one replaces what was lost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from teiten.protocol import enrolment, heartbeat, keys, recovery, rotation, seal
from teiten.protocol.enrolment import EnrolAnswer
from teiten.protocol.errors import MessageError, SealError, SignatureError, TokenError
from teiten.protocol.heartbeat import HeartbeatAnswer
from teiten.protocol.sensor_config import SensorConfig

pytestmark = pytest.mark.requirement("R1.2", "R2.1")

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SEAL = bytes(range(64))
NONCE = "n" * 22


class TestSealField:
    @given(sealed=st.binary(min_size=64, max_size=64), key_no=st.none() | st.integers(1, 999_999_999))
    def test_it_is_read_as_written(self, sealed: bytes, key_no: int | None) -> None:
        assert seal.parse_field(seal.format_seal(sealed, key_no)) == (sealed, key_no)

    @pytest.mark.parametrize(
        "after",
        [";key_no=0", ";key_no=01", ";key_no=-1", ";key_no=1;key_no=2", "; key_no=1", ";key_no=", ";KEY_NO=1",
         ";key_no=1 ", ";key_no=\u0661", ";key_no=9999999999", ",:AA==:", "\n"],
    )  # fmt: skip
    def test_another_form_is_refused(self, after: str) -> None:
        with pytest.raises(SealError) as caught:
            seal.parse_field(seal.format_seal(SEAL) + after)
        assert caught.value.code == "seal.form"


class TestRotation:
    def test_it_works(self) -> None:
        made = rotation.make_request(KEY, sensor=7, key_no=2, sealed_to=41)

        read = rotation.read_request(made.to_json())
        rotation.verify_proof(read)

        assert read == made
        answer = rotation.RotateAnswer(7, 2, 1)
        assert rotation.read_answer(answer.to_json()) == answer

    @pytest.mark.parametrize(
        "change",
        [{"sensor": 8}, {"key_no": 3}, {"sealed_to": 42}, {"public_key": keys.public_bytes(OTHER)}],
    )
    def test_the_proof_holds_for_nothing_else(self, change: dict[str, object]) -> None:
        made = rotation.make_request(KEY, sensor=7, key_no=2, sealed_to=41)

        with pytest.raises(SignatureError, match="new public key"):
            rotation.verify_proof(replace(made, **change))  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("key_no", 1),
            ("key_no", "2"),
            ("sensor", 0),
            ("sealed_to", -1),
            ("sealed_to", (1 << 62) + 1),
            ("public_key", "A"),
            ("other", 1),
        ],
    )
    def test_a_bad_field_is_named(self, field: str, value: object) -> None:
        told = json.loads(rotation.make_request(KEY, sensor=7, key_no=2, sealed_to=0).to_json())

        with pytest.raises(MessageError, match=field):
            rotation.read_request(json.dumps({**told, field: value}).encode())


class TestRecovery:
    TOKEN = enrolment.make_token("0abc", b"s" * 32, prefix="tr1")

    def make(self, **given: object) -> recovery.RecoverRequest:
        asked = {"sensor": 7, "created_s": 5, "nonce": NONCE, **given}
        return recovery.make_request(self.TOKEN, KEY, **asked)  # type: ignore[arg-type]

    @pytest.mark.parametrize("sensor", [None, 7])
    def test_it_works(self, sensor: int | None) -> None:
        read = recovery.read_request(self.make(sensor=sensor).to_json())

        recovery.verify_proof(read, self.TOKEN.secret)
        recovery.verify_possession(read)
        assert read.sensor == sensor

    def test_proofs_hold_for_nothing_else(self) -> None:
        made = self.make()
        with pytest.raises(TokenError):
            recovery.verify_proof(made, b"x" * 32)
        for change in ({"sensor": 8}, {"created_s": 6}, {"public_key": keys.public_bytes(OTHER)}):
            changed = replace(made, **change)  # type: ignore[arg-type]
            with pytest.raises(TokenError):
                recovery.verify_proof(changed, self.TOKEN.secret)
            with pytest.raises(SignatureError):
                recovery.verify_possession(changed)

    def test_a_proof_of_enrolment_is_none_of_recovery(self) -> None:
        facts = enrolment.Facts("a", "b", "c", "d")
        asked = enrolment.make_request(self.TOKEN, KEY, facts=facts, created_s=5, nonce=NONCE)
        stolen = replace(self.make(), proof=asked.proof, signature=asked.signature)
        with pytest.raises(TokenError):
            recovery.verify_proof(stolen, self.TOKEN.secret)
        with pytest.raises(SignatureError):
            recovery.verify_possession(stolen)

    def test_a_token_says_what_it_is_for(self) -> None:
        enrols = enrolment.make_token("0abc", b"s" * 32)
        assert enrolment.parse_token(str(self.TOKEN), prefix="tr1") == self.TOKEN
        with pytest.raises(TokenError, match="teiten-sensor recover"):
            enrolment.parse_token(str(self.TOKEN))
        with pytest.raises(TokenError, match="teiten-sensor enrol"):
            enrolment.parse_token(str(enrols), prefix="tr1")
        with pytest.raises(TokenError, match="form"):
            enrolment.parse_token("tx1_0abc_" + "A" * 43)


class TestStanding:
    @pytest.mark.parametrize("standing", [None, "pending_approval", "suspended", "quarantined"])
    def test_it_is_read_as_written(self, standing: str | None) -> None:
        answer = EnrolAnswer(7, 1, 1, (), 1, SensorConfig(), standing)  # type: ignore[arg-type]
        beat = HeartbeatAnswer(1, SensorConfig(), standing=standing)  # type: ignore[arg-type]

        assert enrolment.read_answer(answer.to_json()) == answer
        assert heartbeat.read_answer(beat.to_json()) == beat

    def test_an_active_sensor_hears_what_older_ones_understand(self) -> None:
        assert b"standing" not in EnrolAnswer(7, 1, 1, (), 1, SensorConfig()).to_json()
        assert b"standing" not in HeartbeatAnswer(1, SensorConfig()).to_json()

    def test_another_word_is_refused(self) -> None:
        told = json.loads(HeartbeatAnswer(1, SensorConfig()).to_json())
        with pytest.raises(MessageError, match="standing"):
            heartbeat.read_answer(json.dumps({**told, "standing": "loved"}).encode())


class TestWeakKeys:
    """A public key under which anybody can sign would let its owner deny what it said."""

    @pytest.mark.parametrize("raw", [b"\x01" + bytes(31), b"\x01" + bytes(30) + b"\x80"])
    def test_a_key_that_verifies_anybodys_signature_is_none(self, raw: bytes) -> None:
        # With the neutral point as public key, s*B of any private key verifies as R, whatever is said.
        seed = b"anybody".ljust(32, b".")
        point = keys.public_bytes(Ed25519PrivateKey.from_private_bytes(seed))
        scalar = bytearray(hashlib.sha512(seed).digest()[:32])
        scalar[0], scalar[31] = scalar[0] & 248, scalar[31] & 63 | 64
        order = 2**252 + 27742317777372353535851937790883648493
        forged = point + (int.from_bytes(scalar, "little") % order).to_bytes(32, "little")

        with pytest.raises(MessageError, match="anybody can sign"):
            keys.load_public(raw).verify(forged, b"restart everything")

    def test_every_other_key_is_one(self) -> None:
        assert keys.public_bytes(keys.generate_key()) != bytes(32)
        keys.load_public(keys.public_bytes(keys.generate_key()))

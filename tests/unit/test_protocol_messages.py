"""Seals, receipts, key files, enrolment and heartbeats: kept whole, and refused by name when not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from teiten.protocol import enrolment, heartbeat, keys, receipt, seal
from teiten.protocol.errors import (
    KeyFileError,
    MessageError,
    ReceiptError,
    SealError,
    SignatureError,
    TokenError,
)
from teiten.protocol.sensor_config import SensorConfig

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
PUBLIC = keys.public_bytes(KEY)
DIGEST = seal.digest_of(b"a batch")
WHAT = {"sensor": 7, "key_no": 1, "epoch": 1, "seq": 42, "digest": DIGEST}


class TestSeal:
    @pytest.mark.requirement("R1.2")
    def test_it_works(self) -> None:
        sealed = seal.seal(KEY, **WHAT)

        seal.verify(PUBLIC, seal.parse_seal(seal.format_seal(sealed)), **WHAT)

    @pytest.mark.parametrize(
        "change", [{"sensor": 8}, {"key_no": 2}, {"epoch": 2}, {"seq": 43}, {"digest": bytes(32)}]
    )
    def test_it_holds_for_nothing_else(self, change: dict[str, object]) -> None:
        sealed = seal.seal(KEY, **WHAT)

        with pytest.raises(SealError, match="is not of key"):
            seal.verify(PUBLIC, sealed, **{**WHAT, **change})

    def test_another_key_is_refused(self) -> None:
        with pytest.raises(SealError):
            seal.verify(keys.public_bytes(OTHER), seal.seal(KEY, **WHAT), **WHAT)

    def test_a_broken_key_is_refused(self) -> None:
        with pytest.raises(SealError):
            seal.verify(b"short", seal.seal(KEY, **WHAT), **WHAT)

    @pytest.mark.parametrize("change", [{"sensor": -1}, {"seq": 1 << 64}, {"digest": b"short"}])
    def test_an_impossible_statement_is_refused(self, change: dict[str, object]) -> None:
        with pytest.raises(SealError):
            seal.seal(KEY, **{**WHAT, **change})

    @pytest.mark.parametrize(
        "text", ["", ":", "::", ":abc:", "x" * 90, ":" + "A" * 88 + ":", ":" + "é" * 88 + ":"]
    )
    def test_a_malformed_field_is_refused(self, text: str) -> None:
        with pytest.raises(SealError) as caught:
            seal.parse_seal(text)

        assert caught.value.code == "seal.form"

    @given(text=st.text(max_size=100))
    def test_any_text_is_refused_without_a_crash(self, text: str) -> None:
        with pytest.raises(SealError):
            seal.parse_seal(text)


KEYS = {"gw.1": PUBLIC}
RECEIPT = receipt.Receipt(7, 1, 42, DIGEST, 1_795_230_000_000_000, "gw.1")
MINE = {"sensor": 7, "epoch": 1, "seq": 42, "digest": DIGEST}


class TestReceipt:
    def test_it_works(self) -> None:
        assert receipt.verify(KEYS, receipt.issue(KEY, RECEIPT), **MINE) == RECEIPT

    @pytest.mark.parametrize("change", [{"sensor": 8}, {"epoch": 2}, {"seq": 1}, {"digest": bytes(32)}])
    def test_it_is_for_one_batch(self, change: dict[str, object]) -> None:
        with pytest.raises(ReceiptError) as caught:
            receipt.verify(KEYS, receipt.issue(KEY, RECEIPT), **{**MINE, **change})

        assert caught.value.code == "receipt.other"

    def test_an_unknown_gateway_is_refused(self) -> None:
        with pytest.raises(ReceiptError, match="not known"):
            receipt.verify({}, receipt.issue(KEY, RECEIPT), **MINE)

    def test_a_forged_one_is_refused(self) -> None:
        with pytest.raises(ReceiptError) as caught:
            receipt.verify(KEYS, receipt.issue(OTHER, RECEIPT), **MINE)

        assert caught.value.code == "receipt.signature"

    def test_a_later_time_cannot_be_written_in(self) -> None:
        text = json.loads(receipt.issue(KEY, RECEIPT)) | {"landed_at_us": 5}

        with pytest.raises(ReceiptError):
            receipt.verify(KEYS, json.dumps(text).encode(), **MINE)

    @given(text=st.binary(max_size=200))
    def test_any_bytes_are_refused_without_a_crash(self, text: bytes) -> None:
        with pytest.raises(ReceiptError):
            receipt.verify(KEYS, text, **MINE)


class TestKeys:
    def test_a_key_file_survives(self, tmp_path: Path) -> None:
        key = keys.generate_key()
        keys.save_private(key, tmp_path / "sensor.key")

        assert keys.public_bytes(keys.load_private(tmp_path / "sensor.key")) == keys.public_bytes(key)
        assert (tmp_path / "sensor.key").stat().st_mode & 0o777 == 0o600
        assert [path.name for path in tmp_path.iterdir()] == ["sensor.key"]

    def test_a_key_is_never_overwritten(self, tmp_path: Path) -> None:
        keys.save_private(KEY, tmp_path / "sensor.key")

        with pytest.raises(KeyFileError, match="cannot be written"):
            keys.save_private(OTHER, tmp_path / "sensor.key")

        assert keys.public_bytes(keys.load_private(tmp_path / "sensor.key")) == PUBLIC

    def test_an_interrupted_save_can_be_repeated(self, tmp_path: Path) -> None:
        (tmp_path / "sensor.key.part").write_bytes(b"torn")

        keys.save_private(KEY, tmp_path / "sensor.key")

        assert keys.public_bytes(keys.load_private(tmp_path / "sensor.key")) == PUBLIC

    def test_a_key_open_to_others_is_refused(self, tmp_path: Path) -> None:
        keys.save_private(KEY, tmp_path / "sensor.key")
        (tmp_path / "sensor.key").chmod(0o640)

        with pytest.raises(KeyFileError, match="chmod 600"):
            keys.load_private(tmp_path / "sensor.key")

    def test_a_file_without_a_key_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "sensor.key"
        path.write_bytes(b"nothing")
        path.chmod(0o600)

        with pytest.raises(KeyFileError, match="no private key"):
            keys.load_private(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(KeyFileError, match="nowhere"):
            keys.load_private(tmp_path / "nowhere")

    def test_a_key_of_another_kind_is_refused(self, tmp_path: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        path = tmp_path / "sensor.key"
        path.write_bytes(
            ec.generate_private_key(ec.SECP256R1()).private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
        )
        path.chmod(0o600)

        with pytest.raises(KeyFileError, match="not Ed25519"):
            keys.load_private(path)

    def test_a_key_id_is_text(self) -> None:
        assert keys.parse_key_id(str(keys.KeyId(4_294_967_295, 3))) == keys.KeyId(4_294_967_295, 3)

    @pytest.mark.parametrize(
        "text", ["", "7", "7.", "07.1", "7.0", "0.1", "4294967296.1", "7.1.1", " 7.1", "\u0667.1"]
    )
    def test_a_malformed_key_id_is_refused(self, text: str) -> None:
        with pytest.raises(MessageError):
            keys.parse_key_id(text)

    @given(raw=st.binary(min_size=32, max_size=32))
    def test_bytes_as_text_come_back(self, raw: bytes) -> None:
        assert keys.from_text(keys.to_text(raw), size_bytes=32) == raw

    @pytest.mark.parametrize(
        "text", ["A" * 42, "A" * 43 + "=", "A" * 42 + "B", "A" * 42 + "+", "é" * 43, "A"]
    )
    def test_another_base64_is_refused(self, text: str) -> None:
        with pytest.raises(MessageError):
            keys.from_text(text, size_bytes=32)


TOKEN = enrolment.make_token("k7f2", bytes(range(32)))
FACTS = enrolment.Facts("debian 12", "x86_64", "3.11.7", "0.1.0")


def make_request() -> enrolment.EnrolRequest:
    return enrolment.make_request(TOKEN, KEY, facts=FACTS, created_s=1_795_230_000, nonce="A" * 22)


class TestEnrolment:
    @pytest.mark.requirement("R1.2")
    def test_it_works(self) -> None:
        request = enrolment.read_request(make_request().to_json())

        assert request == make_request()
        assert request.public_key == PUBLIC
        enrolment.verify_proof(request, TOKEN.secret)
        enrolment.verify_possession(request)

    def test_the_secret_never_travels(self) -> None:
        assert keys.to_text(TOKEN.secret).encode() not in make_request().to_json()

    def test_a_token_is_text(self) -> None:
        assert enrolment.parse_token(f"{TOKEN}\n") == TOKEN

    @pytest.mark.parametrize(
        "text", ["", "tt1_k7f2_short", "tt2_k7f2_" + "A" * 43, "tt1__" + "A" * 43, "tt1_a_" + "B" * 43]
    )
    def test_a_malformed_token_is_refused(self, text: str) -> None:
        with pytest.raises(TokenError):
            enrolment.parse_token(text)

    def test_another_tokens_proof_is_refused(self) -> None:
        with pytest.raises(TokenError):
            enrolment.verify_proof(make_request(), bytes(32))

    @pytest.mark.parametrize(
        "change",
        [{"public_key": keys.public_bytes(OTHER)}, {"created_s": 1}, {"nonce": "B" * 22}, {"token_id": "x"}],
    )
    def test_no_part_can_be_exchanged(self, change: dict[str, object]) -> None:
        request = dataclasses.replace(make_request(), **change)

        with pytest.raises(TokenError):
            enrolment.verify_proof(request, TOKEN.secret)
        with pytest.raises(SignatureError):
            enrolment.verify_possession(request)

    @given(
        ring=st.none() | st.integers(0, 1000),
        chain=st.none()
        | st.builds(heartbeat.ChainHead, st.integers(0, 1 << 40), st.binary(min_size=32, max_size=32)),
        update=st.none()
        | st.builds(
            heartbeat.UpdateState, st.integers(0, 1 << 20), st.sampled_from(["steady", "trying", "blocked"])
        ),
    )
    def test_ring_chain_and_update_survive_and_absent_ones_are_not_written(
        self,
        ring: int | None,
        chain: heartbeat.ChainHead | None,
        update: heartbeat.UpdateState | None,
    ) -> None:
        beat = dataclasses.replace(BEAT, ring_fill_permille=ring, audit=chain, update=update)

        text = beat.to_json()

        assert heartbeat.read_heartbeat(text) == beat
        assert (b'"audit"' in text, b'"update"' in text) == (chain is not None, update is not None)

    @given(release=st.none() | st.integers(0, heartbeat.MAX_RELEASE))
    def test_a_release_hint_survives(self, release: int | None) -> None:
        answer = heartbeat.HeartbeatAnswer(1_795_230_000_000_000, SensorConfig(), release=release)

        assert heartbeat.read_answer(answer.to_json()) == answer

    def test_an_answer_survives(self) -> None:
        answer = enrolment.EnrolAnswer(
            7, 1, 1, (enrolment.GatewayKey("gw.1", PUBLIC),), 1_795_230_000_000_000, SensorConfig(live=True)
        )

        assert enrolment.read_answer(answer.to_json()) == answer

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"token_id": "UPPER"}, "enrol_request.token_id"),
            ({"public_key": "AAAA"}, "enrol_request.public_key"),
            ({"facts": {}}, "enrol_request.facts.os"),
            ({"facts": 7}, "enrol_request.facts.object"),
            (
                {"facts": {"os": "a\nb", "arch": "x", "python": "3", "software": "1"}},
                "enrol_request.facts.os",
            ),
            ({"created_s": 1.5}, "enrol_request.created_s"),
            ({"more": 1}, "enrol_request.unknown"),
            ({"proof": "A" * 5000}, "enrol_request.size"),
        ],
    )
    def test_a_bad_field_is_named(self, change: dict[str, object], code: str) -> None:
        text = json.dumps(json.loads(make_request().to_json()) | change).encode()

        with pytest.raises(MessageError) as caught:
            enrolment.read_request(text)

        assert caught.value.code == code

    @given(text=st.binary(max_size=200))
    def test_any_bytes_are_refused_without_a_crash(self, text: bytes) -> None:
        with pytest.raises(MessageError):
            enrolment.read_request(text)


BEAT = heartbeat.Heartbeat(
    counter=9,
    boot_id="W2k9x3Qa0Zf",
    software="0.1.0",
    uptime_s=3600,
    clock_offset_us=None,
    captured=10,
    kernel_drops=0,
    excluded=1,
    spool_batches=2,
    spool_bytes=1500,
    disk_free_bytes=1 << 33,
    last_error="",
    last_window_end_us=1_795_230_000_000_000,
    config_version=1,
    interfaces=(heartbeat.InterfaceState("eth0", "up", ("192.0.2.7", "2001:db8::7")),),
)


class TestHeartbeat:
    @pytest.mark.requirement("R1.3")
    def test_it_works(self) -> None:
        assert heartbeat.read_heartbeat(BEAT.to_json()) == BEAT

    def test_an_answer_survives(self) -> None:
        answer = heartbeat.HeartbeatAnswer(
            1_795_230_000_000_000, SensorConfig(2, live=True, window_seconds=60), 3
        )

        assert heartbeat.read_answer(answer.to_json()) == answer

    @given(payload_bytes=st.none() | st.integers(0, 128), examples=st.none() | st.integers(0, 64))
    def test_payload_settings_survive(self, payload_bytes: int | None, examples: int | None) -> None:
        config = SensorConfig(2, payload_bytes=payload_bytes, examples_per_window=examples)
        answer = heartbeat.HeartbeatAnswer(1_795_230_000_000_000, config)

        text = answer.to_json()

        assert heartbeat.read_answer(text) == answer
        assert (b"payload_bytes" in text) == (payload_bytes is not None)

    @pytest.mark.parametrize(
        "change",
        [
            {"payload_bytes": 129},
            {"payload_bytes": -1},
            {"payload_bytes": True},
            {"examples_per_window": 65},
            {"examples_per_window": "8"},
        ],
    )
    def test_a_payload_setting_out_of_range_is_named(self, change: dict[str, object]) -> None:
        text = json.loads(heartbeat.HeartbeatAnswer(1_795_230_000_000_000, SensorConfig()).to_json())
        text["config"] |= change

        with pytest.raises(MessageError) as caught:
            heartbeat.read_answer(json.dumps(text).encode())

        assert caught.value.code == f"heartbeat_answer.config.{next(iter(change))}"

    def test_stated_addresses_survive_and_none_are_not_written(self) -> None:
        stated = (
            heartbeat.StatedAddress("10.0.0.5", "198.51.100.7", "metadata"),
            heartbeat.StatedAddress("10.0.0.5", "198.51.100.7", "configured"),
            heartbeat.StatedAddress("fd00::5", "2001:db8::7", "configured"),
        )
        beat = dataclasses.replace(BEAT, addresses=stated)

        assert heartbeat.read_heartbeat(beat.to_json()) == beat
        assert b'"addresses":[{"local"' not in BEAT.to_json()

    @pytest.mark.parametrize(
        ("stated", "code"),
        [
            ({"local": "x"}, "heartbeat.addresses.local"),
            ({"local": "10.0.0.05"}, "heartbeat.addresses.local"),
            ({"public": "198.51.100.7/32"}, "heartbeat.addresses.public"),
            ({"public": "2001:db8::7"}, "heartbeat.addresses.public"),
            ({"local": "fd00::5", "public": "2001:db8:0::7"}, "heartbeat.addresses.public"),
            ({"public": 7}, "heartbeat.addresses.public"),
            ({"known_by": "guessed"}, "heartbeat.addresses.known_by"),
            ({"more": 1}, "heartbeat.addresses.unknown"),
        ],
    )
    def test_a_bad_stated_address_is_named(self, stated: dict[str, object], code: str) -> None:
        honest = {"local": "10.0.0.5", "public": "198.51.100.7", "known_by": "metadata"}
        text = json.loads(BEAT.to_json()) | {"addresses": [honest | stated]}

        with pytest.raises(MessageError) as caught:
            heartbeat.read_heartbeat(json.dumps(text).encode())

        assert caught.value.code == code

    def test_an_address_stated_twice_by_one_source_is_refused(self) -> None:
        honest = {"local": "10.0.0.5", "public": "198.51.100.7", "known_by": "metadata"}
        text = json.loads(BEAT.to_json()) | {"addresses": [honest, honest | {"public": "198.51.100.8"}]}

        with pytest.raises(MessageError, match="once a source"):
            heartbeat.read_heartbeat(json.dumps(text).encode())

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"counter": 0}, "heartbeat.counter"),
            ({"counter": "1"}, "heartbeat.counter"),
            ({"last_error": "x" * 201}, "heartbeat.last_error"),
            ({"last_error": "a\nb"}, "heartbeat.last_error"),
            ({"last_error": None}, "heartbeat.last_error"),
            (
                {"interfaces": [{"name": "eth0", "state": "on", "addresses": []}]},
                "heartbeat.interfaces.state",
            ),
            (
                {"interfaces": [{"name": "eth0", "state": "up", "addresses": ["x"]}]},
                "heartbeat.interfaces.addresses",
            ),
            (
                {"interfaces": [{"name": "eth0", "state": "up", "addresses": [], "x": 1}]},
                "heartbeat.interfaces.unknown",
            ),
            ({"interfaces": {}}, "heartbeat.interfaces"),
            ({"spool_bytes": -1}, "heartbeat.spool_bytes"),
            ({"surprise": True}, "heartbeat.unknown"),
        ],
    )
    def test_a_bad_field_is_named(self, change: dict[str, object], code: str) -> None:
        text = json.dumps(json.loads(BEAT.to_json()) | change).encode()

        with pytest.raises(MessageError) as caught:
            heartbeat.read_heartbeat(text)

        assert caught.value.code == code

    def test_a_missing_field_is_named(self) -> None:
        text = json.loads(BEAT.to_json())
        del text["uptime_s"]

        with pytest.raises(MessageError, match="uptime_s is missing"):
            heartbeat.read_heartbeat(json.dumps(text).encode())

    @given(text=st.binary(max_size=200))
    def test_any_bytes_are_refused_without_a_crash(self, text: bytes) -> None:
        with pytest.raises(MessageError):
            heartbeat.read_heartbeat(text)

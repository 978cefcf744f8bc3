"""Signed and sealed messages: whatever is changed of one, it is none any more."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupool.model import errors
from gpupool.model.envelope import Envelope, Purpose
from gpupool.rpc import keys

OWN, OTHER = keys.HostKeys.generate(), keys.HostKeys.generate()
SIGNING, SEALING = OWN.public
MESSAGE = OWN.signer.sign(Purpose.REPORT, "host-a", 7, '{"a": 1}')
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def is_signed(message: Envelope, key: str = SIGNING) -> bool:
    try:
        keys.verify(message, key)
    except (errors.Forbidden, errors.Invalid):
        return False
    return True


@given(host=TEXT, body=TEXT, sequence=st.integers(0, 2**63 - 1), purpose=st.sampled_from(Purpose))
def test_what_is_signed_is_verified(host, body, sequence, purpose):
    message = OWN.signer.sign(purpose, host, sequence, body)
    assert is_signed(message)
    assert not is_signed(message, OTHER.public[0])


@given(
    field=st.sampled_from(["host", "body", "key", "signature"]),
    place=st.integers(0, 2**16),
    bit=st.integers(0, 6),
)
def test_a_bit_that_is_flipped_is_noticed(field, place, bit):
    text = getattr(MESSAGE, field)
    place %= len(text)
    flipped = text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]
    assert not is_signed(replace(MESSAGE, **{field: flipped}))


@given(sequence=st.integers(0, 2**63 - 1).filter(lambda number: number != MESSAGE.sequence))
def test_no_message_has_another_number(sequence):
    assert not is_signed(replace(MESSAGE, sequence=sequence))


@pytest.mark.parametrize("purpose", [each for each in Purpose if each is not Purpose.REPORT])
def test_no_message_is_taken_for_one_of_another_purpose_or_direction(purpose):
    assert not is_signed(replace(MESSAGE, purpose=purpose))


@given(fields=st.tuples(TEXT, TEXT, TEXT), cut=st.integers(0, 40))
def test_what_moves_from_one_field_to_the_next_is_noticed(fields, cut):
    """Fields are signed with their lengths: "ab" and "c" are not "a" and "bc"."""
    host, body, rest = fields
    message = OWN.signer.sign(Purpose.REPORT, host + rest[:cut], 1, body)
    moved = replace(message, host=host, body=rest[:cut] + body)
    assert is_signed(moved) == (moved == message)


@pytest.mark.parametrize(
    "signature",
    ["", "?", "AAAA", "A" * 88, MESSAGE.signature[:-3] + "!=="],
    ids=["empty", "no base64", "short", "another", "bad end"],
)
def test_what_is_no_signature_is_refused(signature):
    assert not is_signed(replace(MESSAGE, signature=signature))


def test_the_same_bytes_have_one_text():
    """The last character of 64 bytes in base64 has four bits that decode to nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(MESSAGE.signature[-3])
    other = MESSAGE.signature[:-3] + alphabet[last ^ 1] + "=="
    assert base64.b64decode(other) == base64.b64decode(MESSAGE.signature)
    assert not is_signed(replace(MESSAGE, signature=other))


@given(text=TEXT)
def test_what_is_sealed_is_opened_by_its_host_alone(text):
    sealed = keys.seal(text, "host-a", SEALING, OWN.fingerprint)
    assert OWN.open(sealed, "host-a") == text
    for own, host in ((OTHER, "host-a"), (OWN, "host-b")):
        with pytest.raises(errors.Forbidden, match="not sealed to the keys"):
            own.open(sealed, host)


def test_a_sealed_text_is_bound_to_both_keys():
    sealed = keys.seal("secret", "host-a", SEALING, OTHER.fingerprint)
    with pytest.raises(errors.Forbidden):
        OWN.open(sealed, "host-a")


@given(place=st.integers(0, 2**16), bit=st.integers(0, 7))
def test_a_sealed_text_that_was_changed_is_none(place, bit):
    raw = bytearray(base64.b64decode(keys.seal("secret", "host-a", SEALING, OWN.fingerprint)))
    raw[place % len(raw)] ^= 1 << bit
    with pytest.raises(errors.Forbidden):
        OWN.open(base64.b64encode(bytes(raw)).decode(), "host-a")


@pytest.mark.parametrize("sealed", ["", "AAAA", "?", "\ud800"])
def test_what_is_no_sealed_text_is_refused(sealed):
    with pytest.raises((errors.Forbidden, errors.Invalid)):
        OWN.open(sealed, "host-a")


def test_a_secret_is_not_in_what_carries_it():
    sealed = keys.seal("the-ticket", "host-a", SEALING, OWN.fingerprint)
    assert b"the-ticket" not in base64.b64decode(sealed)
    assert sealed != keys.seal("the-ticket", "host-a", SEALING, OWN.fingerprint)


@pytest.mark.parametrize(
    "bad",
    ["", "AAAA", "?", SIGNING + "=", SIGNING[:-1]],
    ids=["empty", "short", "no base64", "long", "cut"],
)
def test_what_is_no_key_has_no_fingerprint(bad):
    with pytest.raises(errors.Invalid, match="key"):
        keys.fingerprint(bad, SEALING)
    with pytest.raises(errors.Invalid, match="key"):
        keys.fingerprint(SIGNING, bad)


def test_a_fingerprint_names_both_keys():
    found = {
        keys.fingerprint(*pair)
        for pair in ((SIGNING, SEALING), (SIGNING, OTHER.public[1]), (OTHER.public[0], SEALING))
    }
    assert len(found) == 3
    assert all(len(each) == 50 and each.startswith("SHA256:") for each in found)

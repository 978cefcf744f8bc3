"""Signing and sealing of messages, by PyCA's cryptography: Ed25519, and HPKE (RFC 9180) on X25519.

Keys and ciphertexts are base64 text, as messages and files carry them.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from gpupool.model import errors
from gpupool.model.envelope import Envelope, Purpose

# Signatures and sealed texts of another protocol, or of another version of this one, are none here.
_SIGNED = "gpupool message 1"
_SEALED = "gpupool sealed 1"
_FINGERPRINT = "gpupool host key 1"
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
SEQUENCE_MAX = 2**63 - 1


def _joined(*fields: str) -> bytes:
    """Return fields, each after its length: no two lists of fields are the same bytes."""
    encoded = [field.encode(errors="surrogatepass") for field in fields]
    return b"".join(len(each).to_bytes(8, "big") + each for each in encoded)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _raw(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise errors.Invalid(f"{what} is no base64") from exc
    # Of some bytes there are several texts, which nobody has a use for.
    if _text(raw) != text:
        raise errors.Invalid(f"{what} is no canonical base64")
    return raw


def _message(purpose: Purpose, host: str, key: str, sequence: int, body: str) -> bytes:
    return _joined(_SIGNED, purpose, host, key, str(sequence), body)


@lru_cache(maxsize=8192)
def _signing_public(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(_raw(text, "signing key"))
    except ValueError as exc:
        raise errors.Invalid("signing key is no Ed25519 public key") from exc


@lru_cache(maxsize=8192)
def _sealing_public(text: str) -> X25519PublicKey:
    try:
        return X25519PublicKey.from_public_bytes(_raw(text, "sealing key"))
    except ValueError as exc:
        raise errors.Invalid("sealing key is no X25519 public key") from exc


def fingerprint(signing_key: str, sealing_key: str) -> str:
    """Return the name of a host's two public keys; raise Invalid when they are none."""
    _signing_public(signing_key)
    _sealing_public(sealing_key)
    digest = hashlib.sha256(_joined(_FINGERPRINT, signing_key, sealing_key)).digest()
    return f"SHA256:{_text(digest).rstrip('=')}"


def check_signing_key(text: str) -> None:
    """Raise Invalid unless ``text`` is a public key that verifies signatures."""
    _signing_public(text)


@dataclass(frozen=True)
class Signer:
    """A private key and the name that verifiers know it by."""

    name: str
    key: Ed25519PrivateKey

    def sign(self, purpose: Purpose, host: str, sequence: int, body: str) -> Envelope:
        """Return the signed message."""
        signature = self.key.sign(_message(purpose, host, self.name, sequence, body))
        return Envelope(
            purpose=purpose,
            host=host,
            key=self.name,
            sequence=sequence,
            body=body,
            signature=_text(signature),
        )


def verify(envelope: Envelope, signing_key: str) -> None:
    """Raise Forbidden unless the public key's owner signed every field of ``envelope``."""
    signed = _message(envelope.purpose, envelope.host, envelope.key, envelope.sequence, envelope.body)
    try:
        _signing_public(signing_key).verify(_raw(envelope.signature, "signature"), signed)
    except InvalidSignature as exc:
        raise errors.Forbidden(
            f"the {envelope.purpose} of host {envelope.host} is not signed by {envelope.key}"
        ) from exc


def new_signing_key() -> tuple[str, str]:
    """Return a new private key and its public one."""
    key = Ed25519PrivateKey.generate()
    return _text(key.private_bytes_raw()), _text(key.public_key().public_bytes_raw())


def conductor_signer(private_key: str, public_key: str) -> Signer:
    """Return what conductors sign with; their messages name the public key itself."""
    return Signer(public_key, Ed25519PrivateKey.from_private_bytes(_raw(private_key, "private key")))


@dataclass(frozen=True, kw_only=True)
class HostKeys:
    """The two private keys of a host, base64. They never leave it; ValueError when they are none."""

    signing_key: str
    sealing_key: str

    @classmethod
    def generate(cls) -> "HostKeys":
        """Return new keys."""
        sealing = X25519PrivateKey.generate()
        return cls(signing_key=new_signing_key()[0], sealing_key=_text(sealing.private_bytes_raw()))

    @cached_property
    def public(self) -> tuple[str, str]:
        """The public keys: of signatures, and of sealing."""
        signing, sealing = self._signing.public_key(), self._opener.public_key()
        return _text(signing.public_bytes_raw()), _text(sealing.public_bytes_raw())

    @cached_property
    def fingerprint(self) -> str:
        """The name of the keys."""
        return fingerprint(*self.public)

    @cached_property
    def signer(self) -> Signer:
        """What the host signs with."""
        return Signer(self.fingerprint, self._signing)

    @cached_property
    def _signing(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(_raw(self.signing_key, "signing key"))

    @cached_property
    def _opener(self) -> X25519PrivateKey:
        return X25519PrivateKey.from_private_bytes(_raw(self.sealing_key, "sealing key"))

    def open(self, sealed: str, host: str) -> str:
        """Return what was sealed to these keys for ``host``; raise Forbidden when it was not."""
        info = _joined(_SEALED, host, self.fingerprint)
        try:
            return _SUITE.decrypt(_raw(sealed, "sealed text"), self._opener, info=info).decode()
        # The library has no one exception for this: a text too short, say, is a ValueError.
        except Exception as exc:
            raise errors.Forbidden(f"a message is not sealed to the keys of host {host}") from exc


def seal(text: str, host: str, sealing_key: str, name: str) -> str:
    """Return ``text`` as only the host whose keys have the fingerprint ``name`` can read it."""
    info = _joined(_SEALED, host, name)
    return _text(_SUITE.encrypt(text.encode(), _sealing_public(sealing_key), info=info))

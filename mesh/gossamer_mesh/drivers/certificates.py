"""TLS 1.3 between members: authorities that whoever has the mesh keys can be, and a node's part.

An authority's key is derived from a mesh key and the mesh's name, so all members make the very
same authority without asking each other, and TLS itself proves that the peer has a mesh key. A
node's certificate carries its own Ed25519 key; after the handshake `peer_id` names who that is.
Nothing here expires: a key that leaves the ring ends its certificates, and boards without a clock
take part.

With several keys in the ring a node has a certificate under each, and takes peers under any. Which
to show: the client names its keys where other clients name a host (SNI), and the server shows the
first of its own that is among them. The client cannot know so early; where the server showed
another key than the client did, both know the server's, so the client connects again with that
one (`links.Links.open`). A client that names only a retired key gets an alert of its own.
"""

import datetime
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gossamer_mesh.identity import Identity, node_id_of
from gossamer_mesh.keyring import Keyring, hint_of
from gossamer_mesh.seal import derive

_BEGIN = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280 §4.1.2.5: 99991231235959Z stands for "no well-defined expiration date"."""

_AUTHORITY = "gossamer mesh "
"""The authority's name; the key's hint follows."""

_RETIRED_ALERT = ssl.ALERT_DESCRIPTION_CERTIFICATE_EXPIRED
"""RFC 8446 §6: what a client of a retired key is told; nothing else here expires."""

RETIRED_RECORD = bytes((21, 3, 3, 0, 2, 2, _RETIRED_ALERT))
"""The same as a record on the wire (RFC 8446 §5.1: alert, version, length; §6: fatal). trio does
not send what OpenSSL has to say when a handshake fails."""


class Certificates:
    """Both ends' TLS contexts of one node.

    Args:
        ring, mesh_name: see `seal.derive`.
        identity: this node.

    Attributes:
        first: the hint (hex) of the key that is shown where nothing is known of the peer.
        server_name: what a client names: its keys.
        server: the context of an accepting end.
    """

    def __init__(self, ring: Keyring, mesh_name: str, identity: Identity) -> None:
        self._ring = ring
        hints = [hint_of(key).hex() for key in ring.keys]
        self.first = hints[0]
        self.server_name = ".".join(f"k{hint}" for hint in hints)
        keys = [
            Ed25519PrivateKey.from_private_bytes(derive(key, mesh_name, "authority"))
            for key in ring.keys
        ]
        authorities = [
            _certificate(
                key, _name(hint), _name(hint), key.public_key(), serial=1, is_authority=True
            )
            for key, hint in zip(keys, hints, strict=True)
        ]
        self._clients: dict[str, ssl.SSLContext] = {}
        self._servers: dict[str, ssl.SSLContext] = {}
        for key, hint in zip(keys, hints, strict=True):
            with _files_of(key, hint, identity) as path:
                client = _context(ssl.PROTOCOL_TLS_CLIENT, path, authorities)
                server = _context(ssl.PROTOCOL_TLS_SERVER, path, authorities)
            # A session ticket would lie unread in the socket of a sender that only sends, and
            # closing a socket with unread data is a reset, which destroys what is on its way.
            server.num_tickets = 0
            server.sni_callback = self._choose
            self._clients[hint] = client
            self._servers[hint] = server
        self.server = self._servers[self.first]

    def client(self, hint: str) -> ssl.SSLContext:
        """For the end that connects, showing the key of that hint, or the first."""
        return self._clients.get(hint) or self._clients[self.first]

    def knows(self, hint: str | None) -> bool:
        """Whether a key of that hint is in the ring."""
        return hint in self._clients

    def _choose(
        self, ending: ssl.SSLSocket | ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> int | None:
        named = {each.removeprefix("k") for each in (name or "").split(".")}
        for hint, server in self._servers.items():
            if hint in named:
                ending.context = server
                return None
        if any(mark.startswith(hint) for mark in self._ring.retired for hint in named if hint):
            return _RETIRED_ALERT
        return None


def is_retired_alert(error: BaseException | None) -> bool:
    """Whether a handshake failed because the far end retired all our keys."""
    return isinstance(error, ssl.SSLError) and "CERTIFICATE_EXPIRED" in (error.reason or "")


def is_of_retired_key(error: BaseException) -> bool:
    """Whether our end refused a client because it names only keys that were removed."""
    cause = error.__cause__
    return isinstance(cause, ssl.SSLError) and cause.reason == "CALLBACK_FAILED"


def peer_id(certificate: bytes | None) -> str | None:
    """The node id of a verified peer from its certificate (DER); None if it is no Ed25519 key's."""
    parsed = _parsed(certificate)
    if parsed is None:
        return None
    try:
        public_key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return node_id_of(public_key) if isinstance(public_key, Ed25519PublicKey) else None


def peer_hint(certificate: bytes | None) -> str | None:
    """The hint (hex) of the mesh key under which a verified peer's certificate (DER) is."""
    parsed = _parsed(certificate)
    if parsed is None:
        return None
    try:
        names = parsed.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:  # who has the mesh key can sign whatever it likes
        return None
    return str(names[0].value).removeprefix(_AUTHORITY) if names else None


def _parsed(certificate: bytes | None) -> x509.Certificate | None:
    if certificate is None:
        return None
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError:
        return None


@contextmanager
def _files_of(key: Ed25519PrivateKey, hint: str, identity: Identity) -> Iterator[Path]:
    """OpenSSL takes a certificate's key from a file only; the folder has mode 0700."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id)])
    public_key = identity.private_key.public_key()
    serial = int(identity.node_id, 16) | 1
    own = _certificate(key, _name(hint), subject, public_key, serial=serial, is_authority=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "node.pem"
        path.touch(mode=0o600)
        path.write_bytes(
            own.public_bytes(Encoding.PEM)
            + identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        yield path


def _name(hint: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _AUTHORITY + hint)])


def _context(protocol: int, own: Path, authorities: list[x509.Certificate]) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Members are known by their keys, not by names of hosts: see `peer_id`.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(own)
    der = b"".join(each.public_bytes(Encoding.DER) for each in authorities)
    context.load_verify_locations(cadata=der)
    return context


def _certificate(
    authority_key: Ed25519PrivateKey,
    issuer: x509.Name,
    subject: x509.Name,
    public_key: Ed25519PublicKey,
    *,
    serial: int,
    is_authority: bool,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, None)
    )

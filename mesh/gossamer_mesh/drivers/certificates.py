"""TLS 1.3 between members: an authority that whoever has the mesh key can be, and a node's part.

The authority's key is derived from the mesh key and the mesh's name, so all members make the very
same authority without asking each other, and TLS itself proves that the peer has the mesh key. A
node's certificate carries its own Ed25519 key; after the handshake `peer_id` names who that is.
Nothing here expires: another mesh key ends a certificate, and boards without a clock take part.
"""

import datetime
import ssl
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from gossamer_mesh.identity import Identity, node_id_of
from gossamer_mesh.seal import derive

_BEGIN = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280 §4.1.2.5: 99991231235959Z stands for "no well-defined expiration date"."""

_AUTHORITY = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gossamer mesh")])


class Certificates:
    """Both ends' TLS contexts of one node.

    Args:
        key, mesh_name: see `seal.derive`.
        identity: this node.
    """

    def __init__(self, key: bytes, mesh_name: str, identity: Identity) -> None:
        authority_key = Ed25519PrivateKey.from_private_bytes(derive(key, mesh_name, "authority"))
        authority = _certificate(
            authority_key, _AUTHORITY, authority_key.public_key(), serial=1, is_authority=True
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.node_id)])
        public_key = identity.private_key.public_key()
        serial = int(identity.node_id, 16) | 1
        own = _certificate(authority_key, subject, public_key, serial=serial, is_authority=False)
        with tempfile.TemporaryDirectory() as folder:
            # OpenSSL takes a certificate's key from a file only; the folder has mode 0700.
            path = Path(folder) / "node.pem"
            path.touch(mode=0o600)
            path.write_bytes(
                own.public_bytes(Encoding.PEM)
                + identity.private_key.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                )
            )
            self.client = _context(ssl.PROTOCOL_TLS_CLIENT, path, authority)
            self.server = _context(ssl.PROTOCOL_TLS_SERVER, path, authority)
        # A session ticket would lie unread in the socket of a sender that only sends, and closing
        # a socket with unread data is a reset, which destroys what is still on its way.
        self.server.num_tickets = 0


def peer_id(certificate: bytes | None) -> str | None:
    """The node id of a verified peer from its certificate (DER); None if it is no Ed25519 key's."""
    if certificate is None:
        return None
    try:
        public_key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return None
    return node_id_of(public_key) if isinstance(public_key, Ed25519PublicKey) else None


def _context(protocol: int, own: Path, authority: x509.Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Members are known by their keys, not by names of hosts: see `peer_id`.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(own)
    context.load_verify_locations(cadata=authority.public_bytes(Encoding.DER))
    return context


def _certificate(
    authority_key: Ed25519PrivateKey,
    subject: x509.Name,
    public_key: Ed25519PublicKey,
    *,
    serial: int,
    is_authority: bool,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(_AUTHORITY)
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

"""Client certificates: whose connection it is. Pure, but for the hash of what was read before.

TLS has checked by then that the certificate is of the authority that the configuration names for
clients, and that the client has its key. Left to do: whose it is, by its subject alternative names
or its common name, as the configuration maps them (`dns:worker.example.org`, `uri:spiffe://…`,
`email:…`, `cn:worker`), and whether it still holds: a connection may outlive it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from gossamer_gateway.door.principals import Grant, Principal

REMEMBERED_MAX = 1_000
NAMES_MAX = 100


class Refused(Exception):
    """The certificate does not hold; says why, for the client."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """What certificates give, by `cn:`, `dns:`, `uri:` or `email:` and a name."""

    grants: Mapping[str, tuple[Grant, ...]]


class Certificates:
    """Tells whose a certificate is."""

    def __init__(self, subjects: Subjects) -> None:
        self._grants = {
            name.lower() if name.startswith("dns:") else name: given
            for name, given in subjects.grants.items()
        }
        self._remembered: OrderedDict[bytes, tuple[Principal | None, int, int]] = OrderedDict()

    def whose(self, der: bytes, now_ms: int) -> Principal | None:
        """Whose it is; None for one that the configuration does not know. Raises: Refused."""
        digest = hashlib.sha256(der).digest()
        found = self._remembered.get(digest)
        if found is None:
            found = self._read(der)
            self._remembered[digest] = found
            if len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        principal, begins_ms, ends_ms = found
        if not begins_ms <= now_ms < ends_ms:
            raise Refused("the client's certificate has expired, or does not hold yet")
        return principal

    def _read(self, der: bytes) -> tuple[Principal | None, int, int]:
        try:
            certificate = x509.load_der_x509_certificate(der)
            names = _names(certificate)
            begins = int(certificate.not_valid_before_utc.timestamp() * 1_000)
            ends = int(certificate.not_valid_after_utc.timestamp() * 1_000)
        except (ValueError, TypeError, x509.DuplicateExtension) as error:
            raise Refused("the client's certificate can't be read") from error
        for name in names:
            grants = self._grants.get(name)
            if grants is not None:
                return Principal(name, "certificate", grants), begins, ends
        return None, begins, ends


def _names(certificate: x509.Certificate) -> list[str]:
    """Alternative names first: they say what kind of name they are (RFC 9525 §6.3)."""
    names: list[str] = []
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    else:
        told = extension.value
        names += [f"dns:{one.lower()}" for one in told.get_values_for_type(x509.DNSName)]
        uris = told.get_values_for_type(x509.UniformResourceIdentifier)
        names += [f"uri:{one}" for one in uris]
        names += [f"email:{one}" for one in told.get_values_for_type(x509.RFC822Name)]
    for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        names.append(f"cn:{attribute.value!s}")
    return names[:NAMES_MAX]

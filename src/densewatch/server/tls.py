"""Certificates: given ones, or self-made ones that are renewed before they end."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from densewatch.site.addresses import certified_name, host_name

_LIFE = timedelta(days=397)  # browsers refuse certificates that live much longer
_RENEW_BEFORE = timedelta(days=30)
_CLOCKS_DIFFER = timedelta(hours=1)


class TlsError(Exception):
    """A certificate cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Certificate:
    """Files in PEM format.

    Attributes:
        certificate: the certificate, and those between it and its root.
        key: its private key, without a password.
    """

    certificate: Path
    key: Path


def own_certificate(folder: Path, names: Iterable[str], now: datetime | None = None) -> Certificate:
    """Return a self-made certificate, a new one where there is none that fits and lasts.

    Args:
        folder: where it is kept.
        names: host names and addresses that it must be good for, beside those of this machine.
        now: the time, in UTC.

    Raises:
        TlsError: the folder cannot be written, or a name is none.
    """
    now = now or datetime.now(UTC)
    try:  # as they are found in a certificate, which else would never fit
        given = {certified_name(name) for name in names}
    except ValueError as error:
        raise TlsError(f"a certificate's name {error}") from error
    wanted = {"localhost", "127.0.0.1", "::1", *_host_names(), *given}
    kept = Certificate(folder / "certificate.pem", folder / "key.pem")
    if not _is_good(kept, wanted, now):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _make(kept, sorted(wanted), now)
        except OSError as error:
            raise TlsError(
                f"{folder}: no certificate can be kept there: {error.strerror or error}"
            ) from error
    return kept


def names_of(certificate: Certificate) -> set[str]:
    """Return the names that a certificate is for, in lower case, `*.watch.example` among them.

    Raises:
        TlsError: the file cannot be read, or is no certificate.
    """
    try:
        return _names(x509.load_pem_x509_certificate(certificate.certificate.read_bytes()))
    except (OSError, ValueError) as error:
        raise TlsError(f"{certificate.certificate}: the names cannot be read: {error}") from error


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of a certificate as browsers show it, for people to compare."""
    digest = x509.load_pem_x509_certificate(certificate.certificate.read_bytes()).fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def server_context(certificate: Certificate) -> ssl.SSLContext:
    """Return a context that serves a certificate, by TLS 1.2 or newer.

    Raises:
        TlsError: the files cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A key with a password would make OpenSSL ask on the terminal.
        context.load_cert_chain(certificate.certificate, certificate.key, password=_no_password)
    except (OSError, ValueError) as error:
        told = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        files = f"{certificate.certificate} and {certificate.key}"
        raise TlsError(f"the certificate and key of {files} cannot be used: {told}") from error
    return context


def load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Serve a certificate from now on; connections that are open keep theirs.

    Raises:
        TlsError: the files cannot be read, or do not belong together; what was served is served on.
    """
    # Loading into a context that serves would leave it the new certificate without a key where that fails.
    fresh = server_context(certificate)

    def answer(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = fresh

    context.sni_callback = answer


def _no_password() -> str:
    raise ValueError("the key has a password; give one without")


def _host_names() -> set[str]:
    try:
        return {host_name(socket.gethostname())}
    except ValueError:  # a machine may be called what no host can be
        return set()


def _is_good(kept: Certificate, wanted: set[str], now: datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate(kept.certificate.read_bytes())
        key = serialization.load_pem_private_key(kept.key.read_bytes(), password=None)
        told = _names(found)
    except (OSError, ValueError, TypeError):
        return False
    in_time = found.not_valid_before_utc <= now < found.not_valid_after_utc - _RENEW_BEFORE
    return in_time and wanted <= told and found.public_key() == key.public_key()


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value).lower() for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))}


def _make(kept: Certificate, names: list[str], now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "densewatch")])
    own_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(own_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    _write(kept.key, key.private_bytes(pem, pkcs8, plain), 0o600)
    _write(kept.certificate, certificate.public_bytes(pem), 0o644)


def _key_usage() -> x509.KeyUsage:
    """Return a usage for signing alone."""
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file at once: whoever reads sees the old one or the new one."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)

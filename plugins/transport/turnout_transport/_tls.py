"""The TLS context that all connections of a transport share."""

import ssl

import attrs
import httpx


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Verification and host names always on, TLS 1.2 or later, HTTP/1.1 (S57). Building one costs about 40 ms.

    Raises ValueError when the file holds no certificates.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file:
        _trust(context, ca_file)
    return context


def usable_ca_file(instance: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    """Validate a setting that names such a file, none when it is empty; raises ValueError. Reads the file."""
    del instance, attribute  # the form of an attrs validator
    if value:
        _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), value)


def _trust(context: ssl.SSLContext, ca_file: str) -> None:
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ValueError(f"`ca_file` {ca_file!r} cannot be used: {exc.strerror or exc}") from exc

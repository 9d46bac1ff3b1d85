"""The TLS context of the frontend's addresses."""

import ssl


def tls_context(certificate: str, key: str, *, http2: bool) -> ssl.SSLContext:
    """For these PEM files, TLS 1.2 or later, HTTP/1.1 and, if wanted, 2. Reads the files.

    Raises OSError (ssl.SSLError is one) or ValueError. A key under a password is refused: asking for it would stop the
    process at its terminal.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key, password=_refuse_password)
    context.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])
    return context


def _refuse_password() -> str:
    raise ValueError("the key is under a password; write one without")

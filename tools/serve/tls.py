"""HTTPS: a certificate and its key."""

from __future__ import annotations

import ssl
from pathlib import Path

from ...runtime.errors import UserError


def ssl_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS context of a server.

    Raises:
        UserError: one of the files cannot be read, or they do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) and error.strerror else str(error)
        raise UserError(
            f"--tls: {certificate}, {key}: {reason} (expected a certificate and its key as PEM files), "
            "see docs/live.md for how to make them"
        ) from error
    return context

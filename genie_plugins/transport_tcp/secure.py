"""Connecting over TLS: addresses of the form `tls://host:port`."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

from genie_core.errors import ConnectionFailed
from genie_plugins.transport_tcp import token
from genie_plugins.transport_tcp.address import Address, parse
from genie_plugins.transport_tcp.channel import StreamChannel
from genie_plugins.transport_tcp.endpoint import dial
from genie_plugins.transport_tcp.tls import TlsStream, client_context, reason_of

if TYPE_CHECKING:
    import socket

    from genie_core.settings import Settings

_OF_A_PLAIN_PEER = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}

_OF_CERTIFICATES = "ALERT.*(CERTIFICATE|UNKNOWN_CA)"


def connect(url: str, settings: Settings) -> StreamChannel:
    """Connect to `url`, check its certificate, and show ours and our token.

    Raises `SettingsError` for a bad address or a file that cannot be used, and `ConnectionFailed`
    where nobody answers, or one side does not accept what the other shows.
    """
    address = parse(url, "GENIE_DEVICES")
    context = client_context(settings)
    secret = token.read_token(settings.token_file) if settings.token_file else b""
    sock = dial(address, settings.connect_timeout)
    try:
        secured = _secure(sock, context, address, secret)
    except (OSError, ValueError, token.Denied) as error:
        sock.close()
        raise ConnectionFailed(url, _why(error, settings)) from error
    return StreamChannel(TlsStream(secured), url, settings.max_message)


def _secure(
    sock: socket.socket, context: ssl.SSLContext, address: Address, secret: bytes
) -> ssl.SSLSocket:
    secured = context.wrap_socket(sock, server_hostname=address.host)
    try:
        if not token.show(secured, secret):
            raise token.Denied
    except BaseException:
        secured.close()
        raise
    return secured


def _why(error: Exception, settings: Settings) -> str:
    if isinstance(error, token.Denied):
        return _DENIED[bool(settings.token_file)]
    reason = reason_of(error)
    if isinstance(error, TimeoutError):
        return f"no answer within {settings.connect_timeout:g} s; does it speak TLS?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {reason}. GENIE_TLS_CA names whom to trust"
    if isinstance(error, ssl.SSLError) and error.reason in _OF_A_PLAIN_PEER:
        return f"it does not speak TLS ({reason}); is it a tcp:// address?"
    if isinstance(error, ssl.SSLError) and re.search(_OF_CERTIFICATES, error.reason or ""):
        return f"it does not accept this side's certificate ({reason}); set GENIE_TLS_CERT"
    return f"the TLS handshake failed: {reason}"


_DENIED = {
    True: "it does not accept the token in GENIE_TOKEN_FILE",
    False: "it wants a token: set GENIE_TOKEN_FILE",
}

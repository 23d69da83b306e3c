"""TLS by itself: who is let in, who is turned away, and what each is told."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import attrs
import pytest

from genie_core.contracts import Listener
from genie_core.errors import ConnectionFailed, ConnectionLost, GenieError, SettingsError
from genie_plugins.certs.authority import Authority
from genie_plugins.transport_tcp import endpoint, gate
from genie_plugins.transport_tcp.address import parse
from genie_plugins.transport_tcp.limiter import MOST, FailureLimiter
from genie_plugins.transport_tcp.schemes import LISTEN
from genie_plugins.transport_tcp.secure import connect

URL = "tls://127.0.0.1:0"


@pytest.fixture
def listen(server_settings):
    """Listens as a server's settings say, with some of them changed."""
    opened = []

    def start(url=URL, **changes):
        opened.append(gate.listen(url, attrs.evolve(server_settings, **changes)))
        return opened[-1]

    yield start
    for listener in opened:
        listener.close()


@pytest.fixture
def listener(listen):
    return listen()


def with_files(settings, folder, **contents):
    """The settings, with files of these contents in place of theirs."""
    for name, content in contents.items():
        path = folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        settings = attrs.evolve(settings, **{name: str(path)})
    return settings


def raw(listener):
    address = parse(listener.url, "URL")
    return socket.create_connection((address.host, address.port), timeout=20)


def still_serves(listener, client_settings):
    """Whether a client who is in order is let in, and it alone."""
    client = connect(listener.url, client_settings)
    server = listener.accept()
    client.send([b"in order"])
    assert bytes(server.receive(20)[0]) == b"in order"
    client.close()
    server.close()


def test_is_a_listener_of_tls_1_3(listener, client_settings):
    assert isinstance(listener, Listener)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(client_settings.tls_ca)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), raw(listener) as sock:
        old.wrap_socket(sock, server_hostname="localhost")
    still_serves(listener, client_settings)


# --- what must be given -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missing", "named"), [("tls_cert", "--tls-cert"), ("token_file", "--token-file")]
)
@pytest.mark.parametrize("url", [URL, "tls://0.0.0.0:0"])
def test_a_certificate_and_a_token_must_be_given(listen, url, missing, named):
    with pytest.raises(SettingsError, match=named):
        listen(url, **{missing: ""})


def test_with_them_any_address_may_be_bound(listen, client_settings):
    listener = listen("tls://0.0.0.0:0")
    port = parse(listener.url, "URL").port
    connect(f"tls://127.0.0.1:{port}", client_settings).close()
    both = listen("tls://[::]:0")
    port = parse(both.url, "URL").port
    for host in ("127.0.0.1", "[::1]"):
        connect(f"tls://{host}:{port}", client_settings).close()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "unix:///tmp/never-made"])
def test_a_token_that_nobody_would_ask_for_is_refused(server_settings, url):
    with pytest.raises(SettingsError, match="tls://"):
        LISTEN[url.partition(":")[0]](url, server_settings)


@pytest.mark.parametrize("name", ["token_file", "tls_ca", "tls_cert", "tls_key"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\x00 nonsense"])
def test_files_that_cannot_be_used_are_named(listen, client_settings, tmp_path, name, content):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        listen(**{name: str(path)})
    assert str(path) in str(caught.value)
    assert f"GENIE_{name.upper()}" in str(caught.value)
    if name in ("token_file", "tls_ca"):
        with pytest.raises(SettingsError, match=f"GENIE_{name.upper()}"):
            connect("tls://127.0.0.1:1", attrs.evolve(client_settings, **{name: str(path)}))


def test_an_encrypted_key_is_refused_and_no_password_asked_for(listen, certs, tmp_path):
    from cryptography.hazmat.primitives import serialization as forms

    key = forms.load_pem_private_key((certs / "server.key").read_bytes(), None)
    locked = forms.BestAvailableEncryption(b"secret")
    encrypted = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, locked)
    (tmp_path / "key").write_bytes(encrypted)
    with pytest.raises(SettingsError, match="not encrypted"):
        listen(tls_key=str(tmp_path / "key"))


def test_a_token_that_others_can_read_is_warned_of(listen, tmp_path, capsys):
    path = tmp_path / "token"
    path.write_bytes(b"a secret of some length")
    path.chmod(0o644)
    listen(token_file=str(path))
    said = capsys.readouterr().err
    assert "chmod 600" in said
    assert "secret" not in said


# --- who is let in ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "says"),
    [(b"not the token that it is", "does not accept the token"), (None, "wants a token")],
)
def test_a_wrong_token_or_none(listener, client_settings, tmp_path, capsys, token, says):
    wrong = attrs.evolve(client_settings, token_file="")
    if token:
        wrong = with_files(client_settings, tmp_path, token_file=token)
    with pytest.raises(ConnectionFailed, match=says) as caught:
        connect(listener.url, wrong)
    assert caught.value.url == listener.url
    still_serves(listener, client_settings)
    said = capsys.readouterr().err
    assert "client.denied" in said
    right = Path(client_settings.token_file).read_text().strip()
    for secret in filter(None, (right, (token or b"").decode())):
        assert secret not in said + str(caught.value)


def test_a_certificate_of_somebody_elses(listener, client_settings, tmp_path):
    other = Authority.make(1).pair.certificate_pem
    with pytest.raises(ConnectionFailed, match=r"not accepted.*GENIE_TLS_CA"):
        connect(listener.url, with_files(client_settings, tmp_path, tls_ca=other))
    with pytest.raises(ConnectionFailed, match="GENIE_TLS_CA"):  # the system trusts nobody of ours
        connect(listener.url, attrs.evolve(client_settings, tls_ca=""))
    still_serves(listener, client_settings)


@pytest.mark.parametrize(
    ("days", "hosts", "says"),
    [(-1, ("127.0.0.1",), "expired"), (1, ("10.1.2.3", "executor.example"), "mismatch")],
)
def test_an_expired_certificate_or_one_of_another_host(
    listen, client_settings, server_settings, tmp_path, days, hosts, says
):
    authority = Authority.make(days)
    pair = authority.sign_server(hosts)
    files = {"tls_cert": pair.certificate_pem, "tls_key": pair.key_pem}
    server = with_files(server_settings, tmp_path, **files)
    client = with_files(client_settings, tmp_path, tls_ca=authority.pair.certificate_pem)
    listener = listen(tls_cert=server.tls_cert, tls_key=server.tls_key)
    with pytest.raises(ConnectionFailed, match=says):
        connect(listener.url, client)


def test_mutual_certificates_take_the_place_of_a_token(listen, client_settings, tmp_path):
    authority = Authority.make(1)
    trusted = with_files(client_settings, tmp_path, tls_ca=authority.pair.certificate_pem).tls_ca
    listener = listen(token_file="", tls_ca=trusted)

    def shown(pair):
        files = {"tls_cert": pair.certificate_pem, "tls_key": pair.key_pem}
        return with_files(attrs.evolve(client_settings, token_file=""), tmp_path, **files)

    still_serves(listener, shown(authority.sign_client()))
    for pair in (Authority.make(1).sign_client(), attrs.evolve(authority, days=-1).sign_client()):
        with pytest.raises(ConnectionFailed, match="GENIE_TLS_CERT"):
            connect(listener.url, shown(pair))
    with pytest.raises(ConnectionFailed, match="GENIE_TLS_CERT"):
        connect(listener.url, client_settings)
    still_serves(listener, shown(authority.sign_client()))


def test_mutual_certificates_and_a_token(listen, client_settings, certs):
    listener = listen(tls_ca=str(certs / "ca.pem"))
    cert, key = str(certs / "client.pem"), str(certs / "client.key")
    shown = attrs.evolve(client_settings, tls_cert=cert, tls_key=key)
    still_serves(listener, shown)
    with pytest.raises(ConnectionFailed, match="wants a token"):
        connect(listener.url, attrs.evolve(shown, token_file=""))


# --- who speaks something else ------------------------------------------------------------------


def test_a_plain_client_on_a_tls_port(listener, client_settings):
    plain = listener.url.replace("tls:", "tcp:")
    client = endpoint.connect(plain, 5, 1 << 20)
    client.send([b"hello, is anybody there?"])
    with pytest.raises(GenieError):
        client.receive(20)
    client.close()
    still_serves(listener, client_settings)


def test_a_tls_client_on_a_plain_port(client_settings, background):
    listener = endpoint.listen("tcp://127.0.0.1:0", 1 << 20)

    def serve():
        channel = listener.accept()
        with pytest.raises(GenieError, match="TLS"):
            channel.receive(20)
        channel.close()

    served = background(serve)
    with pytest.raises(ConnectionFailed):
        connect(listener.url.replace("tcp:", "tls:"), client_settings)
    served()
    listener.close()


def test_a_plain_server_that_answers(client_settings, background):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            sock, _ = server.accept()
            with sock:
                sock.sendall(b"GNI1 and whatever comes after")
                sock.recv(1 << 16)

        served = background(serve)
        with pytest.raises(ConnectionFailed, match=r"does not speak TLS.*tcp://"):
            connect(f"tls://127.0.0.1:{server.getsockname()[1]}", client_settings)
        served()


def test_a_server_that_says_nothing(client_settings):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"tls://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConnectionFailed, match=r"0\.3 s"):
            connect(url, attrs.evolve(client_settings, connect_timeout=0.3))


@pytest.mark.parametrize("data", [b"", b"\x16", b"GET / HTTP/1.1\r\n\r\n", bytes(5000)])
def test_garbage_before_the_handshake(listener, client_settings, data):
    with raw(listener) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass
    still_serves(listener, client_settings)


@pytest.mark.parametrize(
    "data", [b"GNI1\x01\x00\x00\x00", b"GNT1\xff\xff", b"GNT1\x20\x00short", b"x", b""]
)
def test_garbage_in_place_of_a_token(listener, client_settings, data):
    context = ssl.create_default_context(cafile=client_settings.tls_ca)
    with raw(listener) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as sock:
        sock.sendall(data)
        socket.socket.shutdown(sock, socket.SHUT_WR)
        with contextlib.suppress(ssl.SSLError):
            assert sock.recv(1) in (b"", b"\x00")
    still_serves(listener, client_settings)


def test_one_who_stays_silent_is_given_up_and_holds_up_nobody(
    listener, client_settings, monkeypatch
):
    monkeypatch.setattr(gate, "HANDSHAKE_SECONDS", 0.5)
    with raw(listener) as silent:
        still_serves(listener, client_settings)
        assert silent.recv(1) == b""


def test_closing_ends_handshakes_and_those_nobody_accepted(listener, client_settings):
    client = connect(listener.url, client_settings)
    with raw(listener) as silent:
        time.sleep(0.2)
        listener.close()
        assert silent.recv(1) == b""
    with pytest.raises(ConnectionLost):
        client.receive(20)
    client.close()
    with pytest.raises(ConnectionLost):
        listener.accept()
    greeting = [t for t in threading.enumerate() if t.name.startswith("genie-tls tls://")]
    for thread in greeting:
        thread.join(5)
        assert not thread.is_alive()


# --- how often ----------------------------------------------------------------------------------


def test_one_who_fails_too_often_is_turned_away(listener, client_settings, tmp_path, capsys):
    wrong = with_files(client_settings, tmp_path, token_file=b"guess number such-and-such")
    for _ in range(5):
        with pytest.raises(ConnectionFailed, match="does not accept the token"):
            connect(listener.url, wrong)
    deadline = time.monotonic() + 10  # the listener counts after it has answered
    while listener._limiter.allows("127.0.0.1") and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ConnectionFailed) as caught:
        connect(listener.url, client_settings)
    assert "token" not in caught.value.reason
    assert len(re.findall(r"client\.denied", capsys.readouterr().err)) == 5


def test_the_limiter_forgives_with_time():
    now = [100.0]
    limiter = FailureLimiter(burst=3, seconds=10.0, clock=lambda: now[0])
    assert [limiter.failed("10.0.0.1") for _ in range(3)] == [False, False, True]
    assert not limiter.allows("10.0.0.1")
    assert limiter.allows("10.0.0.2")
    now[0] += 10.0
    assert limiter.allows("10.0.0.1")
    assert limiter.failed("10.0.0.1")
    assert not limiter.allows("10.0.0.1")
    for _ in range(100):
        limiter.failed("10.0.0.1")
    now[0] += 60.0  # never longer than that
    assert limiter.allows("10.0.0.1")


def test_the_limiter_knows_networks_and_forgets_the_oldest():
    limiter = FailureLimiter(burst=1)
    limiter.failed("2001:db8::1")
    assert not limiter.allows("2001:db8::2")
    assert limiter.allows("2001:db8:0:1::1")
    limiter.failed("::ffff:10.0.0.1")
    assert not limiter.allows("10.0.0.1")
    limiter.failed("fe80::1%eth0")
    for number in range(MOST):
        limiter.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert limiter.allows("2001:db8::1")

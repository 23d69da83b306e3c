"""`genie certs`: what it makes, and a real executor that uses it."""

from __future__ import annotations

import importlib.util
import os
import stat
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner

from genie_plugins import cli

NAMES = {"ca.pem", "ca.key", "server.pem", "server.key", "client.pem", "client.key", "token"}


def run(*args):
    return CliRunner().invoke(cli.main, [str(arg) for arg in args])


def test_the_owner_alone_can_read_what_is_made(tmp_path):
    folder = tmp_path / "new" / "certs"
    result = run("certs", folder)
    assert result.exit_code == 0, result.output
    assert {path.name for path in folder.iterdir()} == NAMES
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "token").read_text().strip() not in result.output


def test_nothing_is_replaced(tmp_path):
    (tmp_path / "token").write_text("mine")
    result = run("certs", tmp_path)
    assert result.exit_code == 1
    assert "is there already" in " ".join(result.output.replace("│", "").split())
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert (tmp_path / "token").read_text() == "mine"


def test_certificates_name_their_hosts(tmp_path):
    from cryptography import x509

    hosts = ["gpu.example", "10.0.0.7", "2001:db8::7"]
    assert run("certs", tmp_path, *(f"--host={host}" for host in hosts)).exit_code == 0
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in found] == hosts


@pytest.mark.parametrize("host", ["", "http://x", "höst", "a b:c"])
def test_a_host_that_is_none(tmp_path, host):
    result = run("certs", tmp_path, "--host", host)
    assert result.exit_code == 1
    assert "neither an IP address nor" in " ".join(result.output.replace("│", "").split())
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("certs", tmp_path / "file" / "certs")
    assert result.exit_code == 1
    assert "Traceback" not in result.output


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = run("certs", tmp_path)
    assert result.exit_code == 1
    assert "genie-remote[tls]" in result.output


USE = "import torch; x = torch.arange(300_000., device='remote_accelerator'); print(x.sum().item())"


def test_an_executor_that_is_reached_from_elsewhere(tmp_path):
    assert run("certs", tmp_path, "--host", "127.0.0.1").exit_code == 0
    serve = [sys.executable, "-m", "genie_plugins.cli", "serve", "tls://0.0.0.0:0", "--device=cpu"]
    serve += ["--grace=0", f"--token-file={tmp_path}/token"]
    serve += [f"--tls-cert={tmp_path}/server.pem", f"--tls-key={tmp_path}/server.key"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip().replace("0.0.0.0", "127.0.0.1")
            settings = {"GENIE_DEVICES": url, "GENIE_TLS_CA": f"{tmp_path}/ca.pem"}
            token = {"GENIE_TOKEN_FILE": f"{tmp_path}/token"}
            right, wrong = (
                subprocess.run(
                    [sys.executable, "-c", USE],
                    capture_output=True,
                    text=True,
                    env=os.environ | settings | more,
                )
                for more in (token, {})
            )
        finally:
            server.terminate()
    assert right.stdout.split() == [str(torch.arange(300_000.0).sum().item())], right.stderr
    assert wrong.returncode != 0
    assert "ConnectionFailed" in wrong.stderr
    assert "GENIE_TOKEN_FILE" in wrong.stderr

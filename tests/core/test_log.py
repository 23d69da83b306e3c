from __future__ import annotations

import subprocess
import sys

import structlog

from genie_core import log


def test_events_go_to_the_present_stderr_with_their_fields(capsys):
    log.get_logger("tests").warning("thing.happened", size=3)
    line = capsys.readouterr().err
    for part in ("thing.happened", "size=3", "tests", "warning"):
        assert part in line


def test_the_level_filters(capsys, monkeypatch):
    monkeypatch.setenv("GENIE_LOG", "error")
    log._backend.cache_clear()
    try:
        logger = log.get_logger("tests")
        logger.debug("not.shown")
        logger.info("not.shown")
        logger.warning("not.shown")
        logger.error("shown")
    finally:
        log._backend.cache_clear()
    assert [line.split("] ")[1].split()[0] for line in capsys.readouterr().err.splitlines()] == [
        "shown"
    ]


def test_the_users_own_configuration_of_structlog_is_left_alone(capsys):
    log.get_logger("tests").warning("thing.happened")
    assert not structlog.is_configured()
    assert capsys.readouterr().out == ""


def test_a_logger_imports_structlog_at_its_first_event_only():
    code = (
        "import sys\n"
        "from genie_core.log import get_logger\n"
        "log = get_logger('x')\n"
        "assert 'structlog' not in sys.modules\n"
        "log.error('boom')\n"
        "assert 'structlog' in sys.modules\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "boom" in result.stderr

from __future__ import annotations

import attrs
import pytest

from genie_core.errors import SettingsError
from genie_core.settings import Settings


def test_nothing_set_gives_an_executor_in_this_process():
    assert Settings.from_env({}) == Settings()
    assert Settings().devices == ("inproc://",)
    assert Settings().plugins is None


def test_empty_variables_count_as_unset():
    variables = [f"GENIE_{field.name.upper()}" for field in attrs.fields(Settings)]
    assert Settings.from_env(dict.fromkeys(variables, " ")) == Settings()


def test_every_setting_has_a_variable_of_its_name():
    for field in attrs.fields(Settings):
        assert field.metadata["variable"] == f"GENIE_{field.name.upper()}"


def test_all_variables_are_read():
    settings = Settings.from_env(
        {
            "GENIE_DEVICES": "tcp://a:7070, inproc://",
            "GENIE_PLUGINS": "executor,transport_tcp",
            "GENIE_BLOCK_PLUGINS": "fallback",
            "GENIE_TRACE_HOOKS": "1",
            "GENIE_LOG": "DEBUG",
            "GENIE_CONNECT_TIMEOUT": "2.5",
            "GENIE_MAX_MESSAGE": "1048576",
        }
    )
    assert settings == Settings(
        devices=("tcp://a:7070", "inproc://"),
        plugins=("executor", "transport_tcp"),
        block_plugins=("fallback",),
        trace_hooks=True,
        log="debug",
        connect_timeout=2.5,
        max_message=1 << 20,
    )


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("GENIE_DEVICES", "host:7070", "tcp://host:7070"),
        ("GENIE_DEVICES", "tcp://a:1,b", "'b' is no address"),
        ("GENIE_DEVICES", ",", "separated by commas"),
        ("GENIE_PLUGINS", ",", "names"),
        ("GENIE_TRACE_HOOKS", "maybe", "1 \\(on\\) or 0 \\(off\\)"),
        ("GENIE_LOG", "loud", "debug, info, warning, error, critical"),
        ("GENIE_CONNECT_TIMEOUT", "soon", "seconds"),
        ("GENIE_CONNECT_TIMEOUT", "0", "above 0"),
        ("GENIE_CONNECT_TIMEOUT", "nan", "seconds"),
        ("GENIE_CONNECT_TIMEOUT", "inf", "seconds"),
        ("GENIE_MAX_MESSAGE", "8GB", "whole number of bytes"),
        ("GENIE_MAX_MESSAGE", "-5", "at least 1024"),
        ("GENIE_MAX_MESSAGE", "10", "at least 1024"),
    ],
)
def test_a_bad_value_names_variable_value_and_what_is_allowed(variable, value, says):
    with pytest.raises(SettingsError, match=says) as info:
        Settings.from_env({variable: value})
    assert f"{variable}={value!r}" in str(info.value)

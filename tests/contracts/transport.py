"""The whole contract: what a transport's tests inherit."""

from __future__ import annotations

from .endings import Endings
from .flow import Flow
from .listening import Listening
from .messages import Messages
from .processes import Processes


class ChannelContract(Messages, Flow, Endings):
    """What both ends of a connection must do; a subclass gives `fresh_url` or `make_pair`."""


class ListenerContract(Listening, Processes):
    """What addresses and listeners must do; a subclass gives `fresh_url`."""


class TransportContract(ChannelContract, ListenerContract):
    """Everything; a subclass gives `fresh_url`."""

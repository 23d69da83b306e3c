"""Addresses and listeners."""

from __future__ import annotations

import time

import pytest

from genie_core.contracts import Listener
from genie_core.errors import ConnectionFailed, ConnectionLost
from genie_core.plugins import manager

from .base import Fixtures


class Listening(Fixtures):
    """What one address does for any number of clients."""

    def test_is_a_listener(self, listen):
        assert isinstance(listen(), Listener)

    def test_the_client_is_named_by_what_it_asked_for(self, listen, connect, accept):
        listener = listen()
        assert connect(listener.url).url == listener.url
        assert accept(listener).url

    def test_clients_come_in_any_number(self, listen, connect, accept):
        listener = listen()
        clients = [connect(listener.url) for _ in range(40)]
        for index, client in enumerate(clients):
            client.send([b"%d" % index])
        servers = [accept(listener) for _ in clients]
        heard = {int(bytes(server.receive(10)[0])): server for server in servers}
        assert sorted(heard) == list(range(40))
        for index, client in enumerate(clients):
            heard[index].send([b"you are %d" % index])
            assert bytes(client.receive(10)[0]) == b"you are %d" % index

    def test_one_who_says_nothing_keeps_nobody_waiting(self, listen, connect, accept, background):
        listener = listen()
        connect(listener.url)
        background(accept, listener)()
        connect(listener.url).send([b"hello"])
        assert bytes(background(accept, listener)().receive(10)[0]) == b"hello"

    def test_closing_wakes_accept_and_keeps_channels(self, listen, connect, accept, background):
        listener = listen()
        client = connect(listener.url)
        server = accept(listener)
        waiting = background(accept, listener)
        time.sleep(0.1)
        listener.close()
        listener.close()
        with pytest.raises(ConnectionLost):
            waiting(10)
        client.send([b"still here"])
        assert bytes(server.receive(5)[0]) == b"still here"

    def test_an_address_can_be_listened_on_again(self, listen, connect, accept):
        first = listen()
        first.close()
        again = listen(first.url)
        connect(again.url)
        accept(again)

    def test_nobody_there(self, listen, connect):
        listener = listen()
        listener.close()
        with pytest.raises(ConnectionFailed) as caught:
            connect(listener.url)
        assert caught.value.url == listener.url

    def test_an_address_in_use(self, listen):
        listener = listen()
        with pytest.raises(ConnectionFailed):
            listen(listener.url)

    def test_addresses_of_others_are_left_alone(self, settings):
        for open_it in (manager().hook.genie_open_transport, manager().hook.genie_open_listener):
            assert open_it(url="no-such-scheme://nowhere", settings=settings) is None

"""Clients and upstream of a benchmark in one loop, made to cost less than what they measure.

Both ends live in one process on plain epoll: no scheduler, no parser that builds anything, one system call where one
will do. So a call costs the load about a third of what it costs the floor, and the side under test stays the
bottleneck. An event of a stream is sent when the client has taken the one before it, so that each arrives alone in
its stream however many streams there are. Every reply is checked for its status, length or end.
"""

import math
import re
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import attrs

READ = 1 << 18
LIMIT = 300.0
"""Seconds that one run may take: the stock stack takes a minute for 2,000 calls where others use the machine too."""

_LENGTH = re.compile(rb"(?i)\r\n(?:content-length: *(\d+)|transfer-encoding: *chunked)")
_CLIENT = re.compile(rb"client-(\d+)")
_END = b"0\r\n\r\n"


class Wrong(Exception):
    """A side did not do what it is measured at."""


@attrs.frozen
class Case:
    """What is asked and answered.

    Attributes:
        size: bytes of the request's body, and of the reply's when it does not stream.
        events: of a stream, 0 for a reply in one piece.
        apart: each event is sent when the one before has arrived; otherwise all at once.
        holds: a stream stops after its first event and stays open.
    """

    name: str
    size: int = 1024
    events: int = 0
    apart: bool = False
    holds: bool = False

    def request(self, key: str, number: int) -> bytes:
        flag = "true" if self.events else "false"
        opening = f'{{"model":"m","stream":{flag},"metadata":{{"who":"client-{number:05d}"}},'
        opening += '"messages":[{"role":"user","content":"'
        text = "tell me\\n".ljust(9, ".") * (1 + (self.size - len(opening)) // 9)
        body = (opening + text[: self.size - len(opening) - 5].rstrip("\\") + '"}]}').encode()
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nUser-Agent: bench\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def reply(self) -> bytes:
        """What the upstream sends first."""
        if not self.events:
            frame = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"content":"%s"}}]}'
            body = frame % (b"x" * (self.size - len(frame) + 2))
            return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        if self.apart or self.holds:
            return head + _chunk(_event(b"word "))
        return head + _chunk(_event(b"word ") * self.events + b"data: [DONE]\n\n") + _END


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(word: bytes) -> bytes:
    opening = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    return opening + b'[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % word


EVENT, DONE = _chunk(_event(b"word ")), _chunk(b"data: [DONE]\n\n") + _END


class End(Protocol):
    """One end of a connection."""

    sock: socket.socket

    def take(self, data: bytes) -> None:
        """Bytes have arrived, or the end."""


class Loop:
    """What is open, and who takes what arrives there."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.ends: dict[int, End] = {}
        self.unsent: dict[int, memoryview] = {}
        self.listener: tuple[int, Upstream] | None = None

    def add(self, end: End) -> None:
        end.sock.setblocking(False)
        end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ends[end.sock.fileno()] = end
        self.epoll.register(end.sock.fileno(), select.EPOLLIN)

    def remove(self, end: End) -> None:
        number = end.sock.fileno()
        if self.ends.pop(number, None) is not None:
            self.unsent.pop(number, None)
            self.epoll.unregister(number)
            end.sock.close()

    def send(self, end: End, data: bytes) -> None:
        try:
            count = end.sock.send(data)
        except BlockingIOError:
            count = 0
        if count < len(data):
            self.unsent[end.sock.fileno()] = memoryview(data)[count:]
            self.epoll.modify(end.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def turn(self, timeout: float) -> None:
        """Hand out what has arrived; wait for it so many seconds."""
        for number, what in self.epoll.poll(timeout):
            if self.listener is not None and number == self.listener[0]:
                self.listener[1].accept()
                continue
            end = self.ends.get(number)
            if end is None:
                continue
            if what & select.EPOLLOUT:
                self._send_rest(number, end)
            if what & ~select.EPOLLOUT:
                try:
                    data = end.sock.recv(READ)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                end.take(data)

    def _send_rest(self, number: int, end: End) -> None:
        rest = self.unsent[number]
        rest = rest[end.sock.send(rest) :]
        if rest:
            self.unsent[number] = rest
        else:
            del self.unsent[number]
            self.epoll.modify(number, select.EPOLLIN)


class Upstream:
    """Answers every request as the case in force says."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.sock.setblocking(False)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.streams: dict[int, Visitor] = {}
        loop.epoll.register(self.sock.fileno(), select.EPOLLIN)
        loop.listener = (self.sock.fileno(), self)
        self.follow(Case("nothing"))

    def follow(self, case: Case) -> None:
        self.case, self.first = case, case.reply()

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except BlockingIOError:
                return
            self.loop.add(Visitor(sock, self))

    def go_on(self, client: int, count: int) -> None:
        """Client has taken so many events of its stream."""
        if self.case.apart:
            last = count == self.case.events
            self.loop.send(self.streams[client], DONE if last else EVENT)


class Visitor:
    """A connection that the side under test has made."""

    def __init__(self, sock: socket.socket, upstream: Upstream) -> None:
        self.sock = sock
        self.upstream = upstream
        self.held = bytearray()
        self.missing = 0

    def take(self, data: bytes) -> None:
        if not data:
            self.upstream.loop.remove(self)
            return
        self.held += data
        if not self.missing:
            end = self.held.find(b"\r\n\r\n")
            found = _LENGTH.search(self.held, 0, end) if end >= 0 else None
            if found is None:
                return
            if found[1] is None:  # the stock stack may send chunks
                if not self.held.endswith(_END):
                    return
                self.missing = len(self.held)
            else:
                self.missing = end + 4 + int(found[1])
        if len(self.held) >= self.missing:
            self._answer()

    def _answer(self) -> None:
        upstream = self.upstream
        if upstream.case.events:
            found = _CLIENT.search(self.held)
            assert found is not None
            upstream.streams[int(found[1])] = self
        self.held.clear()
        self.missing = 0
        upstream.loop.send(self, upstream.first)


class Client:
    """A client of the side under test: one request at a time on one connection."""

    def __init__(self, number: int, address: tuple[str, int], key: str, case: Case, run: "Load") -> None:
        self.number = number
        self.sock = socket.create_connection(address)
        self.run = run
        self.case = case
        self.request = case.request(key, number)
        self.began = self.first = 0.0
        self.missing = self.taken = self.calls = 0
        self.status = b""

    def ask(self, began: float) -> None:
        self.began, self.first = began, 0.0
        self.missing = self.taken = 0
        self.status = b""
        self.run.loop.send(self, self.request)

    def take(self, data: bytes) -> None:
        if not data:
            when = "when its answer had begun" if self.status else "and gave no answer"
            raise Wrong(f"client {self.number}: the side under test closed the connection {when}")
        if not self.status:
            self._take_head(data)
        if self.case.events:
            self._take_events(data)
        elif self.missing < 0:
            if data.endswith(_END):
                self.run.ended(self)
        else:
            self.missing -= len(data)
            if self.missing <= 0:
                self.run.ended(self)

    def _take_head(self, data: bytes) -> None:
        self.status = data[:12]
        if not self.status.endswith(b" 200"):
            raise Wrong(f"client {self.number} got {data[:1000]!r}")
        head = data.find(b"\r\n\r\n")
        length = _LENGTH.search(data, 0, head)
        if length is None or length[1] is None:
            self.missing = -1
        else:
            self.missing = head + 4 + int(length[1])
            if int(length[1]) < self.case.size - 100:
                raise Wrong(f"client {self.number} got a body of {int(length[1])} bytes")

    def _take_events(self, data: bytes) -> None:
        count = data.count(b"data: ")
        if count and not self.first:
            self.first = time.perf_counter()
        self.taken += count
        if data.endswith(_END):
            if self.taken != self.case.events + 1:
                raise Wrong(f"client {self.number} got {self.taken} events of {self.case.events} and an end")
            self.run.ended(self)
        elif count and self.taken <= self.case.events:  # what comes behind the last would be nobody's answer
            self.run.upstream.go_on(self.number, self.taken)
            if self.case.holds:
                self.run.left -= 1


class Load:
    """A number of clients that make a bounded number of calls of one kind."""

    def __init__(self, loop: Loop, upstream: Upstream, urls: Sequence[str], key: str, case: Case, clients: int) -> None:
        self.loop, self.upstream, self.case = loop, upstream, case
        upstream.follow(case)
        places = [(host, int(port)) for host, _, port in (url.removeprefix("http://").rpartition(":") for url in urls)]
        self.clients = [Client(number, places[number % len(places)], key, case, self) for number in range(clients)]
        for client in self.clients:
            loop.add(client)
        self.left = self.unasked = 0
        self.idle: deque[Client] = deque()
        self.waits: list[float] = []
        self.firsts: list[float] = []
        self.paced = False

    def ended(self, client: Client) -> None:
        now = time.perf_counter()
        client.calls += 1
        self.left -= 1
        self.waits.append(now - client.began)
        if client.first:
            self.firsts.append(client.first - client.began)
        if self.paced:
            self.idle.append(client)
        elif self.unasked:
            self.unasked -= 1
            client.ask(now)

    def call(self, count: int) -> None:
        """So many calls, each client's next one when its last has ended."""
        self.left = count
        first = self.clients[:count]
        self.unasked = count - len(first)
        for client in first:
            client.ask(time.perf_counter())
        limit = time.perf_counter() + LIMIT
        while self.left > 0:
            self.loop.turn(1.0)
            if time.perf_counter() > limit:
                raise Wrong(f"{self.left} calls of {count} not ended")

    def call_at(self, rate: float, count: int) -> None:
        """So many calls, begun at a fixed rate whatever has ended.

        A call's time begins when it is sent, or was due while every client waited for an answer. The last two
        milliseconds before it is due are not slept, because epoll counts in whole ones: calls would come in bunches.
        """
        self.paced = True
        self.idle.extend(self.clients)
        self.left, asked, began = count, 0, time.perf_counter()
        while self.left > 0:
            due = began + asked / rate if asked < count and self.idle else math.inf
            self.loop.turn(min(1.0, max(0.0, due - time.perf_counter() - 0.002)))
            now = time.perf_counter()
            while asked < count and self.idle and now >= (due := began + asked / rate):
                self.idle.popleft().ask(now if now - due < 0.002 else due)
                asked += 1
            if now > began + LIMIT:
                raise Wrong(f"{self.left} calls of {count} not ended")
        self.paced = False
        self.idle.clear()

    def settle(self, seconds: float) -> None:
        """Let whatever goes on go on."""
        limit = time.perf_counter() + seconds
        while (now := time.perf_counter()) < limit:
            self.loop.turn(limit - now)

    def close(self) -> None:
        for client in self.clients:
            self.loop.remove(client)

"""The floor: the least that forwarding costs in this language, to measure Turnout against.

    python tests/bench/floor.py --listen 8080 --upstream 127.0.0.1:9000

A bare forwarder on Trio and llhttp (httptools on both sides): keep-alive towards clients and upstream, bodies with a
length and chunked ones, the latter passed on as they arrive. It parses every message, as any gateway must, and does
nothing else: no keys, no routing, no deadlines, no caps, one upstream. Never use it for anything but comparison.
`--processes 2` has two of them accept from one socket, which shows what dividing the clients costs any forwarder.
"""

import argparse
import os
import signal
import socket
import sys

import httptools
import trio

READ = 65536


class Wire:
    """A non-blocking socket: sends at once when it can, waits only to read."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock

    async def read(self) -> bytes:
        await trio.lowlevel.wait_readable(self.sock)
        return self.sock.recv(READ)

    async def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)


class Request:
    """What a client asks, filled in by llhttp."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.clear()

    def clear(self) -> None:
        self.path = b""
        self.fields: list[bytes] = []
        self.body: list[bytes] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in {b"authorization", b"content-type", b"accept"}:
            self.fields.append(b"%b: %b\r\n" % (name, value))

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def encode(self, host: bytes) -> bytes:
        body = b"".join(self.body)
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\n" % (self.parser.get_method(), self.path, host)
        return b"".join((head, *self.fields, b"Content-Length: %d\r\n\r\n" % len(body), body))


class Reply:
    """What the upstream answers, filled in by llhttp."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.clear()

    def clear(self) -> None:
        self.fields: list[bytes] = []
        self.pieces: list[bytes] = []
        self.chunked = False
        self.head = b""
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower == b"transfer-encoding":
            self.chunked = True
        if lower in {b"content-type", b"content-length", b"transfer-encoding"}:
            self.fields.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        self.head = b"HTTP/1.1 %d X\r\n%b\r\n" % (self.parser.get_status_code(), b"".join(self.fields))

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
        self.keep = self.parser.should_keep_alive()

    def take(self) -> bytes:
        """What can be passed on now."""
        data = b"".join(self.pieces)
        self.pieces.clear()
        if self.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            if self.complete:
                data += b"0\r\n\r\n"
        head, self.head = self.head, b""
        return head + data


class Floor:
    """The forwarder: a server, and idle connections to one upstream."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.host = f"{host}:{port}".encode()
        self.idle: list[tuple[Wire, Reply]] = []

    async def connect(self) -> tuple[Wire, Reply]:
        sock = trio.socket.socket()
        await sock.connect(self.address)
        return Wire(socket.socket(fileno=sock.detach())), Reply()

    async def forward(self, request: Request, client: Wire) -> None:
        data = request.encode(self.host)
        while True:
            reused = bool(self.idle)
            wire, reply = self.idle.pop() if reused else await self.connect()
            keep = False
            try:
                reply.clear()
                keep = await self.exchange(data, wire, reply, client)
            finally:
                if keep:
                    self.idle.append((wire, reply))
                else:
                    wire.sock.close()
            if keep or not reused or reply.complete:
                return

    async def exchange(self, data: bytes, wire: Wire, reply: Reply, client: Wire) -> bool:
        """Pass one reply on; whether the connection may be kept."""
        await wire.send(data)
        while not reply.complete:
            more = await wire.read()
            if not more:
                return False
            reply.parser.feed_data(more)
            if out := reply.take():
                await client.send(out)
        return reply.keep

    async def serve(self, sock: socket.socket) -> None:
        with sock:
            client, request = Wire(sock), Request()
            try:
                while data := await client.read():
                    request.parser.feed_data(data)
                    if request.complete:
                        await self.forward(request, client)
                        request.clear()
            except (OSError, httptools.HttpParserError):
                return  # this client's connection ends; the others go on

    async def run(self, listener: socket.socket, pause: float, ends: int | None) -> None:
        """Serve; with a pause after each connection, in which other processes take theirs, and to the end of a pipe."""
        with listener:
            listener.setblocking(False)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.stop, nursery.cancel_scope)
                if ends is not None:
                    nursery.start_soon(self.stop_at, ends, nursery.cancel_scope)
                while True:
                    await trio.lowlevel.wait_readable(listener)
                    try:
                        sock, _ = listener.accept()
                    except BlockingIOError:
                        continue
                    nursery.start_soon(self.serve, sock)
                    await trio.sleep(pause)
        for wire, _ in self.idle:
            wire.sock.close()

    async def stop(self, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                scope.cancel()

    async def stop_at(self, pipe: int, scope: trio.CancelScope) -> None:
        await trio.lowlevel.wait_readable(pipe)
        scope.cancel()


def fork(count: int) -> int | None:
    """Make so many processes of this one; each further one gets a pipe that ends when the first one does."""
    ends, first = os.pipe()
    pids = [os.getpid()]
    while len(pids) < count:
        if (pid := os.fork()) == 0:
            os.close(first)
            return ends
        pids.append(pid)
    os.close(ends)
    for number, pid in enumerate(pids, 1):
        print(f"process {number} serves, with the process id {pid}", file=sys.stderr, flush=True)
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="A bare forwarder, to compare with.")
    parser.add_argument("--listen", type=int, default=0, help="port on loopback; 0 for a free one, printed")
    parser.add_argument("--upstream", required=True, help="HOST:PORT")
    parser.add_argument("--processes", type=int, default=1)
    arguments = parser.parse_args()
    host, _, port = arguments.upstream.rpartition(":")
    listener = socket.create_server(("127.0.0.1", arguments.listen), backlog=2048)
    ends = fork(arguments.processes)
    if ends is None:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    trio.run(Floor(host, int(port)).run, listener, 0.001 if arguments.processes > 1 else 0.0, ends)


if __name__ == "__main__":
    main()

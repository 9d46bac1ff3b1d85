"""A POST that goes out again and again, as the pool and `turnout_wire` do it together."""

from contextlib import AbstractAsyncContextManager

import httpx
import pytest
import trio
from peers import OK, peer, read_request

from turnout import Credential
from turnout_transport import Pool
from turnout_transport._exchanges import BoundTransport
from turnout_wire.exchange import Exchange, Posting

SECRET = "Bearer sk-canary-posting"


def pool() -> AbstractAsyncContextManager[Pool]:
    return Pool().opened()


def bound(pool: Pool, origin: str) -> BoundTransport:
    transport = pool.for_credential(Credential(id="a", provider="p", origin=origin))
    assert isinstance(transport, BoundTransport)
    return transport


def posting(origin: str, **headers: str) -> Posting:
    fields = {"authorization": SECRET, "content-type": "application/json", **headers}
    return Posting(httpx.URL(f"{origin}/v1/chat"), httpx.Headers(fields))


class Recorder:
    """A peer that keeps each request as it came."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        while request := await read_request(stream):
            self.seen.append(request)
            await stream.send_all(OK)


async def test_a_posting_arrives_as_the_request_that_it_stands_for() -> None:
    recorder = Recorder()
    async with peer(recorder.serve) as origin, pool() as opened:
        transport, again = bound(opened, origin), posting(origin)
        for body in (b"{}", b"", b"[1, 2]"):
            async with Exchange.posting(transport, again, body) as posted:
                assert (posted.status, await posted.read_body()) == (200, b"ok")
            async with Exchange.of(transport, again.request(body)) as sent:
                assert (sent.status, await sent.read_body()) == (200, b"ok")
                assert sent.fields == posted.fields

    for posted_bytes, sent_bytes in zip(recorder.seen[::2], recorder.seen[1::2], strict=True):
        assert sorted(posted_bytes.lower().split(b"\r\n")) == sorted(sent_bytes.lower().split(b"\r\n"))


async def test_a_posting_never_leaves_the_origin_of_its_credential() -> None:
    """S11: neither the first time nor once another pool has made its head."""
    recorder, stranger = Recorder(), Recorder()
    async with peer(recorder.serve) as origin, peer(stranger.serve) as elsewhere, pool() as opened:
        kept = posting(origin)
        await bound(opened, origin).post(kept, b"{}")
        for wrong in (kept, posting(origin)):
            with pytest.raises(httpx.LocalProtocolError) as caught:
                await bound(opened, elsewhere).post(wrong, b"{}")
            assert SECRET not in str(caught.value)

    assert (len(recorder.seen), stranger.seen) == (1, [])


async def test_the_head_that_is_kept_shows_no_secret() -> None:
    recorder = Recorder()
    async with peer(recorder.serve) as origin, pool() as opened:
        kept = posting(origin)
        await bound(opened, origin).post(kept, b"{}")
        assert kept.made is not None
        assert SECRET not in repr(kept.made)


@pytest.mark.parametrize("value", ["a\r\nx-b: 1", "a\nb", "a\0b"])
async def test_a_posting_that_would_split_a_request_is_not_sent(value: str) -> None:
    """S51."""
    recorder = Recorder()
    async with peer(recorder.serve) as origin, pool() as opened:
        with pytest.raises(httpx.LocalProtocolError):
            await bound(opened, origin).post(posting(origin, **{"x-a": value}), b"{}")

    assert recorder.seen == []

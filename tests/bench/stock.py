"""The stock stack to compare with: a forwarder as most would write it, hypercorn on Trio and httpx.

    python tests/bench/stock.py --upstream 127.0.0.1:9000

It does what `floor.py` does and no more.
"""

import argparse
import signal
from typing import Any

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

PASSED = {b"content-type", b"content-length"}


class Forwarder:
    """An ASGI application that passes everything on to one upstream."""

    def __init__(self, upstream: str, client: httpx.AsyncClient) -> None:
        self.upstream = upstream
        self.client = client

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError  # hypercorn takes this for "no lifespan here", and trips over a plain return
        pieces = []
        more = True
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        headers = [pair for pair in scope["headers"] if pair[0] in {b"authorization", b"content-type", b"accept"}]
        url = f"http://{self.upstream}{scope['path']}"
        async with self.client.stream(scope["method"], url, headers=headers, content=b"".join(pieces)) as reply:
            passed = [(name.lower(), value) for name, value in reply.headers.raw if name.lower() in PASSED]
            await send({"type": "http.response.start", "status": reply.status_code, "headers": passed})
            async for piece in reply.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def run(port: int, upstream: str) -> None:
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_max_requests = 2**31  # 1,000 otherwise: then it closes, and one client makes more calls than that
    config.keep_alive_timeout = 300.0  # 5 otherwise: of many clients, those who wait that long for a turn lose theirs
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
        stop = trio.Event()

        async def wait_for_signal() -> None:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async for _ in signals:
                    stop.set()
                    return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_signal)
            application: Any = Forwarder(upstream, client)
            bound = await nursery.start(
                lambda task_status: serve(application, config, shutdown_trigger=stop.wait, task_status=task_status)
            )
            print(bound[0], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="The stock forwarder, to compare with.")
    parser.add_argument("--listen", type=int, default=0, help="port on loopback; 0 for a free one, printed")
    parser.add_argument("--upstream", required=True, help="HOST:PORT")
    arguments = parser.parse_args()
    trio.run(run, arguments.listen, arguments.upstream)


if __name__ == "__main__":
    main()

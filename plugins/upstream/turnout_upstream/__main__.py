"""`python -m turnout_upstream --script FILE.json --port 0`."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import click
import trio

from turnout_upstream._json import ScriptError, script_from_json
from turnout_upstream._process import run_process
from turnout_upstream._script import Script


@click.command()
@click.option(
    "--script", "script_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSON file."
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one")
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="PEM chain; serves HTTPS, with --key.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="PEM key.")
@click.option("--record", type=click.Path(path_type=Path), help="Append what is seen to this file, as JSON lines.")
def main(
    *, script_file: Path | None, host: str, port: int, cert: Path | None, key: Path | None, record: Path | None
) -> None:
    """Serve a scripted upstream until SIGTERM or Ctrl-C. Prints its address, then the address of its control door."""
    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key belong together")
    try:
        script = Script() if script_file is None else script_from_json(script_file.read_bytes())
    except ScriptError as error:
        raise click.ClickException(f"{script_file}: {error}") from error
    with ExitStack() as stack:
        file = None if record is None else stack.enter_context(record.open("a", encoding="utf-8"))

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
                tls = None if cert is None or key is None else (cert, key)
                await run_process(script, host=host, port=port, tls=tls, record=file, say=sys.stdout)

        try:
            trio.run(serve)
        except* OSError as errors:
            raise click.ClickException(f"cannot listen on {host}:{port}: {errors.exceptions[0]}") from None


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


if __name__ == "__main__":
    main()

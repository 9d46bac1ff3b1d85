from collections.abc import Iterator
from pathlib import Path

import inside
import pytest
from processes import RemoteUpstream, running_upstream
from valkey_server import Valkey, running

from turnout_upstream import Script


@pytest.fixture(scope="session")
def upstream_process() -> Iterator[RemoteUpstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(upstream_process: RemoteUpstream) -> RemoteUpstream:
    """A scripted upstream process that behaves soundly until a test says otherwise."""
    upstream_process.use(Script())
    return upstream_process


@pytest.fixture(params=["pool", "httpx"])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Houses of this test are over the one transport, then over the other."""
    monkeypatch.setattr(inside, "TRANSPORT", request.param)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of the test's own."""
    (tmp_path / "server").mkdir()
    with running(tmp_path / "server") as server:
        yield server

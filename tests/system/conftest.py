from collections.abc import Iterator

import inside
import pytest
from processes import RemoteUpstream, running_upstream

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

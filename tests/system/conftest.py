from collections.abc import Iterator

import pytest
from processes import RemoteUpstream, running_upstream

from turnout_upstream import Script


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Processes find compiled code where this run has started one before, as in an installation.

    Without it each start compiles everything where the environment forbids to write bytecode: 1.3 s of CPU more.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        environment.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(scope="session")
def upstream_process() -> Iterator[RemoteUpstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(upstream_process: RemoteUpstream) -> RemoteUpstream:
    """A scripted upstream process that behaves soundly until a test says otherwise."""
    upstream_process.use(Script())
    return upstream_process

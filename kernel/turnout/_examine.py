"""Whether `turnout run` can start with a file: what it, `turnout check` and a reload ask before anything is opened."""

from collections.abc import Mapping
from pathlib import Path

from turnout._assemble import weigh
from turnout._config import Config, draft_config
from turnout._config_file import read_text
from turnout._plugins import Plugins
from turnout._problems import Problem


def examine(path: Path, environ: Mapping[str, str], plugins: Plugins) -> Config:
    """The configuration in a file that names somebody to serve, and plugins that take their tables.

    Raises ConfigError with every problem, those of the plugins' tables too, in the order of the file. Waits for the
    disk and imports what the file names; opens nothing.
    """
    draft = draft_config(read_text(path), source=str(path), environ=environ)
    _, found = weigh(draft.config, plugins, draft.problems)
    problems = [*draft.problems, *found]
    if not draft.config.tables("frontends") and not any(problem.path[:1] == ("frontends",) for problem in problems):
        text = "no frontend is named, so nobody could be served; add [frontends.http]"
        problems.append(Problem(("frontends",), text))
    if problems:
        raise draft.config.error(problems)
    return draft.config

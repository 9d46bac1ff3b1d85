"""What the system is asked for whenever one of our files is made, as `strace` tells it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from processes import LIMIT, clean_environment

COMMANDS = Path(__file__).with_name("commands.py")
CONFIG = """\
[turnout]
store = "{kind}"
[stores.{kind}]
path = "{folder}/state/store"
[providers.openai]
base_url = "http://127.0.0.1:9/v1"
[[providers.openai.models]]
name = "m"
"""

MAKING = "open,openat,openat2,creat,mkdir,mkdirat,chmod,fchmod,fchmodat,link,linkat,symlink,symlinkat,mknod,mknodat"
CALL = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
GROWING = re.compile(r"\.versions|audit|-(journal|wal|shm)")
"""What is opened again and again: by us to append to it, or by SQLite beside a database that is ours already."""


def traced(folder: Path, kind: str) -> list[str]:
    """The calls that make or change files, while a credential is added, shown and sealed anew, without a umask."""
    (folder / "turnout.toml").write_text(CONFIG.format(kind=kind, folder=folder))
    config = "--config", str(folder / "turnout.toml")
    wanted = [
        [["credentials", "add", "openai", "--id", "a", *config], "sk-canary-0123456789"],
        [["credentials", "export", "--reveal", "--audit", f"{folder}/audit/of/it", *config], ""],
        [["credentials", "rotate-key", *config], ""],
    ]
    log = folder / "trace"
    done = subprocess.run(
        ["strace", "-f", "-o", str(log), "-e", f"trace={MAKING}", sys.executable, str(COMMANDS)],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
        env=clean_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        umask=0,
    )
    assert [code for code, _, _ in json.loads(done.stdout)] == [0, 0, 0], done.stdout
    return log.read_text().splitlines()


@pytest.mark.apt
@pytest.mark.parametrize("kind", ["sqlite", "files"])
def test_every_file_is_private_from_its_first_moment(kind: str, tmp_path: Path) -> None:
    """S23: made with O_EXCL, O_NOFOLLOW and its mode, not put right afterwards, and never beside its place."""
    made, folders = [], []
    for line in traced(tmp_path, kind):
        call = CALL.match(line)
        if call is None or call["result"] == "-1":
            continue
        name, arguments = call["name"], call["arguments"]
        if name in {"mkdir", "mkdirat"}:
            folders.append(arguments)
        elif name == "openat" and "O_CREAT" in arguments:
            made.append(arguments)
        else:
            assert name in {"open", "openat", "fchmod"}, f"a name is given or changed: {line}"
            assert name != "fchmod" or arguments.endswith(", 0600"), line
    assert len(made) > 3
    assert len(folders) > 3
    for one in (*made, *folders):
        (path,) = re.findall(r'"([^"]+)"', one)
        assert not path.startswith("/") or path.startswith(f"{tmp_path}/"), one
    assert [one for one in folders if not one.endswith(", 0700")] == []
    for one in made:
        assert one.endswith(", 0600"), one
        assert "O_NOFOLLOW" in one, one
        assert "O_CLOEXEC" in one, one
        assert "O_EXCL" in one or GROWING.search(one), one

"""A running `turnout run` gets another configuration: by SIGHUP, by a change of a file, never by a broken one."""

import json
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from processes import Gateway, RemoteUpstream, running_gateway

from turnout_upstream import Script, plays

KEY = "k7-Qd2mX9vLw4TzR8"
SERVED = "generation {} of the configuration is in force"
REFUSED = "the new configuration is not used, the one in force stays"


def config(folder: Path, url: str, *credentials: str, more: str = "", keys: str = '["${TURNOUT_KEY}"]') -> str:
    entries = "".join(
        f'[[providers.openai.credentials]]\nname = "{name}"\napi_key = "sk-{name}"\n' for name in credentials
    )
    return (
        f'[turnout]\nstore = "files"\n[stores.files]\npath = "{folder}/store"\n\n'
        f'[frontends.http]\nlisten = ["127.0.0.1:0"]\nkeys = {keys}\n\n'
        f'[providers.openai]\nbase_url = "{url}/v1"\n[[providers.openai.models]]\nname = "m"\n{entries}{more}'
    )


def put(folder: Path, text: str) -> None:
    """Replace the file as a careful tool does it."""
    fresh = folder / "fresh.toml"
    fresh.write_text(text)
    fresh.rename(folder / "turnout.toml")


def hang_up(gateway: Gateway, folder: Path, text: str) -> None:
    put(folder, text)
    gateway.process.send(signal.SIGHUP)


@contextmanager
def serving(folder: Path, text: str) -> Iterator[Gateway]:
    with running_gateway(text, folder, key=KEY) as gateway:
        yield gateway
        gateway.process.send(signal.SIGTERM)
        assert gateway.process.wait_code() == 0
    assert "Traceback" not in gateway.process.stderr.text


def test_a_new_credential_serves_after_sighup(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H1: nothing but the file and a signal is needed."""
    with serving(tmp_path, config(tmp_path, upstream.url, "old")) as gateway:
        assert gateway.chat("m").status == 200
        hang_up(gateway, tmp_path, config(tmp_path, upstream.url, "new"))
        gateway.process.stderr.wait_for(SERVED.format(2))
        assert gateway.chat("m").status == 200

    assert [request.key for request in upstream.requests(2)] == ["sk-old", "sk-new"]


def test_a_changed_file_is_noticed_without_a_signal(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """Design 11: the file itself, and a file that one of its values comes from."""
    (tmp_path / "key").write_text("sk-first\n")
    text = config(tmp_path, upstream.url, "only").replace('"sk-only"', '"${file:key}"')
    with serving(tmp_path, text) as gateway:
        (tmp_path / "key").write_text("sk-second\n")
        gateway.process.stderr.wait_for(SERVED.format(2))
        assert gateway.chat("m").status == 200
        put(tmp_path, config(tmp_path, upstream.url, "third"))
        gateway.process.stderr.wait_for(SERVED.format(3))
        assert gateway.chat("m").status == 200

    assert [request.key for request in upstream.requests(2)] == ["sk-second", "sk-third"]


def test_client_keys_change_and_a_hangup_without_a_change_does_nothing(
    tmp_path: Path, upstream: RemoteUpstream
) -> None:
    other = "p3-Bn6kYw1sVh5CgJ0"
    with serving(tmp_path, config(tmp_path, upstream.url, "one")) as gateway:
        gateway.process.send(signal.SIGHUP)
        gateway.process.stderr.wait_for("says the same as before")
        hang_up(gateway, tmp_path, config(tmp_path, upstream.url, "one", keys=f'["{other}"]'))
        gateway.process.stderr.wait_for(SERVED.format(2))
        assert gateway.ask("GET", "/v1/models").status == 401
        assert gateway.ask("GET", "/v1/models", key=other).status == 200


BAD: Sequence[tuple[str, str, str]] = (
    ("syntax", "[turnout\n", r"turnout\.toml:{line}:\d+: this is not TOML"),
    ("a type", '[retry]\npasses = "4"\n', r"turnout\.toml:{line}:\d+: retry\.passes: expected a whole number"),
    ("an unknown key", "[retry]\npases = 4\n", r'turnout\.toml:{line}:\d+: retry\.pases: unknown key; did you mean "p'),
    (
        "a dangling reference",
        '[hedge.providers]\nnobody = "2s"\n',
        r"turnout\.toml:{line}:\d+: hedge\.providers\.nobody",
    ),
    ("a missing variable", '[observers.x]\na = "${{NO_SUCH_THING}}"\n', r"turnout\.toml:{line}:\d+: .*NO_SUCH_THING"),
    ("a plugin that is not installed", "[observers.nosuch]\n", r"turnout\.toml:{line}:\d+: .*nosuch"),
    ("a frontend more", "[frontends.nosuch]\n", r"turnout\.toml:{line}:\d+: .*nosuch"),
)


def test_a_bad_file_changes_nothing_and_says_where_it_is_wrong(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H2: every kind of bad file, one after the other, never half of it in force."""
    good = config(tmp_path, upstream.url, "old")
    with serving(tmp_path, good) as gateway:
        for number, (_, more, said) in enumerate(BAD, 1):
            bad = config(tmp_path, upstream.url, "new", more=more.replace("{{", "{").replace("}}", "}"))
            place = len(bad.splitlines())
            hang_up(gateway, tmp_path, bad)
            gateway.process.stderr.wait_for(rf"(?s)({REFUSED}.*){{{number}}}")
            gateway.process.stderr.wait_for(said.format(line=place))
            assert gateway.chat("m").status == 200
        hang_up(gateway, tmp_path, good.replace("127.0.0.1:0", "127.0.0.1:9"))
        gateway.process.stderr.wait_for(r"listen cannot change while Turnout runs; restart it")
        (tmp_path / "turnout.toml").unlink()
        gateway.process.stderr.wait_for(r"cannot read the configuration: No such file")
        assert gateway.chat("m").status == 200
        assert SERVED.format(2) not in gateway.process.stderr.text
        put(tmp_path, config(tmp_path, upstream.url, "new"))
        gateway.process.stderr.wait_for(SERVED.format(2))
        assert gateway.chat("m").status == 200

    keys = [request.key for request in upstream.requests(len(BAD) + 2)]
    assert keys == ["sk-old"] * (len(BAD) + 1) + ["sk-new"]
    assert "sk-" not in gateway.process.stderr.text


def test_reloads_under_load_drop_nothing(tmp_path: Path, upstream: RemoteUpstream) -> None:
    """H1, short form: twenty reloads while requests and streams run; each call is served by one generation."""
    upstream.use(Script(default=plays.chat(every=0.02)))
    texts = [config(tmp_path, upstream.url, f"gen{number % 5}", f"also{number % 3}") for number in range(20)]
    statuses: list[int] = []
    ends: list[bool] = []
    over = threading.Event()

    def ask(stream: bool) -> None:
        while not over.is_set():
            answer = gateway.chat("m", stream=stream)
            statuses.append(answer.status)
            ends.append(
                answer.body.rstrip().endswith("data: [DONE]")
                if stream
                else "content" in json.loads(answer.body)["choices"][0]["message"]
            )
            time.sleep(secrets.randbelow(20) / 1000)

    with serving(tmp_path, config(tmp_path, upstream.url, "start")) as gateway:
        clients = [threading.Thread(target=ask, args=(number % 2 == 0,), daemon=True) for number in range(4)]
        for client in clients:
            client.start()
        for number, text in enumerate(texts, 2):
            hang_up(gateway, tmp_path, text)
            gateway.process.stderr.wait_for(SERVED.format(number))
        over.set()
        for client in clients:
            client.join(20)
    assert len(statuses) > 20
    assert set(statuses) == {200}
    assert all(ends)


def test_a_hangup_while_it_drains_ends_nothing(tmp_path: Path, upstream: RemoteUpstream) -> None:
    upstream.use(Script(default=plays.chat(every=0.3)))
    with running_gateway(config(tmp_path, upstream.url, "one"), tmp_path, key=KEY) as gateway:
        answers: list[str] = []
        client = threading.Thread(target=lambda: answers.append(gateway.chat("m", stream=True).body), daemon=True)
        client.start()
        upstream.requests(1)
        gateway.process.send(signal.SIGTERM)
        gateway.process.stderr.wait_for("draining")
        gateway.process.send(signal.SIGHUP)
        client.join(20)
        assert gateway.process.wait_code() == 0
    assert answers[0].rstrip().endswith("data: [DONE]")

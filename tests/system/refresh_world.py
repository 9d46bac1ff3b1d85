"""A seeded simulation of renewals: two or three nodes, one store with leases, one token endpoint, faults on every way.

    python tests/system/refresh_world.py FIRST COUNT

Each node has the kernel's own rooms: custody, write-behind, follower, leases and refreshes. What is made up is around
them: a store and a server that are slow, away or lose their answers, and nodes that die, close, stop, are cut off, or
have a clock that is wrong. The same seed plays the same.
"""

import gc
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

import attrs
import trio

from turnout import Credential, Metadata, Protocol, Record, Sent, Unauthorized, _refresh
from turnout._affinity import Affinity
from turnout._catalogue import Catalogue
from turnout._custody import Custody
from turnout._follow import Follower
from turnout._intake import Intake
from turnout._leasing import Leasing
from turnout._observers import Observers
from turnout._plugin_calls import plugin_code
from turnout._records import decode_credential, decode_state, encode_credential
from turnout._refresh import RefreshRoom
from turnout._schedule import Schedule
from turnout._storing import Storing
from turnout._write_behind import STORE_LIMIT
from turnout.abc import Change, Lease
from turnout.errors import StoreConflict, StoreError, UpstreamFailed
from turnout.testing._determinism import SkippingClock, run_deterministically

START = 1_800_000_000.0
LASTS = 450.0
"""Seconds that a token lives; the lead is 300."""

FAULTY, HEALED, HEARD = 350.0, 100.0, 20.0
"""Seconds with faults, seconds after them, and until all have heard of what came last."""

DELAYS = (0.0,) * 20 + (0.05,) * 6 + (1.0,) * 2 + (3.0,)
"""Seconds that one way to the store takes, while there are faults."""

LEASE = 70.0
"""Seconds that a lease is to last: longer than a renewal may take."""

IDS = ("a", "b")


@attrs.define(eq=False)
class Post:
    """One request to the server.

    Attributes:
        node: who made it.
        at: when.
        until: when its lease ends.
        got: the token that it is answered with.
        vain: it brought nothing, so far.
        lost: its answer was lost on the way, or was a refusal.
    """

    node: "Node"
    at: float
    until: float
    got: str | None = None
    vain: bool = True
    lost: bool = False


class Server:
    """A token endpoint that spends each refresh token once; with grace a spent one gives its successor again."""

    def __init__(self, *, grace: bool) -> None:
        self.grace = grace
        self.live: dict[str, str] = {f"{id}.0": id for id in IDS}
        self.spent: dict[str, str] = {}
        self.count = 0

    def grant(self, token: str) -> str | None:
        if token in self.live:
            id = self.live.pop(token)
            self.count += 1
            self.spent[token] = f"{id}.{self.count}"
            self.live[self.spent[token]] = id
            return self.spent[token]
        if self.grace and self.spent.get(token) in self.live:
            return self.spent[token]
        family = id_of(token)
        self.live = {one: id for one, id in self.live.items() if id != family}
        return None


class Shared:
    """What the store holds, and what has been durable in it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], tuple[bytes | None, int, int, object]] = {}
        self.leases: dict[str, tuple[int, float]] = {}
        self.holders: dict[str, Port] = {}
        self.leased_at: dict[str, float] = {}
        self.seq = 0
        self.durable: set[str] = set()
        self.ports: list[Port] = []

    def write(self, kind: str, id: str, data: bytes | None, writer: object) -> int:
        self.seq += 1
        version = self.records.get((kind, id), (None, 0, 0, None))[1] + 1
        self.records[kind, id] = data, version, self.seq, writer
        if kind == "secret" and data is not None:
            self.durable.add(token_of(decode_credential(data)))
        for port in self.ports:
            if port is not writer:
                port.news.set()
        return version


class Port:
    """The store as one node sees it."""

    api: ClassVar[int] = 1

    def __init__(self, world: "World", node: "Node | None") -> None:
        self._world = world
        self._shared = world.shared
        self._node = node
        self._fences: dict[str, int] = {}
        self._seq = 0
        self.news = trio.Event()
        self._shared.ports.append(self)

    async def _way(self) -> None:
        """To the store. Others may go on meanwhile, however quick it is."""
        await trio.lowlevel.checkpoint()
        await self._back()

    async def _back(self) -> None:
        """From the store."""
        if self._node is not None:
            await self._node.way()

    async def list(self) -> Iterable[Record]:
        await self._way()
        self._seq = self._shared.seq
        return [
            Record(kind=kind, id=id, data=data, version=version)
            for (kind, id), (data, version, _, _) in self._shared.records.items()
            if data is not None
        ]

    async def read(self, kind: str, id: str) -> Record | None:
        await self._way()
        data, version, _, _ = self._shared.records.get((kind, id), (None, 0, 0, None))
        await self._back()
        return None if data is None else Record(kind=kind, id=id, data=data, version=version)

    async def save(self, kind: str, id: str, data: bytes, if_version: int | None) -> int:
        await self._way()
        old, version, _, _ = self._shared.records.get((kind, id), (None, 0, 0, None))
        current = 0 if old is None else version
        fence = self._fences.get(id)
        if kind == "secret" and fence is not None and self._shared.leases[id][0] != fence:
            raise StoreConflict("its lease was lost", current=current)
        if if_version is not None and if_version != current:
            raise StoreConflict("another version", current=current)
        done = self._shared.write(kind, id, data, self)
        await self._back()
        return done

    async def delete(self, kind: str, id: str) -> None:
        await self._way()
        if self._shared.records.get((kind, id), (None,))[0] is not None:
            self._shared.write(kind, id, None, self)
        await self._back()

    @asynccontextmanager
    async def lease(self, id: str, seconds: float) -> AsyncIterator[Lease | None]:
        await self._way()
        fence, until = self._shared.leases.get(id, (0, 0.0))
        if until > trio.current_time():
            await self._back()
            yield None
            return
        lease = Lease(id=id, fence=fence + 1, until=trio.current_time() + seconds)
        self._shared.leases[id] = lease.fence, lease.until
        self._shared.leased_at[id] = trio.current_time()
        self._shared.holders[id] = self
        await self._back()
        self._fences[id] = lease.fence
        try:
            yield lease
        finally:
            del self._fences[id]
            await self._way()
            if self._shared.leases[id][0] == lease.fence:
                self._shared.leases[id] = lease.fence, 0.0

    def watch(self) -> "Port":
        return self

    def __aiter__(self) -> "Port":
        return self

    async def __anext__(self) -> Sequence[Change]:
        while True:
            self.news = trio.Event()
            await self._way()
            since, self._seq = self._seq, self._shared.seq
            found = [
                Change(
                    kind=kind, id=id, record=None if data is None else Record(kind=kind, id=id, data=data, version=v)
                )
                for (kind, id), (data, v, seq, writer) in self._shared.records.items()
                if seq > since and writer is not self
            ]
            if found:
                return found
            await self.news.wait()


class Node:
    """One process, with the kernel's rooms."""

    def __init__(self, world: "World", name: str, skew: float) -> None:
        self.world, self.name = world, name
        self.skew = skew
        self.dead = self.slow = False
        self.refused: set[str] = set()
        self.thaws = self.heals = 0.0
        self.leaves, self.gone = trio.Event(), trio.Event()
        self.left_at = self.saved_at = self.troubled_at = 0.0
        self.scope = trio.CancelScope()
        custody = self.custody = Custody(
            schedule=Schedule(half_open=True), catalogue=Catalogue(), affinity=Affinity(), now=self.now
        )
        instance: Any = SimpleNamespace(
            plugin=SimpleNamespace(origin=lambda _: "https://api.test:443"),
            refresher=self,
            border=plugin_code("turnout.providers", "p"),
            aliases=SimpleNamespace(forget=lambda _: None),
        )
        border = plugin_code("turnout.transports", "none")
        generation: Any = SimpleNamespace(providers={"p": instance}, transport=None, transport_border=border)
        self._intake = Intake(custody)
        self._generation = generation
        follower = Follower(
            custody=custody,
            intake=self._intake,
            generation=lambda: generation,
            now=self.now,
            hint_cap=lambda: 86_400.0,
            tell=lambda _: None,
            serves=lambda _: {},
            leased=lambda: True,
        )
        self.port = Port(world, self)
        self.storing = Storing(custody, failed=lambda *_: None, follow=follower.take)
        self.storing.writer = self.storing.new_writer(self.port, "s")
        self.refresh_room = RefreshRoom(
            custody=custody,
            generation=lambda: generation,
            now=self.now,
            draw=world.chance.random,
            leasing=Leasing(custody, lambda: self.storing.writer),
            observers=Observers(),
        )

    def now(self) -> float:
        return START + trio.current_time() + self.skew

    async def run(self) -> None:
        """Until the world ends, or it is killed, or told to leave: then it closes as the kernel does."""
        with self.scope:
            await self._load()
            async with trio.open_nursery() as rooms:
                self.storing.start(rooms)
                await rooms.start(self.refresh_room.run)
                self.custody.changed = self.refresh_room.reconsider
                for id in self.custody.credentials:
                    self.refresh_room.reconsider(id)
                await self.leaves.wait()
                self.left_at = trio.current_time()
                await self.storing.flush()
                rooms.cancel_scope.cancel()
            self.saved_at = trio.current_time()
            await self.storing.flush()
            await self.refresh_room.close()
            if not self.dead:
                self.world.left(self)
        self.gone.set()

    async def _load(self) -> None:
        """Take in what the store has. It may be away: then it tries again."""
        while True:
            try:
                records = await self.storing.writer.load()
                break
            except StoreError:
                await trio.sleep(1)
        for (kind, id), record in records.items():
            if kind == "secret":
                state = records.get(("state", id))
                known = self._intake.of_known_provider(decode_credential(record.data), self._generation)
                assert known is not None
                self.custody.put(known, state=None if state is None else decode_state(state.data), kept=True)

    def troubled_since(self, at: float) -> bool:
        """Whether something has befallen it, or its way to the store, since then."""
        return self.dead or self.troubled_at > at

    # --- its provider ------------------------------------------------------------------------------------------------

    def refresh_lead(self, credential: Credential) -> float:
        return 300.0

    async def refresh(self, credential: Credential, transport: object) -> Credential:
        chance, world = self.world.chance, self.world
        await trio.sleep(chance.choice((0.0, 0.1, 2.0)))
        await self.stand()
        token = token_of(credential)
        world.law(token not in self.refused, f"E7: {self.name} posts {token} again, which was refused to it")
        post = world.posted(self, token)
        new = post.got = world.server.grant(token)
        if world.faulty and chance.random() < 0.25:  # nothing is worth more now than what it is about to get
            self.befall(chance.choice(("slow", "slow", "cut", "stop", "leave")))
        await trio.sleep(chance.choice((0.0, 0.1, 2.0)))
        await self.stand()
        if world.faulty and chance.random() < 0.05:
            post.lost = True
            raise UpstreamFailed(Protocol(message="the reply was lost", sent=Sent.MAYBE))
        if new is None:
            self.refused.add(token)
            post.lost = True
            raise UpstreamFailed(Unauthorized(message="invalid_grant"))
        post.vain = False
        data = {"access_token": f"at {new}", "refresh_token": new, "expires_at": self.now() + LASTS}
        return attrs.evolve(credential, metadata=Metadata({**(credential.metadata or {}), **data}))

    # --- what befalls it ---------------------------------------------------------------------------------------------

    def befall(self, what: str) -> None:
        """Its next way to the store is slow, or it is cut off from it, or stopped, or told to leave."""
        until = trio.current_time() + self.world.chance.choice((5, 30, 100))
        if what == "slow":
            self.slow = True
        elif what == "cut":
            self.heals = until
        elif what == "stop":
            self.thaws = until
        elif what == "leave":
            self.slow = self.world.chance.random() < 0.5
            self.world.tell_to_leave(self)

    async def stand(self) -> None:
        """The process runs, or stands still."""
        if self.dead:
            await trio.sleep_forever()
        while self.thaws > trio.current_time():
            self.troubled_at = self.thaws
            await trio.sleep_until(self.thaws)
        if self.dead:
            await trio.sleep_forever()

    async def way(self) -> None:
        """One way between the node and the store."""
        world = self.world
        await self.stand()
        delay = max(DELAYS) if self.slow else world.chance.choice(DELAYS) if world.faulty else 0.0
        self.slow = False
        if delay:
            try:
                await trio.sleep(delay)
            finally:
                if delay >= STORE_LIMIT / 2:  # a call has two ways
                    self.troubled_at = max(self.troubled_at, trio.current_time())
            await self.stand()
        if self.heals > trio.current_time():
            self.troubled_at = max(self.troubled_at, self.heals)
            if world.chance.random() < 0.5:
                await trio.sleep(5)
            raise StoreError("cut off")


class World:
    """Everything, for one seed."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)  # noqa: S311  # a simulation's
        self.problems: list[str] = []
        self.faulty = True
        self.server = Server(grace=self.chance.random() < 0.5)
        self.posts: dict[str, list[Post]] = {}
        self.edits = dict.fromkeys(IDS, 0)
        self.leaving: list[Node] = []
        self.kills = self.closings = self.clean = 0
        self.used = 0

    def law(self, holds: bool, otherwise: str) -> None:
        if not holds:
            self.problems.append(f"{trio.current_time():.2f} {otherwise}")

    def posted(self, node: Node, token: str) -> Post:
        """E2: nobody spends a token again, unless who did got nothing for it, has died, or had no store for too long.

        Who has left, and had no store by then, is as good as dead.

        Too long is until its lease has ended; before that it holds on to it, however slow the store is.
        """
        post = Post(node, trio.current_time(), self.shared.leased_at[id_of(token)] + LEASE)
        for before in self.posts.get(token, ())[-1:]:
            one = before.node
            excused = (
                before.vain
                or one.dead
                or (one.gone.is_set() and before.got not in self.shared.durable)
                or post.at >= before.until
            )
            self.law(excused, f"E2: {node.name} spends {token}, which {one.name} spent at {before.at:.2f}")
        self.posts.setdefault(token, []).append(post)
        return post

    async def play(self) -> None:
        self.shared = Shared()
        for id in IDS:
            ends = START + self.chance.choice((100, 310, 400))
            data = {"access_token": f"at {id}.0", "refresh_token": f"{id}.0", "expires_at": ends, "email": id}
            fresh = Credential(id=id, provider="p", metadata=Metadata(data))
            self.shared.write("secret", id, encode_credential(fresh), None)
        self.operator = Port(self, None)
        count = self.chance.choice((2, 3))
        self.nodes = [Node(self, f"n{number}", self._skew()) for number in range(count)]
        async with trio.open_nursery() as self.nursery:
            for node in self.nodes:
                self.nursery.start_soon(node.run)
            await self._faults()
            self.faulty = False
            for node in self.everybody():
                node.thaws = node.heals = 0.0
            await trio.sleep(HEALED)
            for id in IDS:  # one whose next try is further away than this is tried now
                if not self.works(id):
                    self.nodes[0].refresh_room.ask(id)
            await trio.sleep(HEARD)
            while any(node.refresh_room._flights for node in self.nodes):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(HEARD)
            self.look()
            self.at_the_end()
            self.nursery.cancel_scope.cancel()
            for node in self.nodes:
                node.dead = False

    def everybody(self) -> list[Node]:
        """Those that run, and those that leave."""
        return [*self.nodes, *self.leaving]

    def _skew(self) -> float:
        return self.chance.choice((0.0, 0.0, 300.0, -300.0))

    async def _faults(self) -> None:
        rate = self.chance.choice((1e9, 80.0, 16.0))
        while trio.current_time() < FAULTY:
            await trio.sleep(min(self.chance.expovariate(1 / rate), FAULTY - trio.current_time(), 60.0))
            self.look()
            what = self.chance.choice(("kill", "stop", "cut", "leave", "leave", "edit", "edit", "cool", "ask"))
            node = self.chance.choice(self.everybody())
            now = trio.current_time()
            if rate > 1e8 and what in {"kill", "stop", "cut", "leave"}:
                continue
            if what == "kill":
                self._kill(node)
            elif what in {"stop", "cut", "leave"}:
                node.befall(what)
            elif what == "edit":
                await self._edit(self.chance.choice(IDS))
            elif what == "cool" and (known := sorted(node.custody.states)):
                id = self.chance.choice(known)
                state = node.custody.states[id]
                node.custody.settle(id, attrs.evolve(state, status_message=f"{now}", updated_at=node.now()), None)
            elif what == "ask":  # as a call does whose token was refused; a person alone insists on a second refusal
                known = sorted(id for id, state in node.custody.states.items() if not state.needs_login)
                if known:
                    node.refresh_room.ask(self.chance.choice(known))

    def _kill(self, node: Node) -> None:
        node.dead = True
        node.scope.cancel()
        self.kills += 1
        if node in self.nodes:
            self.nursery.start_soon(self._in_place_of(node).run)
        else:
            self.leaving.remove(node)

    def tell_to_leave(self, node: Node) -> None:
        if node in self.nodes:
            self.leaving.append(node)
            node.leaves.set()
            self.nursery.start_soon(self._follow, node, self._in_place_of(node))

    def _in_place_of(self, node: Node) -> Node:
        again = self.nodes[self.nodes.index(node)] = Node(self, f"{node.name}'", self._skew())
        return again

    async def _follow(self, node: Node, again: Node) -> None:
        """The next one starts at once, or when the one that leaves has ended."""
        if self.chance.random() < 0.5:
            await node.gone.wait()
        await again.run()

    def left(self, node: Node) -> None:
        """H6: who leaves without trouble leaves no token in memory, no answer to a request, and no lease behind.

        What it has in memory only, after trouble, is in the store if it had none with its last save.
        """
        self.leaving.remove(node)
        self.closings += 1
        self.clean += not node.troubled_since(node.left_at)
        for credential in node.custody.credentials.values():
            token = token_of(credential)
            safe = token in self.shared.durable or node.troubled_since(node.saved_at)
            self.law(safe, f"H6: {node.name} has left with {token}, which no store has")
        for post in itertools.chain.from_iterable(self.posts.values()):
            if post.node is node and not post.lost and not node.troubled_since(post.at):
                self.law(post.got in self.shared.durable, f"H6: {node.name} has left without {post.got}")
        for id, (_, until) in self.shared.leases.items():
            has = self.shared.holders[id] is node.port and until > trio.current_time()
            # Who thaws at the moment in which it gets one has outslept the limit of its own call: trouble, too
            troubled = node.dead or node.troubled_at >= self.shared.leased_at[id]
            self.law(not has or troubled, f"H6: {node.name} has left with the lease of {id}")

    async def _edit(self, id: str) -> None:
        """An operator's command changes a field, by compare and set."""
        self.edits[id] += 1
        while (record := await self.operator.read("secret", id)) is not None:
            edited = attrs.evolve(decode_credential(record.data), label=f"edit {self.edits[id]}")
            try:
                await self.operator.save("secret", id, encode_credential(edited), record.version)
            except StoreConflict:
                continue
            return

    def look(self) -> None:
        """E4: what a node uses is durable, or waits for a store that was away."""
        for node in self.everybody():
            for id, credential in node.custody.credentials.items():
                token = token_of(credential)
                self.used += 1
                safe = token in self.shared.durable or node.custody.dirty.unsaved("secret", id)
                self.law(safe, f"E4: {node.name} uses {token}, which no store has")

    def works(self, id: str) -> bool:
        data, *_ = self.shared.records["secret", id]
        refused = any(node.custody.states[id].needs_login for node in self.nodes)
        return refused or (data is not None and token_of(decode_credential(data)) in self.server.live)

    def at_the_end(self) -> None:
        """All agree, no edit is lost, and what is kept works, or says that a person must log in."""
        for id in IDS:
            data, *_ = self.shared.records["secret", id]
            assert data is not None
            kept = decode_credential(data)
            token, label = token_of(kept), f"edit {self.edits[id]}" if self.edits[id] else ""
            self.law(kept.label == label, f"E11: {id} has the label {kept.label!r}, not {label!r}")
            state, *_ = self.shared.records.get(("state", id), (None,))
            login = "" if state is None else decode_state(state).needs_login
            alive = token in self.server.live
            self.law(alive != bool(login), f"E7: {id} has {token}, alive: {alive}, and needs a login: {login!r}")
            for node in self.nodes:
                known = node.custody.credentials[id]
                self.law(token_of(known) == token, f"{node.name} has {token_of(known)} of {id}, the store {token}")
                self.law(known.label == label, f"E11: {node.name} has the label {known.label!r}, not {label!r}")
                theirs = bool(node.custody.states[id].needs_login)
                self.law(theirs == bool(login), f"{node.name} says {theirs} to a login of {id}, the store {login!r}")


def id_of(token: str) -> str:
    return token.partition(".")[0]


def token_of(credential: Credential) -> str:
    return str(dict(credential.metadata or ())["refresh_token"])


def play(seed: int) -> World:
    """Play one seed."""
    world = World(seed)
    run_deterministically(world.play, seed, clock=SkippingClock())
    return world


def main() -> None:
    logging.disable(logging.CRITICAL)
    _refresh.LOOK_AGAIN = 3.0  # as often as once a second nothing else would be found, and half of the steps are that
    gc.disable()
    first, count = int(sys.argv[1]), int(sys.argv[2])
    failed, spent, again, kills, closings, clean = 0, 0, 0, 0, 0, 0
    for seed in range(first, first + count):
        world = play(seed)
        if seed % 100 == 0:
            gc.collect()
        spent += sum(map(len, world.posts.values()))
        again += sum(len(posts) - 1 for posts in world.posts.values())
        kills += world.kills
        closings += world.closings
        clean += world.clean
        if world.problems:
            failed += 1
            print(f"seed {seed}:", *world.problems[:4], sep="\n  ", flush=True)
    print(f"{count} seeds, {failed} failed; {spent} requests, {again} of them again after a fault; ", end="")
    print(f"{kills} kills, {closings} closings, {clean} of them without trouble")
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()

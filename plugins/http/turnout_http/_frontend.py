"""The plugin: settings in, pages and servers put together, one nursery, and the drain."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from socket import socket
from typing import ClassVar, Self, final

import trio

from turnout import Operation
from turnout.abc import PluginContext, Switch
from turnout.errors import ConfigError, PluginError
from turnout_http._addresses import Address, bind, bound_address
from turnout_http._admission import Admission
from turnout_http._app import App
from turnout_http._descriptors import Descriptors
from turnout_http._gemini import Gemini, SharedModels
from turnout_http._generate import Generate
from turnout_http._origins import Hosts
from turnout_http._pages import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, Audience, Page
from turnout_http._responses_socket import ResponsesSocket
from turnout_http._servers import choose
from turnout_http._settings import Settings as HttpSettings
from turnout_http._side_pages import Decisions, Metrics, Models, Readyz, healthz
from turnout_http._stored import Stored


def pages(switch: Switch, settings: HttpSettings, descriptors: Descriptors | None = None) -> tuple[Page, ...]:
    """The route table: every page of this frontend, each with its audience."""
    limits = settings.limits
    gemini = Gemini(switch, limits)
    models = SharedModels(gemini, Models(switch))
    count = Generate(switch, limits, MESSAGES, Operation.COUNT)
    stored = Stored(switch)
    count_input = Generate(switch, limits, RESPONSES, Operation.COUNT, stored)
    return (
        Page("/healthz", ("GET", "HEAD"), Audience.PUBLIC, healthz),
        Page("/readyz", ("GET", "HEAD"), Audience.PUBLIC, Readyz(switch, descriptors)),
        Page("/v1/chat/completions", ("POST",), Audience.CLIENT, Generate(switch, limits, CHAT)),
        Page(
            "/v1/responses",
            ("POST",),
            Audience.CLIENT,
            Generate(switch, limits, RESPONSES, stored=stored),
            ResponsesSocket(switch, limits, stored),
        ),
        Page("/v1/responses/input_tokens", ("POST",), Audience.CLIENT, count_input),
        Page("/v1/embeddings", ("POST",), Audience.CLIENT, Generate(switch, limits, EMBEDDINGS, Operation.EMBED)),
        Page("/v1/messages", ("POST",), Audience.CLIENT, Generate(switch, limits, MESSAGES)),
        Page("/v1/messages/count_tokens", ("POST",), Audience.CLIENT, count),
        Page("/v1/models", ("GET", "HEAD"), Audience.CLIENT, models),
        Page("/v1/models/{name:path}", ("GET", "HEAD", "POST"), Audience.CLIENT, models),
        Page("/v1beta/models", ("GET", "HEAD"), Audience.CLIENT, gemini),
        Page("/v1beta/models/{name:path}", ("GET", "HEAD", "POST"), Audience.CLIENT, gemini),
        Page("/v1/turnout/decisions/{id}", ("GET", "HEAD"), Audience.CLIENT, Decisions(switch)),
        Page("/metrics", ("GET", "HEAD"), Audience.CLIENT, Metrics(switch)),
    )


def application(
    switch: Switch,
    settings: HttpSettings,
    bound: Sequence[Address],
    context: PluginContext,
    descriptors: Descriptors | None = None,
) -> App:
    """The ASGI application for this switch, listening on the `bound` addresses."""
    return App(
        pages(switch, settings, descriptors),
        settings,
        Hosts(settings.hosts, bound),
        admission=Admission(settings.limits, switch.places, context.key),
        explain=switch.explain,
        log=context.log,
        now=context.now,
    )


@final
class Http:
    """Serves clients over HTTP (entry point `http` of `turnout.frontends`)."""

    api: ClassVar[int] = 1
    Settings: ClassVar[type[HttpSettings]] = HttpSettings

    def __init__(self, settings: HttpSettings, context: PluginContext) -> None:
        self._settings = settings
        self._context = context
        self._follow: Callable[[HttpSettings], None] = _follow_nothing

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: HttpSettings, context: PluginContext) -> AsyncIterator[Self]:
        """The frontend; it listens only while `serve` runs."""
        yield cls(settings, context)

    @classmethod
    def listens(cls, settings: HttpSettings) -> Sequence[str]:
        """The addresses of these settings; without those whose port the system picks, which differ each time."""
        return [str(address) for address in settings.addresses if address.port]

    @classmethod
    def bind(cls, settings: HttpSettings) -> Sequence[socket]:
        """Sockets that listen where these settings say; raises OSError, in words, when an address cannot be bound."""
        stall = settings.limits.write_stall
        with ExitStack() as on_failure:
            sockets = [on_failure.enter_context(bind(address, write_stall=stall)) for address in settings.addresses]
            on_failure.pop_all()
        return sockets

    async def serve(
        self, switch: Switch, *, task_status: trio.TaskStatus[Sequence[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listen, report addresses with port 0 resolved, and serve until draining is over.

        Once the switch drains, nothing more is accepted and idle connections close. The kernel ends calls that outlast
        its time to drain, and their clients are told; whoever does not take that within `drain_grace` seconds more is
        cut off. Raises PluginError when an address cannot be bound.
        """
        with ExitStack() as open_sockets:
            sockets = [open_sockets.enter_context(sock) for sock in self._context.sockets or self._bound()]
            bound = [bound_address(sock) for sock in sockets]
            descriptors = Descriptors(self._context.log)
            app = application(switch, self._settings, bound, self._context, descriptors)
            self._follow = lambda new: app.follow(pages(switch, new, descriptors), new, Hosts(new.hosts, bound))
            server = choose(self._settings, self._context.log, descriptors, shared=bool(self._context.sockets))
            async with trio.open_nursery() as nursery:
                closing = trio.Event()
                await nursery.start(server.serve, app, sockets, closing)
                scheme = "https" if self._settings.tls_certificate else "http"
                task_status.started([f"{scheme}://{address}" for address in bound])
                await switch.wait_draining()
                app.draining = True
                closing.set()
                patience = self._context.drain + self._settings.drain_grace
                nursery.cancel_scope.deadline = trio.current_time() + patience

    def _bound(self) -> Sequence[socket]:
        try:
            return self.bind(self._settings)
        except OSError as error:  # it says everything in its own words
            reason = error.strerror or str(error)
            raise PluginError(reason, group=self._context.group, name=self._context.key) from None

    def check(self, settings: HttpSettings) -> None:
        """Raise ConfigError if these settings differ from those in force in something that takes a restart."""
        if fixed := self._settings.fixed_changes(settings):
            raise ConfigError(
                [f"[frontends.{self._context.key}] {', '.join(fixed)} cannot change while Turnout runs; restart it"]
            )

    def reconfigure(self, settings: HttpSettings) -> None:
        """Serve under these settings from the next request on; `check` has passed."""
        self._settings = settings
        self._follow(settings)


def _follow_nothing(_settings: HttpSettings) -> None:
    """Nothing is served yet."""

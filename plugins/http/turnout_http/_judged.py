"""A head that was let in once, for the next request of its connection that begins with the same bytes."""

from typing import final

import attrs

from turnout_http._framing import Head
from turnout_http._keys import Client, KeyRing
from turnout_http._pages import Page
from turnout_http._visit import Visit


@final
@attrs.frozen(eq=False)
class Judged:
    """What was found out about a head: it is sound, it names us, and it shows the key of this client.

    All of it holds for every request of that connection with the same head, but for its content-length, as long as
    the keys, names and pages are those by which it was judged. Nobody who was refused gets one.

    Attributes:
        ring: the keys, which are others after every change of the settings, so that what is known ends with them (S4).
        page: None when the path names none as it stands.
        head: without a content-length, for which nobody asks whose body is here already.
    """

    ring: KeyRing
    page: Page | None
    head: Head
    client: Client
    dialect: str

    def let_in(self, visit: Visit) -> Page | None:
        """Note in the visit what the head says, and give its page."""
        visit.head, visit.dialect = self.head, self.dialect
        visit.client, visit.key, visit.tag = self.client.id, self.client.key, self.client.tag
        visit.id = self.client.request_id(visit.id)
        return self.page

"""What waits for a reader: the newest of each subject, never more than a limit, and never silently less."""

from collections.abc import Hashable

import pytest

from fader_server.bus import BusMessage, CredentialRevoked, Message, MessagesLost, RevisionHint
from fader_server.bus.mailbox import Mailbox

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Said(BusMessage, frozen=True):
    """A message of another family, of which each counts."""

    words: list[str]


class Count(BusMessage, frozen=True):
    """The same subject as a ``RevisionHint`` may have, and another kind."""

    place: tuple[str, str]
    number: int

    @property
    def subject(self) -> Hashable:
        return self.place


async def test_messages_without_a_subject_are_all_kept() -> None:
    mailbox: Mailbox[Said] = Mailbox()
    sent = [Said(["a"]), Said(["a"]), Said(["b"])]
    for message in sent:
        mailbox.put(message)
    mailbox.close()
    assert [message async for message in mailbox.read()] == sent


async def test_a_subject_belongs_to_its_kind() -> None:
    mailbox: Mailbox[RevisionHint | Count] = Mailbox()
    for message in (RevisionHint("p", "e", 3), Count(("p", "e"), 1), RevisionHint("p", "e", 2), Count(("p", "e"), 0)):
        mailbox.put(message)
    mailbox.close()
    assert [message async for message in mailbox.read()] == [RevisionHint("p", "e", 3), Count(("p", "e"), 0)]


async def test_what_does_not_fit_is_told_of() -> None:
    mailbox: Mailbox[Said] = Mailbox(3)
    for number in range(5):
        mailbox.put(Said([str(number)]))
    mailbox.close()
    assert [message async for message in mailbox.read()] == [MessagesLost(), Said(["3"]), Said(["4"])]


async def test_replacing_needs_no_room() -> None:
    mailbox: Mailbox[Message] = Mailbox(2)
    mailbox.put(CredentialRevoked("k"))
    for revision in range(10):
        mailbox.put(RevisionHint("p", "e", revision))
    mailbox.close()
    assert [message async for message in mailbox.read()] == [CredentialRevoked("k"), RevisionHint("p", "e", 9)]

"""A Fader server made of bare sockets, so that everything a server can do wrong can be done byte by byte.

Without a script it behaves well: it serves its ``world`` by snapshot and stream, and takes usage, acknowledgements
and goodbyes. With
``script("stream", …)`` a test gives the answers to the next requests of that kind, in order; ``always(…)``
replaces good behaviour altogether. Everything that was asked is in ``requests``.
"""

import contextlib
import queue
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping

from sdk_contract.answers import GOOD
from sdk_contract.documents import Document, World, change_event
from sdk_contract.exchange import Answer, Exchange, Inbox, Kind, Request, read_request
from sdk_contract.waiting import eventually


class ScriptedServer:
    """Listens on a port of the loopback from the moment it is made. ``url`` is what clients are given."""

    def __init__(
        self,
        world: World | None = None,
        *,
        prefix: str = "",
        heartbeat: float = 15,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.world = world or World()
        self.prefix = prefix
        self.heartbeat = heartbeat
        self.node: str | None = "node-1"
        """As what it names itself on streams; ``None`` for a server that is older than that."""
        self.requests: list[Request] = []
        self.connections = 0
        self.stopping = False
        self._tls = tls
        self._scripts: dict[Kind, deque[Answer]] = defaultdict(deque)
        self._always: dict[Kind, Answer] = {}
        self._lock = threading.RLock()
        self._streams: list[Inbox] = []
        self._open: set[socket.socket] = set()
        self._port = 0
        self._listen()

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}{self.prefix}"

    # -- what tests say
    # ------------------------------------------------------------------------------------------

    def script(self, kind: Kind, *answers: Answer) -> None:
        """Answer the next requests of this kind so, in order; after them the server behaves well again."""
        with self._lock:
            self._scripts[kind].extend(answers)

    def always(self, kind: Kind, answer: Answer | None) -> None:
        """Answer every request of this kind so, once the script is used up; ``None`` restores good behaviour.
        Answer every request of this kind so, once the script is used up; ``None`` restores good behaviour."""
        with self._lock:
            if answer is None:
                self._always.pop(kind, None)
            else:
                self._always[kind] = answer

    def change(
        self,
        *flags: Document,
        segments: Mapping[str, Document | None] | None = None,
        delete: tuple[str, ...] = (),
    ) -> Document:
        """Change the world by one revision and tell every open stream."""
        with self._lock:
            news = {each["key"]: each for each in flags} | dict.fromkeys(delete)
            made = self.world.change(news, segments)
            self.push(change_event(made, self.world.ack_within_ms))
        return made

    def push(self, data: bytes) -> None:
        """Send these bytes on every open stream."""
        with self._lock:
            for stream in self._streams:
                stream.put(data)

    def end_streams(self) -> None:
        """Finish every open stream properly."""
        with self._lock:
            for stream in self._streams:
                stream.put(None)

    def restart(self, pause: Callable[[], object] | None = None) -> None:
        """Go away without a word, and come back on the same port with the same world."""
        self.stop()
        if pause is not None:
            pause()
        self.stopping = False
        self._listen()

    def stop(self) -> None:
        """Stop listening and reset every connection."""
        self.stopping = True
        # Closing a socket does not wake a thread that is blocked in accept(); shutting it down does.
        self._shut(self._listener)
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            self._shut(connection)
        self._acceptor.join(10)

    # -- what tests ask
    # ------------------------------------------------------------------------------------------

    def asked(self, kind: Kind) -> list[Request]:
        """All requests of this kind so far, oldest first."""
        with self._lock:
            return [request for request in self.requests if request.kind == kind]

    def wait_for(self, kind: Kind, count: int = 1, within: float = 20) -> list[Request]:
        """Wait until there were that many requests of this kind, and return all of them."""
        eventually(lambda: len(self.asked(kind)) >= count, f"{count} requests for {kind}", within)
        return self.asked(kind)

    @property
    def open_streams(self) -> int:
        """How many clients are listening to well-behaved streams now."""
        with self._lock:
            return len(self._streams)

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._open)

    def wait_for_streams(self, count: int = 1, within: float = 20) -> None:
        eventually(lambda: self.open_streams == count, f"{count} open streams", within)

    # -- sockets
    # -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def subscribed(self, since: str | None) -> Iterator[tuple[bytes, Inbox]]:
        """What the world has for a client that holds ``since``, and where all of its later events come in."""
        inbox: Inbox = queue.SimpleQueue()
        with self._lock:
            first = self.world.resume(since)
            self._streams.append(inbox)
        try:
            yield first, inbox
        finally:
            with self._lock:
                self._streams.remove(inbox)

    @property
    def lock(self) -> threading.RLock:
        """Held while the world changes, so that a stream that begins misses nothing and hears nothing twice.
        Held while the world changes, so that a stream that begins misses nothing and hears nothing twice."""
        return self._lock

    def _listen(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self._port))
        self._listener.listen(128)
        self._port = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._acceptor.start()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with self._lock:
                    self.connections += 1
                    number = self.connections
                    self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, plain: socket.socket, number: int) -> None:
        connection = plain
        try:
            if self._tls:
                connection = self._tls.wrap_socket(plain, server_side=True)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as incoming:
                while not self.stopping and (request := read_request(incoming, number)) is not None:
                    with self._lock:
                        self.requests.append(request)
                        answer = self._answer_to(request)
                    if not answer(Exchange(self, connection, request)):
                        return
        except (OSError, ValueError):
            pass  # the client left, or the script cut the connection: both are the test's own doing
        finally:
            with self._lock:
                self._open.discard(plain)
            self._shut(connection)
            connection.close()

    def _answer_to(self, request: Request) -> Answer:
        script = self._scripts[request.kind]
        if script:
            return script.popleft()
        return self._always.get(request.kind) or GOOD[request.kind]

    @staticmethod
    def _shut(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

"""A client of a stream vanishes: its host is gone, and nobody closes its connection or acknowledges what is sent.

Run with a network of its own, such as ``unshare --net`` makes, and a folder as the argument. Prints how many seconds
the server took to let go of the stream.
"""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import urllib3

from processes import PATIENCE, ServerProcess, running_server, wait_for

CLIENT = "192.0.2.1"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=PATIENCE)


def streams(server: ServerProcess) -> int:
    answer = urllib3.request("GET", f"{server.url}/health/ready", retries=False, timeout=PATIENCE)
    count: int = json.loads(answer.data)["streams"]
    return count


def main() -> None:
    ip("link", "set", "lo", "up")
    ip("address", "add", f"{CLIENT}/32", "dev", "lo")
    with running_server(Path(sys.argv[1]), FADER_STUCK_SECONDS="1", FADER_HEARTBEAT_SECONDS="0.2") as server:
        with socket.create_connection(("127.0.0.1", server.port), PATIENCE, (CLIENT, 0)) as client:
            client.sendall(
                b"GET /sdk/v1/stream HTTP/1.1\r\nHost: fader\r\n"
                b"Authorization: Bearer %s\r\n\r\n" % server.sdk_key().encode()
            )
            wait_for(lambda: b": heartbeat" in client.recv(65_536), "a heartbeat")
            assert streams(server) == 1
            ip("address", "delete", f"{CLIENT}/32", "dev", "lo")
            began = time.monotonic()
            wait_for(lambda: streams(server) == 0, "the server to let go of the stream")
            print(f"{time.monotonic() - began:.2f}")
        server.terminate()


if __name__ == "__main__":
    main()

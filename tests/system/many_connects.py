"""Many who ask one address at the same time, and what they hear: run in a namespace."""

import json
import socket
import sys
import threading
import time

address, port, many, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
outcomes, waited = set(), []


def ask():
    """One of them."""
    started = time.monotonic()
    stream = kind == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as one:
        one.settimeout(5)
        try:
            one.connect((address, port))
            if not stream:
                one.send(b"?")
                one.recv(1)
            outcomes.add("connected")
        except OSError as error:
            outcomes.add(str(error))
    waited.append(time.monotonic() - started)


threads = [threading.Thread(target=ask) for _ in range(many)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"seconds": max(waited), "outcomes": sorted(outcomes)}))

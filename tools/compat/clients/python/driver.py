"""What the three Python programs share: the request, the records and the lines they print (see ../README.md)."""

import json
import sys
import threading


def request():
    return json.loads(sys.argv[1])


# Threads speak, too, and print writes a line and its end apart.
OUTPUT = threading.Lock()


def say(event, **fields):
    with OUTPUT:
        print(json.dumps({"event": event, **fields}), flush=True)


def records(req):
    """(key, value, headers, timestamp or None) of every record that `produce` sends."""
    for i in range(req["first"], req["first"] + req["count"]):
        value = f"v{i}".encode().ljust(req.get("size") or 0, b".")
        headers = [("n", f"h{i}".encode()), ("bin", b"\x00\xff")] if req.get("headers") else []
        timestamp = req["timestamp"] + i if req.get("timestamp") else None
        yield f"k{i}".encode(), value, headers, timestamp


def chunks(req):
    """The records in the pieces in which they are to be sent: all at once, or `chunk` of them per line of input."""
    everything, size = list(records(req)), req.get("chunk")
    if not size:
        yield everything
        return
    for start in range(0, len(everything), size):
        if not sys.stdin.readline():
            return
        yield everything[start : start + size]
        # whoever took the piece has waited for its acknowledgements
        say("sent")


def say_record(partition, offset, key, value, timestamp, headers):
    say(
        "record",
        partition=partition,
        offset=offset,
        key=key.decode(),
        value=value.rstrip(b".").decode(),
        size=len(value),
        timestamp=timestamp,
        headers={name: data.hex() for name, data in headers or []},
    )


def end_of_input():
    """An event that is set when standard input ends."""
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    return ended

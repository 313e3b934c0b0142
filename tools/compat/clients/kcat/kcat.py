"""kcat, the command-line client on librdkafka: its arguments and output, told in the lines of ../README.md."""

import json
import re
import subprocess
import sys
import threading

# kcat prints this per record; the unit separator does not occur in our records.
FORMAT = "%p\x1f%o\x1f%k\x1f%S\x1f%T\x1f%h\x1f%s\n"


# Threads speak, too, and print writes a line and its end apart.
OUTPUT = threading.Lock()


def say(event, **fields):
    with OUTPUT:
        print(json.dumps({"event": event, **fields}), flush=True)


def kcat(req, *args, **more):
    return subprocess.Popen(["kcat", "-b", req["bootstrap"], *args], **more)


def produce(req):
    args = ["-P", "-t", req["topic"], "-K", "\x1f"]
    if req.get("codec"):
        args += ["-z", req["codec"]]
    if req.get("idempotent"):
        args += ["-X", "enable.idempotence=true"]
    for i in range(req["first"], req["first"] + req["count"]):
        value = f"v{i}".ljust(req.get("size") or 0, ".")
        # Headers are arguments of a whole run of kcat, so records with headers are sent by a run each.
        headers = ["-H", f"n=h{i}", "-H", "bin=\x01"] if req.get("headers") else []
        if headers or i == req["first"]:
            run = kcat(req, *args, *headers, stdin=subprocess.PIPE)
        if req.get("chunk") and (i - req["first"]) % req["chunk"] == 0:
            if i > req["first"]:
                # handed to kcat; whether all was acknowledged is known when it ends
                run.stdin.flush()
                say("sent")
            if not sys.stdin.readline():
                break
        run.stdin.write(f"k{i}\x1f{value}\n".encode())
        if headers:
            finish(run)
    if not req.get("headers"):
        finish(run)
    if req.get("chunk"):
        say("sent")
    say("done")


def finish(run):
    run.stdin.close()
    if run.wait():
        raise SystemExit(f"kcat ended with {run.returncode}")


def say_line(line):
    partition, offset, key, size, timestamp, headers, value = line.rstrip("\n").split("\x1f")
    pairs = (pair.split("=", 1) for pair in headers.split(",") if pair)
    say(
        "record",
        partition=int(partition),
        offset=int(offset),
        key=key,
        value=value.rstrip("."),
        size=int(size),
        timestamp=int(timestamp),
        headers={name: data.encode().hex() for name, data in pairs},
    )


def consume(req):
    start = "beginning" if req["from"] == "beginning" else f"s@{req['from']}"
    args = ["-C", "-t", req["topic"], "-o", start, "-u", "-f", FORMAT]
    with kcat(req, *args, stdout=subprocess.PIPE, text=True) as run:
        for _, line in zip(range(req["count"]), run.stdout):
            say_line(line)
        run.terminate()


def member(req):
    args = ["-u", "-f", FORMAT, "-X", "auto.offset.reset=earliest"]
    if req.get("assignor"):
        args += ["-X", f"partition.assignment.strategy={req['assignor']}"]
    args += ["-G", req["group"], req["topic"]]
    run = kcat(req, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def assignments():
        for line in run.stderr:
            if "rebalanced" in line and ": assigned:" in line:
                say("assigned", partitions=sorted(map(int, re.findall(r"\[(\d+)\]", line.split(": assigned:")[1]))))
            elif "rebalanced" not in line and not line.startswith("% Waiting") and not line.startswith("% Reached"):
                sys.stderr.write(line)

    threading.Thread(target=assignments, daemon=True).start()
    threading.Thread(target=lambda: (sys.stdin.read(), run.terminate()), daemon=True).start()
    for line in run.stdout:
        say_line(line)
    run.wait()
    say("left")


def codecs(_req):
    # kcat itself cannot follow an incremental rebalance
    say("codecs", codecs=["gzip", "snappy", "lz4", "zstd"], assignors=["range", "roundrobin"], idempotent=True)


if __name__ == "__main__":
    request = json.loads(sys.argv[1])
    globals()[request["command"]](request)

"""Does to a server what no client should, watches its health and memory meanwhile, and holds it to what it promises.

    pip install grpcio grpcio-tools grpcio-health-checking
    python benches/serve/hostile.py --eyeshot target/debug/eyeshot [--only garbage,kills] [--seed 1]

Health is asked for every tenth of a second over both protocols all the while. A line that ends in NO is a promise that was not kept.
"""

import argparse
import asyncio
import multiprocessing
import random
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

import raw
import server as own
from raw import END_STREAM, opening

PATIENCE = 3
# More than this a server over the shipped scenes has no reason to take, whatever is sent: bodies have 512 MiB together.
MEMORY = 1200
RECOVERY = 5.0
wrong = []


def line(phase, what, found, fine):
    if not fine:
        wrong.append(f"{phase}: {what}")
    print(f"| {phase} | {what} | {found} | {'yes' if fine else 'NO'} |", flush=True)


def under(phase, server, act):
    """Runs a phase under watch, and says how the server bore it."""
    before, watch = server.memory(), own.Watch(server)
    began = time.monotonic()
    told = act()
    watch.look()
    took, back = time.monotonic() - began, own.until_answer(server.grpc)
    watch.end()
    for what, found, fine in told:
        line(phase, what, found, fine)
    ill = f"{watch.ill} of {watch.asked} bad, slowest {watch.slowest:.2f} s" + (f" ({watch.why})" if watch.ill else "")
    line(phase, f"health over {took:.0f} s", ill, watch.ill == 0 and watch.asked > 0)
    line(phase, "answers again after", f"{back:.2f} s", back < RECOVERY)
    line(phase, "memory before, at most, after", f"{before:.0f}, {watch.peak:.0f}, {server.memory():.0f} MiB", watch.peak < MEMORY)
    line(phase, "it is still the same process", server.process.poll() is None, server.process.poll() is None)


def garbage(server, count, seed):
    def one(n):
        where, data = raw.garbage(seed * 1_000_003 + n)
        return raw.send(getattr(server, where), data)

    with ThreadPoolExecutor(32) as pool:
        statuses = [status for status in pool.map(one, range(count)) if status]
    tally = {status: statuses.count(status) for status in sorted(set(statuses))}
    broken = sum(n for status, n in tally.items() if status >= 500 and status != 501)
    return [(f"{count} garbage requests: answers by status", tally, broken == 0)]


def oversized(server):
    """Messages that are too long, or say so; each has to be refused by name."""
    from eyeshot.v1 import search_pb2, search_pb2_grpc

    told = []
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        query = search_pb2.QueryRequest(terms=[search_pb2.Term(image=bytes(70 << 20))])
        try:
            search_pb2_grpc.SearchStub(channel).Query(query, timeout=30)
            code = "OK"
        except grpc.RpcError as error:
            code = error.code().name
    told.append(("gRPC message of 70 MiB", code, code in ("OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")))
    long = b'{"terms": [{"image": "' + b"A" * (70 << 20) + b'"}]}'
    status = raw.send(server.http, raw.post(raw.SEARCH, long), wait=10)
    told.append(("JSON of 70 MiB", status, status == 413))
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    try:
        with raw.connect(server.http, timeout=10) as stream:
            stream.sendall(f"POST {raw.SEARCH} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".encode())
            for _ in range(200):
                stream.sendall(chunk)
            status = "taken"
    except OSError:
        status = "cut off"
    told.append(("chunks without end, 200 MiB", status, status == "cut off"))
    return told


def hoard(server, streams, mib):
    """Messages that come nearly whole and then stop: the bytes lie in the server until it loses patience."""
    until, taken = time.monotonic() + 4 * PATIENCE, []

    def one(n):
        with raw.connect(server.grpc, timeout=PATIENCE) as stream:
            stream.sendall(opening(raw.QUERY if n % 2 else raw.UPSERT) + raw.frame(raw.DATA, 0, 1, raw.message((mib + 1) << 20)))
            taken.append(raw.push(stream, mib << 20, until) >> 20)

    def tried(n):
        try:
            one(n)
        except OSError:
            pass

    with ThreadPoolExecutor(streams) as pool:
        list(pool.map(tried, range(streams)))
    return [(f"{streams} streams of {mib} MiB that stop before their end", f"{sum(taken)} MiB taken", sum(taken) > 0)]


def crowd(address, seconds, tasks, out):
    """So many queries at once for so long, each text a new one: how many came to what."""
    from eyeshot.v1 import search_pb2, search_pb2_grpc

    async def run():
        tally, until = {}, time.monotonic() + seconds
        channels = [grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(8)]

        async def one(n):
            stub, count = search_pb2_grpc.SearchStub(channels[n % len(channels)]), 0
            while time.monotonic() < until:
                count += 1
                text = f"a cat left of {n} dogs {count} {seconds}"
                try:
                    await stub.Query(search_pb2.QueryRequest(terms=[search_pb2.Term(text=text)]), timeout=20)
                    code = "OK"
                except grpc.aio.AioRpcError as error:
                    code = error.code().name
                tally[code] = tally.get(code, 0) + 1

        await asyncio.gather(*(one(n) for n in range(tasks)))
        return tally

    out.put(asyncio.run(run()))


def overload(server, seconds, tasks):
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    child = spawn.Process(target=crowd, args=(server.grpc, seconds, tasks, out))
    child.start()
    tally = out.get(timeout=seconds + 120)
    child.join()
    good = set(tally) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"} and tally.get("OK", 0) > 0
    return [(f"{tasks} at once, ten times the places: by code", tally, good)]


def half_open(server, count):
    """Requests that are begun and never ended, answers that are never read; all have to be let go in time."""
    files = server.files()
    ask = raw.post(raw.SEARCH, b'{"terms": [{"text": "a cat"}], "limit": 300, "with_payload": true}').replace(b"connection: close\r\n", b"")
    kinds = [
        ("grpc", raw.PREFACE[:12]), ("grpc", raw.PREFACE), ("grpc", opening()), ("grpc", opening(raw.UPSERT)),
        ("grpc", opening() + raw.frame(raw.DATA, 0, 1, raw.message(500) + b"half")), ("http", b"GET / HT"),
        ("http", raw.post(raw.SEARCH, b"{", length=500)), ("http", ask * 200), ("http", b""),
    ]
    held = []
    for n in range(count):
        where, data = kinds[n % len(kinds)]
        try:
            stream = raw.connect(getattr(server, where))
            stream.sendall(data)
            held.append(stream)
        except OSError:
            pass
    answered = own.until_answer(server.grpc)
    limit = time.monotonic() + PATIENCE * 4 + 5
    while server.files() > files + 20 and time.monotonic() < limit:
        time.sleep(0.1)
    left = server.files() - files
    for stream in held:
        stream.close()
    return [
        (f"{len(held)} half-open streams: a query meanwhile", f"{answered:.2f} s", answered < RECOVERY),
        ("connections kept beyond patience", left, left <= 20),
    ]


def breaking(server, count, seed, picture):
    """Clients that break off in the middle of things, with a reset."""
    from eyeshot.v1 import images_pb2

    dice = random.Random(seed)
    upsert = images_pb2.UpsertRequest(key="broken off", bytes=picture).SerializeToString()
    whole = opening(raw.UPSERT) + b"".join(
        raw.frame(raw.DATA, 0, 1, part) for part in pieces(raw.message(len(upsert)) + upsert, 10_000)
    )
    asks = [
        ("grpc", whole),
        ("grpc", opening() + raw.frame(raw.DATA, END_STREAM, 1, raw.message(9) + b"\x12\x07\x0a\x05a cat")),
        ("http", raw.post(raw.SEARCH, b'{"terms": [{"text": "a cat"}], "limit": 300}')),
        ("http", raw.post("/v1/collections/default/ask", b'{"question": "is there a koala?"}')),
        ("http", b"GET /v1/collections/default/items/7/image HTTP/1.1\r\nhost: localhost\r\n\r\n"),
    ]
    for n in range(count):
        where, data = asks[n % len(asks)]
        try:
            stream = raw.connect(getattr(server, where))
            stream.sendall(data if dice.random() < 0.5 else data[: dice.randrange(len(data))])
            if dice.random() < 0.3:
                time.sleep(dice.random() * 0.02)
            raw.reset(stream)
        except OSError:
            pass
    return [(f"{count} clients that broke off", "done", True)]


def pieces(data, length):
    return [data[at : at + length] for at in range(0, len(data), length)]


def upsert_for_ever(address, name, picture, acked, over):
    """Sends pictures until the server dies, and notes what it acknowledged."""
    from eyeshot.v1 import images_pb2, images_pb2_grpc

    def requests():
        n = 0
        while not over.is_set():
            n += 1
            yield images_pb2.UpsertRequest(key=f"{name}/{n}", bytes=own.marked(picture, f"{name} {n}"))

    try:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            for answer in images_pb2_grpc.ImagesStub(channel).Upsert(requests()):
                acked.append((answer.key, answer.accepted.id))
    except grpc.RpcError:
        pass


def kills(binary, data, times, writers, seed, pictures):
    """Kills the server under concurrent Upserts; nothing acknowledged may be missing, and it is back in time."""
    from eyeshot.v1 import images_pb2, images_pb2_grpc, search_pb2, search_pb2_grpc

    dice, total, missing, unfound, slowest = random.Random(seed), 0, 0, 0, 0.0
    server = own.Server(binary, data)
    own.until_answer(server.grpc)
    for turn in range(times):
        acked, over = [], threading.Event()
        names = [f"turn{turn}w{w}" for w in range(writers)]
        args = [(server.grpc, name, pictures[at % len(pictures)], acked, over) for at, name in enumerate(names)]
        threads = [threading.Thread(target=upsert_for_ever, args=a, daemon=True) for a in args]
        [thread.start() for thread in threads]
        time.sleep(1 + dice.random() * 2)
        server.kill()
        over.set()
        [thread.join(10) for thread in threads]
        before = time.monotonic()
        server = own.Server(binary, data)
        own.until_answer(server.grpc)
        slowest = max(slowest, time.monotonic() - before)
        total += len(acked)
        with grpc.insecure_channel(server.grpc) as channel:
            images, search = images_pb2_grpc.ImagesStub(channel), search_pb2_grpc.SearchStub(channel)
            for part in pieces(acked, 1000):
                got = images.Get(images_pb2.GetImagesRequest(ids=[id for _, id in part]), timeout=60)
                there = {item.id: item.key for item in got.items}
                missing += sum(there.get(id) != key for key, id in part)
            for key, id in dice.sample(acked, min(20, len(acked))):
                query = search_pb2.QueryRequest(terms=[search_pb2.Term(id=id)], limit=5000)
                unfound += id not in [hit.id for hit in search.Query(query, timeout=60).hits]
    code = server.stop()
    checked = subprocess.run([binary, "--data", str(data), "collection", "check"], env=own.environment(), capture_output=True, text=True)
    phase = "kills"
    line(phase, f"acknowledged before {times} kills under {writers} writers, and missing after", f"{total}, {missing}", total > 0 and missing == 0)
    line(phase, "acknowledged and not found by a search", unfound, unfound == 0)
    line(phase, "back with an answer after, at most", f"{slowest:.2f} s", slowest < RECOVERY)
    line(phase, "collection check", f"{checked.returncode} {checked.stdout.strip()[-60:]}", checked.returncode == 0 and code == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--only", default="garbage,oversized,hoard,half-open,breaking,overload,kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--garbage", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=20)
    args = parser.parse_args()
    home, only = Path(tempfile.mkdtemp(prefix="eyeshot-hostile-")), args.only.split(",")
    own.generate(home)
    data, scenes = home / "data", own.ROOT / "assets/scenes"
    subprocess.run([args.eyeshot, "--data", str(data), "index", str(scenes)], env=own.environment(), check=True, capture_output=True)
    pictures = [path.read_bytes() for path in sorted(scenes.glob("*.jpg"))[:8]]
    print("| phase | what | found | as promised |\n|---|---|---|---|")
    server = own.Server(args.eyeshot, data, "--patience", str(PATIENCE))
    phases = {
        "garbage": lambda: garbage(server, args.garbage, args.seed),
        "oversized": lambda: oversized(server),
        "hoard": lambda: hoard(server, 40, 60),
        "half-open": lambda: half_open(server, 450),
        "breaking": lambda: breaking(server, 2000, args.seed, pictures[0]),
        "overload": lambda: overload(server, args.seconds, 2560),
    }
    own.until_answer(server.grpc)
    for name, act in phases.items():
        if name in only:
            under(name, server, act)
    line("end", "exit code when asked to stop", (code := server.stop()), code == 0)
    if "kills" in only:
        kills(args.eyeshot, data, 5, 8, args.seed, pictures)
    raise SystemExit("\n".join(["", *wrong]) if wrong else 0)


if __name__ == "__main__":
    main()

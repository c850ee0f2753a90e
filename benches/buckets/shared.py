"""What the benches of buckets share: which objects there are, servers to put them in, and the table of what was found."""

import contextlib
import json
import os
import random
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[2]
ODD = [
    "plain/{}.jpg",
    "with space/new york {}.jpg",
    "unicode/é日本 😀 {}.jpg",
    "percent/%41 100% {}.jpg",
    "double//slash//{}.jpg",
    "signs/a+b&c=d;e,f'(g)!~@$:{}.jpg",
    "trailing dots../{}...jpg",
    "UPPER/{}.JPG",
    "long/" + "x" * 900 + "{}.jpg",
    "spaces at ends / {} .jpg",
    "%2F/%25{}.jpeg",
    "#hash?query=1/{}.jpg",
]
# Names that are passed over: folders that tools make, hidden ones, what is no picture.
PASSED_OVER = ["folder {}/", "a/.hidden/{}.jpg", ".dot{}.jpg", "plain/{}.pdf", "read me {}"]
wrong = []


def check(what, found, wanted):
    """One line of the table."""
    fine = found == wanted
    if not fine:
        wrong.append(what)
        if isinstance(found, (set, dict)):
            few = lambda keys: [key[:80] for key in sorted(keys)[:5]]
            print(f"  only found: {few(set(found) - set(wanted))}; only wanted: {few(set(wanted) - set(found))}")
            if isinstance(found, dict):
                print("  differ:", [(k[:80], found[k], wanted[k]) for k in found if wanted.get(k) not in (None, found[k])][:5])
    shown = [len(x) if isinstance(x, (set, dict, list)) else x for x in (found, wanted)]
    print(f"| {what} | {shown[0]} | {shown[1]} | {'yes' if fine else 'NO'} |", flush=True)


def verdict():
    """Says what was wrong; the program's status."""
    print("\nwrong:", ", ".join(wrong) if wrong else "nothing")
    return 1 if wrong else 0


def pictures():
    """A few of the pictures that ship."""
    return [path.read_bytes() for path in sorted((ROOT / "assets/scenes").glob("*.jpg"))[:9]]


def marked(picture, n):
    """The same picture in other bytes: a comment after the first marker of a JPEG."""
    note = f"object {n}".encode()
    return picture[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + picture[2:]


def objects(count, seed, kinds, odd=ODD):
    """Names, each with what it is and its bytes, drawn from `kinds`: how many of a thousand are of which kind."""
    dice, some = random.Random(seed), pictures()[:8]
    drawn = dice.choices(list(kinds), list(kinds.values()), k=count)
    made = {}
    for n, kind in enumerate(drawn):
        key, picture = odd[n % len(odd)].format(n), marked(some[n % len(some)], n)
        if kind == "passed over":
            key = PASSED_OVER[n // 100 % len(PASSED_OVER)].format(n)
        made[key] = kind, {"zero": b"", "cut": picture[:300], "text": f"no picture {n}".encode()}.get(kind, picture)
    return made


def uri(scheme, bucket, key):
    """The key of an object's item."""
    return f"{scheme}://{bucket}/{quote(key, safe='/~')}"


def environment():
    """This process's, without what names a store or sets the program."""
    theirs = ("AWS_", "AZURE_", "AZBLOB_", "GOOGLE_", "STORAGE_", "EYESHOT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | {"AWS_EC2_METADATA_DISABLED": "true"}


class Program:
    """Eyeshot over one data folder."""

    def __init__(self, binary, data, home):
        self.binary, self.home = binary, home
        self.flags = ["--data", str(data), "--json"]

    def run(self, command, env):
        """How it ended, and the last line that it printed."""
        ran = subprocess.run(command, env=env, cwd=self.home, capture_output=True, text=True)
        lines = ran.stdout.splitlines()
        return ran, json.loads(lines[-1]) if lines else {}

    def hits(self, image):
        """All items, nearest to `image` first."""
        path = Path(self.home) / "asked.jpg"
        path.write_bytes(image)
        found = subprocess.run([self.binary, "search", *self.flags, "--exact", "--image", str(path), "-t", "100000"],
                               cwd=self.home, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    def keys(self, image):
        keys = [hit["key"] for hit in self.hits(image)]
        if len(keys) != len(set(keys)):
            wrong.append("an item twice")
        return set(keys)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def served(command, port, **how):
    """Runs a server, which listens at `port` from then on."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **how)
    try:
        began = time.time()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.time() - began > 60 or server.poll() is not None:
                    raise SystemExit(f"{command[0]} does not start") from None
                time.sleep(0.2)
        yield server
    finally:
        server.terminate()
        server.wait()

"""A server under test: started, watched and killed; and the gRPC classes, made of proto/ on the spot."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]


def generate(home):
    """Makes the gRPC classes in `home`, where child processes find them too."""
    files = [str(path) for path in sorted((ROOT / "proto/eyeshot/v1").glob("*.proto"))]
    into = [f"--python_out={home}", f"--grpc_python_out={home}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}", *into, *files], check=True)
    sys.path.insert(0, str(home))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("EYESHOT_", "OTEL_"))}


def marked(picture, n):
    """The same picture in other bytes: a comment after the first marker of a JPEG."""
    note = f"copy {n}".encode()
    return picture[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + picture[2:]


class Server:
    """`eyeshot serve` over a data directory, on free ports."""

    def __init__(self, binary, data, *flags):
        command = [binary, "--data", str(data), "serve", "--json", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", *flags]
        self.began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True)
        said = json.loads(self.process.stdout.readline())
        self.http, self.grpc = said["http"], said["grpc"]

    def of(self, name):
        """A number of /proc/PID/status."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise KeyError(name)

    def memory(self):
        """MiB in use."""
        return self.of("VmRSS") / 1024

    def files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Asks it to end; its exit code."""
        self.process.terminate()
        return self.process.wait(60)


def port(address):
    host, number = address.rsplit(":", 1)
    return host, int(number)


def query(address, text, timeout=30):
    """The hits of one gRPC query, on a connection of its own."""
    from eyeshot.v1 import search_pb2, search_pb2_grpc

    # Without this, grpcio would share the connection of an earlier channel.
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        request = search_pb2.QueryRequest(terms=[search_pb2.Term(text=text)], limit=3)
        return search_pb2_grpc.SearchStub(channel).Query(request, timeout=timeout).hits


def until_answer(address, limit=30.0):
    """Seconds until a query is answered."""
    began = time.monotonic()
    while time.monotonic() - began < limit:
        try:
            if query(address, f"a lion {time.monotonic_ns()}", timeout=2):
                return time.monotonic() - began
        except grpc.RpcError:
            time.sleep(0.02)
    return float("inf")


class Watch(threading.Thread):
    """Asks for health over both protocols, and looks at memory, again and again."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.over = server, threading.Event()
        self.asked = self.ill = 0
        self.slowest, self.peak, self.files, self.why = 0.0, 0.0, 0, ""
        self.start()

    def run(self):
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        while not self.over.wait(0.1):
            began = time.monotonic()
            try:
                with grpc.insecure_channel(self.server.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                    told = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
                assert told.status == health_pb2.HealthCheckResponse.SERVING, told
                with urllib.request.urlopen(f"http://{self.server.http}/health", timeout=10) as answer:
                    assert json.load(answer)["status"] == "serving"
            except Exception as error:  # noqa: BLE001: whatever it is, it was no good answer
                self.ill += 1
                self.why = str(error)[:200]
            self.asked += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.look()

    def look(self):
        self.peak = max(self.peak, self.server.memory())
        self.files = max(self.files, self.server.files())

    def end(self):
        self.over.set()
        self.join()
        return self

# SPDX-License-Identifier: GPL-3.0-or-later
"""What benchmarks of whole programs share: simulated API servers and a load generator on one core, a proxy on another
one, and the CPU time and memory of processes.
"""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROXY_CPU, OTHER_CPU = 0, 1
TOKEN = "token-bench"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process, what):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{what} ended with {process.returncode}")
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"{what} does not listen")


def wait_for_page(url):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
        time.sleep(0.01)
    sys.exit(f"{url} does not answer 200")


def cpu_ns(pid, threads=""):
    """Of all threads, or of those whose names begin so."""
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        with open(f"{task}/comm") as name, open(f"{task}/schedstat") as times:
            if name.read().startswith(threads):
                total += int(times.read().split()[0])
    return total


def children(pid):
    found = [pid]
    for p in found:
        for path in glob.glob(f"/proc/{p}/task/*/children"):
            with open(path) as f:
                found += [int(c) for c in f.read().split()]
    return found


def resident_kb(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    return total


class Stage:
    """Everything that it starts ends with it."""

    def __init__(self, binaries):
        if not shutil.which("h2load"):
            sys.exit("h2load is needed (Debian package nghttp2-client)")
        if os.cpu_count() < 2:
            sys.exit("two cores are needed")
        self.binaries = binaries
        self.work = tempfile.mkdtemp(prefix="sluice-bench-")
        self.processes = []
        self.certificates = os.path.join(self.work, "certificates")
        os.mkdir(self.certificates)
        apisim = os.path.join(self.binaries, "tests/apisim/apisim")
        subprocess.run([apisim, "--make-certificates", self.certificates], check=True)
        self.control = f"127.0.0.1:{free_port()}"
        self.apisim = self.start(
            [apisim, "--certificates", self.certificates, "--listen", "127.0.0.1:0", "--control-listen", self.control,
             "--servers", "3", "--record-requests", "0"], OTHER_CPU, stdout=subprocess.PIPE)
        self.backends = json.loads(self.apisim.stdout.readline())["servers"]

    def start(self, command, cpu, **options):
        process = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}), start_new_session=True,
                                   stderr=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def end(self, process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.processes.remove(process)

    def file(self, name):
        return os.path.join(self.certificates, name)

    def cluster(self):
        """A cluster's values, by the names of flags."""
        return [("tls-cert-file", self.file("gateway.crt")), ("tls-private-key-file", self.file("gateway.key")),
                ("client-ca-file", self.file("client-ca.crt")), ("backend-ca-file", self.file("ca.crt")),
                ("proxy-client-cert-file", self.file("front-proxy-client.crt")),
                ("proxy-client-key-file", self.file("front-proxy-client.key")),
                ("backend-server-name", "kubernetes.default.svc.cluster.local"),
                *(("backend", b) for b in self.backends)]

    def sluice(self, flags=None, page="/readyz"):
        """With one worker; with these flags instead of those of one cluster. Returns when the page says 200."""
        port, admin = free_port(), free_port()
        if flags is None:
            flags = [f"--{name}={value}" for name, value in self.cluster()]
        process = self.start([os.path.join(self.binaries, "sluice"), f"--listen=127.0.0.1:{port}", "--workers=1",
                              f"--admin-listen=127.0.0.1:{admin}", *flags], PROXY_CPU)
        process.admin = f"http://127.0.0.1:{admin}"
        wait_for_port(admin, process, "sluice")
        wait_for_page(process.admin + page)
        return process, port

    def load(self, port, size, connections, streams, requests, flags=(), host="127.0.0.1"):
        output = subprocess.run(
            ["h2load", *flags, f"-n{requests}", f"-c{connections}", f"-m{streams}",
             "-H", f"authorization: Bearer {TOKEN}", f"--connect-to=127.0.0.1:{port}",
             f"https://{host}:{port}/bench/{size}"],
            capture_output=True, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {OTHER_CPU}), timeout=300).stdout
        succeeded = int(re.search(r"(\d+) succeeded", output).group(1))
        rate = float(re.search(r"finished in [^,]+, ([\d.]+) req/s", output).group(1))
        if succeeded != requests:
            sys.exit(f"{requests - succeeded} of {requests} requests failed: the row is void\n{output}")
        return rate

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        shutil.rmtree(self.work, ignore_errors=True)

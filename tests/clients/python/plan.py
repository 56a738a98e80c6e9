# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that a client is given, and how it writes answers down (see ../README.md)."""
import base64
import dataclasses
import ssl
import sys
import urllib.parse

AT_ONCE = 10


@dataclasses.dataclass
class Request:
    name: str
    method: str
    path: str
    body: bytes
    mode: str
    fields: list


def read(path):
    requests = []
    with open(path, encoding="utf-8") as plan:
        for line in plan:
            name, method, path, body, mode, *fields = line.rstrip("\n").split("\t")
            if body == "-":
                content = b""
            else:
                with open(body, "rb") as file:
                    content = file.read()
            requests.append(Request(name, method, path, content, mode, [tuple(f.split(": ", 1)) for f in fields]))
    return requests


def context(ca, cert, key):
    tls = ssl.create_default_context(cafile=ca)
    if cert != "-":
        tls.load_cert_chain(cert, key)
    return tls


def arguments():
    plan, base, ca, cert, key = sys.argv[1:]
    return read(plan), urllib.parse.urlsplit(base), context(ca, cert, key)


def answer(name, version, status, body, fields):
    columns = [name, version, str(status), base64.b64encode(body).decode()]
    columns += [f"{field}: {value}" for field, value in fields]
    print("\t".join(columns), flush=True)


def failure(name, error):
    text = f"{type(error).__name__}: {error}".replace("\t", " ").replace("\n", " ")
    print(f"{name}\terror\t{text}", flush=True)

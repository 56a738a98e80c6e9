# SPDX-License-Identifier: GPL-3.0-or-later
"""requests, which speaks HTTP/1.1 alone."""
import concurrent.futures
import sys

import requests

import plan


def send(session, base, request):
    """Returns how the answer is written down: threads must not write into each other's lines."""
    try:
        with session.request(request.method, base + request.path, data=request.body or None, headers=dict(request.fields),
                             stream=True) as response:
            # The body as it comes: nothing is unpacked.
            body = b"" if request.mode == "cancel" else b"".join(response.raw.stream(65536, decode_content=False))
            version = {10: "1.0", 11: "1.1", 20: "2"}[response.raw.version]
            fields = [(name.lower(), value) for name, value in response.raw.headers.items()]
            return plan.answer, (request.name, version, response.status_code, body, fields)
    except Exception as error:  # Whatever it is, it is the answer.
        return plan.failure, (request.name, error)


def main():
    plan_file, base, ca, cert, key = sys.argv[1:]
    with requests.Session() as session:
        session.trust_env = False
        session.verify = ca
        session.cert = None if cert == "-" else (cert, key)
        session.headers = {"user-agent": "python-requests"}
        session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=plan.AT_ONCE))
        for request in plan.read(plan_file):
            if request.mode == "parallel":
                with concurrent.futures.ThreadPoolExecutor(plan.AT_ONCE) as pool:
                    running = [pool.submit(send, session, base, request) for _ in range(plan.AT_ONCE)]
                answers = [each.result() for each in running]
            else:
                answers = [send(session, base, request)]
            for write, columns in answers:
                write(*columns)


main()

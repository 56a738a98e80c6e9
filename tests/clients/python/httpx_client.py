# SPDX-License-Identifier: GPL-3.0-or-later
"""httpx, over HTTP/2 as long as nobody says otherwise."""
import asyncio

import httpx

import plan


async def send(client, request):
    try:
        built = client.build_request(request.method, request.path, content=request.body or None, headers=request.fields)
        response = await client.send(built, stream=True)
        try:
            body = b"" if request.mode == "cancel" else b"".join([part async for part in response.aiter_raw()])
        finally:
            await response.aclose()
        version = response.http_version.removeprefix("HTTP/")
        plan.answer(request.name, version, response.status_code, body, response.headers.multi_items())
    except Exception as error:  # Whatever it is, it is the answer.
        plan.failure(request.name, error)


async def main(http2=True):
    requests, base, tls = plan.arguments()
    # A field that is not in the plan is not sent: httpx would add some of its own.
    async with httpx.AsyncClient(http2=http2, verify=tls, base_url=base.geturl(), timeout=60, trust_env=False) as client:
        client.headers = httpx.Headers({"user-agent": "python-httpx"})
        for request in requests:
            if request.mode == "parallel":
                await asyncio.gather(*(send(client, request) for _ in range(plan.AT_ONCE)))
            else:
                await send(client, request)


if __name__ == "__main__":
    asyncio.run(main())

# SPDX-License-Identifier: GPL-3.0-or-later
"""httpx as it is without its extra for HTTP/2."""
import asyncio

import httpx_client

asyncio.run(httpx_client.main(http2=False))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes_asyncio package (see ../../README.md for the scenario)."""
import asyncio
import json
import sys

import aiohttp
from kubernetes_asyncio import client, config, watch
from kubernetes_asyncio.client.exceptions import ApiException
from kubernetes_asyncio.stream import WsApiClient

kubeconfig, namespace, pod, name = sys.argv[1:]
STDIN, STDOUT, STDERR, STATUS = b"\0", 1, 2, 3


def say(*words):
    print(*words, flush=True)


async def execute(core, pod_name, command, line):
    socket = await core.connect_get_namespaced_pod_exec(pod_name, namespace, container="main", command=command, stdin=True,
                                                        stdout=True, stderr=True, tty=False, _preload_content=False)
    said = {STDOUT: b"", STDERR: b"", STATUS: b""}
    async with socket as channels:
        await channels.send_bytes(STDIN + line)
        async for message in channels:
            if message.type == aiohttp.WSMsgType.BINARY and message.data:
                said[message.data[0]] += message.data[1:]
    status = json.loads(said[STATUS])
    code = next((c["message"] for c in status.get("details", {}).get("causes", []) if c["reason"] == "ExitCode"), "0")
    return said[STDOUT].decode().strip(), said[STDERR].decode().strip(), code


async def main():
    await config.load_kube_config(kubeconfig)
    async with client.ApiClient() as api:
        core = client.CoreV1Api(api)
        listed = await core.list_namespaced_config_map(namespace, label_selector="scenario=there")
        say("list", ",".join(sorted(item.metadata.name for item in listed.items)))
        try:
            await core.read_namespaced_config_map("not-there", namespace)
        except ApiException as e:
            say("missing", e.status)
        body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"k": "v"})
        version = (await core.list_namespaced_config_map(namespace)).metadata.resource_version
        await core.create_namespaced_config_map(namespace, body)
        await core.patch_namespaced_config_map(name, namespace, {"data": {"k": "w"}})
        await core.delete_namespaced_config_map(name, namespace)
        async with watch.Watch() as events:
            async for event in events.stream(core.list_namespaced_config_map, namespace, resource_version=version,
                                             field_selector=f"metadata.name={name}", timeout_seconds=20):
                say("watch", event["type"], event["object"].metadata.name, event["object"].data["k"])
                if event["type"] == "DELETED":
                    break
        log = await core.read_namespaced_pod_log(pod, namespace, container="main")
    async with WsApiClient() as api:
        core = client.CoreV1Api(api)
        out, err, code = await execute(core, pod, ["sh", "-c", 'read x; echo "got $x"; echo bad >&2; exit 3'], b"hello\n")
        say("exec out", out)
        say("exec err", err)
        say("exec code", code)
        try:
            await execute(core, "not-there", ["true"], b"")
        except (ApiException, aiohttp.WSServerHandshakeError) as e:
            say("exec missing", e.status)
    say("log", log.strip())


asyncio.run(main())

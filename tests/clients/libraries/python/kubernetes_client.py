# SPDX-License-Identifier: GPL-3.0-or-later
"""The kubernetes package (see ../../README.md for the scenario)."""
import sys

from kubernetes import client, config, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

kubeconfig, namespace, pod, name = sys.argv[1:]
config.load_kube_config(kubeconfig)
core = client.CoreV1Api()


def say(*words):
    print(*words, flush=True)


def execute(pod_name, command):
    # The stream functions replace a method of their API object for as long as they run.
    return stream(client.CoreV1Api().connect_get_namespaced_pod_exec, pod_name, namespace, container="main", command=command,
                  stdin=True, stdout=True, stderr=True, tty=False, _preload_content=False)


listed = core.list_namespaced_config_map(namespace, label_selector="scenario=there")
say("list", ",".join(sorted(item.metadata.name for item in listed.items)))
try:
    core.read_namespaced_config_map("not-there", namespace)
except ApiException as e:
    say("missing", e.status)

body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"k": "v"})
version = core.list_namespaced_config_map(namespace).metadata.resource_version
core.create_namespaced_config_map(namespace, body)
core.patch_namespaced_config_map(name, namespace, {"data": {"k": "w"}})
core.delete_namespaced_config_map(name, namespace)
events = watch.Watch()
for event in events.stream(core.list_namespaced_config_map, namespace, resource_version=version,
                           field_selector=f"metadata.name={name}", timeout_seconds=20):
    say("watch", event["type"], event["object"].metadata.name, event["object"].data["k"])
    if event["type"] == "DELETED":
        events.stop()

running = execute(pod, ["sh", "-c", 'read x; echo "got $x"; echo bad >&2; exit 3'])
running.write_stdin("hello\n")
running.run_forever(timeout=20)
say("exec out", running.read_stdout().strip())
say("exec err", running.read_stderr().strip())
say("exec code", running.returncode)
try:
    execute("not-there", ["true"])
except ApiException as e:
    say("exec missing", str(e.reason).partition(" -+-+- ")[0])
say("log", core.read_namespaced_pod_log(pod, namespace, container="main").strip())

# SPDX-License-Identifier: GPL-3.0-or-later
"""A watch by the kubernetes package that is meant to go on for ever: a line for each event."""
import sys

from kubernetes import client, config, watch

kubeconfig, namespace = sys.argv[1:]
config.load_kube_config(kubeconfig)
core = client.CoreV1Api()
version = core.list_namespaced_config_map(namespace).metadata.resource_version
for event in watch.Watch().stream(core.list_namespaced_config_map, namespace, resource_version=version):
    print(event["type"], event["object"].metadata.resource_version, flush=True)

// SPDX-License-Identifier: GPL-3.0-or-later
// @kubernetes/client-node (see ../../README.md for the scenario).
import { PassThrough } from 'node:stream';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages are in the cache, beside no source.
const [packages, kubeconfig, namespace, pod, name] = process.argv.slice(2);
const entry = createRequire(`${packages}/`).resolve('@kubernetes/client-node');
const { CoreV1Api, Exec, KubeConfig, Watch } = await import(pathToFileURL(entry));

const config = new KubeConfig();
config.loadFromFile(kubeconfig);
const core = config.makeApiClient(CoreV1Api);

function say(...words) {
  process.stdout.write(words.join(' ') + '\n');
}

function collect() {
  const stream = new PassThrough();
  let text = '';
  stream.on('data', (part) => { text += part; });
  return { stream, text: () => text.trim() };
}

async function execute(podName, command, line) {
  const out = collect();
  const err = collect();
  const input = new PassThrough();
  const status = await new Promise((resolve, reject) => {
    new Exec(config).exec(namespace, podName, 'main', command, out.stream, err.stream, input, false, resolve)
      .then(() => input.end(line), reject);
  });
  const cause = (status.details?.causes ?? []).find((each) => each.reason === 'ExitCode');
  return { out: out.text(), err: err.text(), code: cause?.message ?? '0' };
}

const listed = await core.listNamespacedConfigMap({ namespace, labelSelector: 'scenario=there' });
say('list', listed.items.map((item) => item.metadata.name).sort().join(','));
try {
  await core.readNamespacedConfigMap({ namespace, name: 'not-there' });
} catch (error) {
  say('missing', error.code);
}

const { metadata } = await core.listNamespacedConfigMap({ namespace });
await core.createNamespacedConfigMap({ namespace, body: { metadata: { name }, data: { k: 'v' } } });
await core.replaceNamespacedConfigMap({ namespace, name, body: { metadata: { name }, data: { k: 'w' } } });
await core.deleteNamespacedConfigMap({ namespace, name });
await new Promise((resolve, reject) => {
  const query = { resourceVersion: metadata.resourceVersion, fieldSelector: `metadata.name=${name}`, timeoutSeconds: 20 };
  new Watch(config).watch(`/api/v1/namespaces/${namespace}/configmaps`, query, (type, object) => {
    say('watch', type, object.metadata.name, object.data.k);
    if (type === 'DELETED') resolve();
  }, (error) => reject(error ?? new Error('the watch ended'))).catch(reject);
});

const ran = await execute(pod, ['sh', '-c', 'read x; echo "got $x"; echo bad >&2; exit 3'], 'hello\n');
say('exec out', ran.out);
say('exec err', ran.err);
say('exec code', ran.code);
try {
  await execute('not-there', ['true'], '');
} catch (error) {
  say('exec missing', error.message ?? error.error?.message ?? String(error));
}
say('log', (await core.readNamespacedPodLog({ namespace, name: pod, container: 'main' })).trim());
process.exit(0);

// SPDX-License-Identifier: GPL-3.0-or-later
// The http2 module of Node.js (see ../README.md for the plan).
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';

const atOnce = 10;
const [planFile, base, ca, cert, key] = process.argv.slice(2);

function readPlan() {
  return readFileSync(planFile, 'utf8').split('\n').filter((line) => line !== '').map((line) => {
    const [name, method, path, body, mode, ...fields] = line.split('\t');
    return {
      name, method, path, mode,
      body: body === '-' ? null : readFileSync(body),
      fields: Object.fromEntries(fields.map((field) => {
        const colon = field.indexOf(': ');
        return [field.slice(0, colon).toLowerCase(), field.slice(colon + 2)];
      })),
    };
  });
}

function say(...columns) {
  process.stdout.write(columns.join('\t') + '\n');
}

function connect() {
  return new Promise((resolve, reject) => {
    const options = { ca: readFileSync(ca) };
    if (cert !== '-') Object.assign(options, { cert: readFileSync(cert), key: readFileSync(key) });
    const session = http2.connect(base, options);
    session.once('connect', () => resolve(session));
    session.once('error', reject);
  });
}

function send(session, request) {
  return new Promise((resolve) => {
    const fields = { ':method': request.method, ':path': request.path, ...request.fields };
    if (request.body !== null) fields['content-length'] = request.body.length;
    let stream;
    const parts = [];
    let head = null;
    let done = false;
    const finish = (error) => {
      if (done) return;
      done = true;
      if (error) {
        say(request.name, 'error', String(error.message).replace(/[\t\n]/g, ' '));
      } else {
        const shown = Object.entries(head).filter(([name]) => !name.startsWith(':'))
          .flatMap(([name, value]) => [value].flat().map((each) => `${name}: ${each}`));
        const body = request.mode === 'cancel' ? '' : Buffer.concat(parts).toString('base64');
        say(request.name, '2', head[':status'], body, ...shown);
      }
      resolve();
    };
    try {
      stream = session.request(fields, { endStream: request.body === null });
    } catch (error) {
      finish(error);
      return;
    }
    stream.on('response', (headers) => {
      head = headers;
      if (request.mode === 'cancel') {
        stream.close(http2.constants.NGHTTP2_CANCEL);
        finish();
      }
    });
    stream.on('data', (part) => parts.push(part));
    stream.on('end', () => (head === null ? finish(new Error('no answer')) : finish()));
    stream.on('error', finish);
    stream.on('close', () => finish(head === null ? new Error('closed without an answer') : undefined));
    if (request.body !== null) stream.end(request.body);
  });
}

let session = await connect();
for (const request of readPlan()) {
  if (session.closed || session.destroyed) session = await connect();
  const count = request.mode === 'parallel' ? atOnce : 1;
  await Promise.all(Array.from({ length: count }, () => send(session, request)));
}
session.close();

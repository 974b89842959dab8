// Serves build/{{name}}.wasm before app.wat with host as host.toml says, and asks it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { Host } from './host.js';

test('plugin refuses a request without a tenant', async (t) => {
  const host = await Host.serve();
  t.after(() => host.stop());
  const refused = await fetch(host.url);
  assert.equal(refused.status, 400);
  await refused.text();
  assert.equal(await host.stop(), 0);
});

test('plugin passes bodies on while they come', async (t) => {
  const host = await Host.serve();
  t.after(() => host.stop());
  const client = request(`${host.url}/`, { method: 'POST', headers: { 'x-tenant': 'one' }, timeout: 30_000 });
  client.on('timeout', () => client.destroy(new Error('no answer within 30 s')));
  client.write('first\n');
  const [answer] = await once(client, 'response');
  assert.equal(answer.statusCode, 200);
  assert.equal(answer.headers['x-plugin'], '{{name}}');
  const lines = createInterface(answer)[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, 'hello from the app');
  assert.equal((await lines.next()).value, 'first');
  // The application has answered the first part before this one is sent.
  client.end('second\n');
  assert.equal((await lines.next()).value, 'second');
  assert.equal(await host.stop(), 0);
});

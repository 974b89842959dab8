// Serves build/{{name}}.wasm before app.wat with host as host.toml says, and asks it.
import assert from 'node:assert/strict';
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

test('plugin passes bodies on, and adds a header to the answer', async (t) => {
  const host = await Host.serve();
  t.after(() => host.stop());
  const answer = await fetch(host.url, { method: 'POST', headers: { 'x-tenant': 'one' }, body: 'a body\n' });
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('x-plugin'), '{{name}}');
  assert.equal(await answer.text(), 'hello from the app\na body\n');
  assert.equal(await host.stop(), 0);
});

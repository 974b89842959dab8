// Serves build/{{name}}.wasm with host as host.toml says, and asks it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Host } from './host.js';

test('app answers with the path and with JSON', async (t) => {
  const host = await Host.serve();
  t.after(() => host.stop());
  const hello = await fetch(`${host.url}/you`);
  assert.equal(await hello.text(), 'hello from /you\n');
  const time = await fetch(`${host.url}/api/time`);
  assert.equal(time.headers.get('content-type'), 'application/json');
  assert.ok((await time.json()).unix > 1_700_000_000);
  assert.equal(await host.stop(), 0);
});

// A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers the
// header `x-plugin`. Bodies are streams: they are passed on piece by piece, and never held.
addEventListener('fetch', (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  if (!request.headers.has('x-tenant')) {
    return new Response('this needs the header x-tenant\n', { status: 400 });
  }
  // The next component of the chain is asked as if it were a server named next.host. `fetch` has an answer
  // when all of the request's body is sent, not before.
  const { pathname, search } = new URL(request.url);
  const { method, headers, body } = request;
  const answer = await fetch(`http://next.host${pathname}${search}`, { method, headers, body, duplex: 'half' });
  const { status } = answer;
  const changed = new Headers(answer.headers);
  changed.set('x-plugin', '{{name}}');
  return new Response(answer.body, { status, headers: changed });
}

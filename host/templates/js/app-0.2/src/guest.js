// Answers `hello from PATH`, and `/api/time` with JSON.
addEventListener('fetch', (event) => event.respondWith(handle(event.request)));

async function handle(request) {
  const { pathname, search } = new URL(request.url);
  switch (pathname) {
    case '/api/time':
      return Response.json({ unix: Math.floor(Date.now() / 1000) });
    default:
      return new Response(`hello from ${pathname}${search}\n`);
  }
}

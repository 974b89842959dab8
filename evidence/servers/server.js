// Node, stopped as its documentation has it: `server.close` for HTTP/1, and for HTTP/2 `session.close` beside it.
const fs = require("fs"), http = require("http"), http2 = require("http2");
const [plain, tls, folder] = process.argv.slice(2);

function handle(request, response) {
  const path = request.url.split("?")[0];
  if (path === "/stream") {
    let left = 20;
    const timer = setInterval(() => {
      response.write("x".repeat(1024));
      if (--left === 0) {
        clearInterval(timer);
        response.end();
      }
    }, 5);
    return;
  }
  let bytes = 0;
  request.on("data", (piece) => { bytes += piece.length; });
  request.on("end", () => response.end(path === "/count" ? `${bytes}\n` : "hello world\n"));
}

const one = http.createServer(handle).listen(+plain, "127.0.0.1");
const pem = (name) => fs.readFileSync(`${folder}/${name}.pem`);
const two = http2.createSecureServer({ key: pem("key"), cert: pem("cert") }, handle);
const sessions = new Set();
two.on("session", (session) => {
  sessions.add(session);
  session.on("close", () => sessions.delete(session));
});
two.on("sessionError", () => {});
two.listen(+tls, "127.0.0.1");

process.on("SIGTERM", () => {
  one.close();
  two.close();
  sessions.forEach((session) => session.close());
});

"""Answers `hello from PATH`, and `/api/time` with JSON."""
import json
import time

from componentize_py_types import Err, Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, out: ResponseOutparam) -> None:
        path = request.path_with_query() or ""
        if path == "/api/time":
            answer(out, "application/json", json.dumps({"unix": int(time.time())}) + "\n")
        else:
            answer(out, "text/plain", f"hello from {path}\n")


def answer(out: ResponseOutparam, content_type: str, text: str) -> None:
    response = OutgoingResponse(Fields.from_list([("content-type", content_type.encode())]))
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    rest = text.encode()
    try:
        with body.write() as stream:
            while rest:
                stream.blocking_write_and_flush(rest[:4096])  # the most that this call takes
                rest = rest[4096:]
        OutgoingBody.finish(body, None)
    except Err:
        pass  # a client that has gone away takes nothing any more, and that is all right

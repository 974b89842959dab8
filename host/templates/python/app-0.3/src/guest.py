"""Answers `hello from PATH`, and `/api/time` with JSON."""
import json
import time

from componentize_py_async_support import spawn
from componentize_py_types import Ok
from wit_world import byte_stream, exports
from wit_world import result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers_future
from wit_world.imports.wasi_http_types import Fields, Request, Response


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        path = request.get_path_with_query() or ""
        if path == "/api/time":
            return answer("application/json", json.dumps({"unix": int(time.time())}) + "\n")
        return answer("text/plain", f"hello from {path}\n")


def answer(content_type: str, text: str) -> Response:
    headers = Fields.from_list([("content-type", content_type.encode())])
    writer, body = byte_stream()
    _, trailers = trailers_future(lambda: Ok(None))
    # The body is written while the host already reads it.
    spawn(write(writer, text.encode()))
    return Response.new(headers, body, trailers)[0]


async def write(writer, text: bytes) -> None:
    with writer:
        await writer.write_all(text)

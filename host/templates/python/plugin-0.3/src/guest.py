"""A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers the
header `x-plugin`. Bodies go by without coming in here."""
from componentize_py_async_support import spawn
from componentize_py_types import Err, Ok
from wit_world import byte_stream, exports
from wit_world import result_option_wasi_http_types_fields_wasi_http_types_error_code_future as trailers_future
from wit_world import result_unit_wasi_http_types_error_code_future as read_future
from wit_world.imports import handler as following
from wit_world.imports.wasi_http_types import Fields, Request, Response


class Handler(exports.Handler):
    async def handle(self, request: Request) -> Response:
        if not request.get_headers().has("x-tenant"):
            return refusal()
        response = await following.handle(request)
        # The headers of a response that came cannot be changed, but a copy of them can.
        headers = response.get_headers().clone()
        headers.set("x-plugin", [b"{{name}}"])
        return with_headers(response, headers)


def refusal() -> Response:
    writer, body = byte_stream()
    _, trailers = trailers_future(lambda: Ok(None))
    spawn(write(writer, b"this needs the header x-tenant\n"))
    response, _ = Response.new(Fields(), body, trailers)
    response.set_status_code(400)
    return response


async def write(writer, text: bytes) -> None:
    with writer:
        await writer.write_all(text)


def with_headers(old: Response, headers: Fields) -> Response:
    """The same response with other headers: its body and its trailers are handed over as they are."""
    status = old.get_status_code()
    _, read = read_future(lambda: Ok(None))
    body, trailers = Response.consume_body(old, read)
    new, _ = Response.new(headers, body, trailers)
    try:
        new.set_status_code(status)
    except Err:  # components of 0.2 may give codes that 0.3 has no word for
        new.set_status_code(502)
    return new

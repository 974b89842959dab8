"""A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers the
header `x-plugin`. With WASI 0.2 it moves the bodies itself, both at once."""
import asyncio

from componentize_py_types import Err, Ok
from poll_loop import PollLoop, Sink, Stream, send
from wit_world import exports
from wit_world.imports.types import (
    Fields, IncomingRequest, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam, Scheme_Http,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, out: ResponseOutparam) -> None:
        if not request.headers().has("x-tenant"):
            refuse(out)
            return
        loop = PollLoop()
        asyncio.set_event_loop(loop)
        loop.run_until_complete(pass_on(request, out))


def refuse(out: ResponseOutparam) -> None:
    response = OutgoingResponse(Fields())
    response.set_status_code(400)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    with body.write() as stream:
        stream.blocking_write_and_flush(b"this needs the header x-tenant\n")
    OutgoingBody.finish(body, None)


async def pass_on(request: IncomingRequest, out: ResponseOutparam) -> None:
    onward = request_like(request)
    upload = asyncio.create_task(relay(Stream(request.consume()), Sink(onward.body())))
    try:
        answer = await send(onward)
    except Err as error:
        ResponseOutparam.set(out, error)
        return
    # The headers of a response that came cannot be changed, but a copy of them can.
    headers = answer.headers().clone()
    headers.set("x-plugin", [b"{{name}}"])
    response = OutgoingResponse(headers)
    response.set_status_code(answer.status())
    download = relay(Stream(answer.consume()), Sink(response.body()))
    ResponseOutparam.set(out, Ok(response))
    await asyncio.gather(upload, download)


def request_like(request: IncomingRequest) -> OutgoingRequest:
    """The same request, to the next component of the chain: as if that were a server named next.host."""
    onward = OutgoingRequest(request.headers().clone())
    onward.set_method(request.method())
    onward.set_path_with_query(request.path_with_query())
    onward.set_scheme(Scheme_Http())
    onward.set_authority("next.host")
    return onward


async def relay(source: Stream, sink: Sink) -> None:
    """Moves a body on, piece by piece as it comes, without its trailers."""
    try:
        while (piece := await source.next()) is not None:
            await sink.send(piece)
        sink.close()
    except Err:
        # One side broke. The other is not finished, so it breaks too.
        del source, sink

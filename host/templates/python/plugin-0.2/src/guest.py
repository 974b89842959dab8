"""A plugin: refuses requests without the header `x-tenant`, passes the others on, and gives the answers the
header `x-plugin`. With WASI 0.2 it moves the bodies itself: relay.py."""
from componentize_py_types import Err, Ok
from relay import Relay, wait
from wit_world import exports
from wit_world.imports import outgoing_handler
from wit_world.imports.types import (
    Fields, IncomingRequest, IncomingResponse, OutgoingBody, OutgoingRequest, OutgoingResponse, ResponseOutparam,
    Scheme_Http,
)


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, out: ResponseOutparam) -> None:
        if not request.headers().has("x-tenant"):
            refuse(out)
        else:
            pass_on(request, out)


def refuse(out: ResponseOutparam) -> None:
    response = OutgoingResponse(Fields())
    response.set_status_code(400)
    body = response.body()
    ResponseOutparam.set(out, Ok(response))
    with body.write() as stream:
        stream.blocking_write_and_flush(b"this needs the header x-tenant\n")
    OutgoingBody.finish(body, None)


def pass_on(request: IncomingRequest, out: ResponseOutparam) -> None:
    onward = request_like(request)
    upload = Relay(request.consume(), onward.body())
    try:
        answer = ask(onward, upload)
    except Err as error:
        upload.break_off()
        ResponseOutparam.set(out, error)
        return
    # The headers of a response that came cannot be changed, but a copy of them can.
    headers = answer.headers().clone()
    headers.set("x-plugin", [b"{{name}}"])
    response = OutgoingResponse(headers)
    response.set_status_code(answer.status())
    download = Relay(answer.consume(), response.body())
    ResponseOutparam.set(out, Ok(response))
    while not (upload.is_over and download.is_over):
        upload.advance()
        download.advance()
        wait(upload.waits_for(), download.waits_for())


def request_like(request: IncomingRequest) -> OutgoingRequest:
    """The same request, to the next component of the chain: as if that were a server named next.host."""
    onward = OutgoingRequest(request.headers().clone())
    onward.set_method(request.method())
    onward.set_path_with_query(request.path_with_query())
    onward.set_scheme(Scheme_Http())
    onward.set_authority("next.host")
    return onward


def ask(onward: OutgoingRequest, upload: Relay) -> IncomingResponse:
    """The head of the answer. It may come before the request's body is at its end."""
    coming = outgoing_handler.handle(onward, None)
    while (got := coming.get()) is None:
        upload.advance()
        wait(coming.subscribe(), upload.waits_for())
    match got:
        case Ok(Ok(answer)):
            return answer
        case Ok(error):
            raise error

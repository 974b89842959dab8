# Always the same short answer, as `hello` in Rust, in a component of 18 MB that holds a whole interpreter
# for Python.
# Learnt from it: what a request costs whose guest writes to many places of a large memory.
from componentize_py_types import Ok
from wit_world.exports import IncomingHandler as Exported
from wit_world.imports.types import Fields, OutgoingBody, OutgoingResponse, ResponseOutparam

TEXT = b"hello from python\n"


class IncomingHandler(Exported):
    def handle(self, _request, out):
        response = OutgoingResponse(Fields())
        body = response.body()
        ResponseOutparam.set(out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(TEXT)
        OutgoingBody.finish(body, None)

// Always the same short answer, as `hello` in Rust, in a component of 11 MB that holds a whole
// engine for JavaScript.
// Learnt from it: what loading, serving and swapping a large component takes.
import {
  Fields,
  OutgoingBody,
  OutgoingResponse,
  ResponseOutparam,
} from 'wasi:http/types@0.2.3';

// guest/js/build.sh puts another word here for the second component.
const TEXT = 'hello from js\n';

export const incomingHandler = {
  handle(_request, out) {
    const response = new OutgoingResponse(new Fields());
    const body = response.body();
    ResponseOutparam.set(out, { tag: 'ok', val: response });
    const stream = body.write();
    stream.blockingWriteAndFlush(new TextEncoder().encode(TEXT));
    stream[Symbol.dispose]();
    OutgoingBody.finish(body, undefined);
  },
};

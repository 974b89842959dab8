"""Bodies on their way through the plugin, piece by piece as they come."""
from componentize_py_types import Err, Ok
from wit_world.imports import poll
from wit_world.imports.poll import Pollable
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.types import IncomingBody, OutgoingBody


def drop(*resources) -> None:
    for resource in resources:
        resource.__exit__(None, None, None)


def wait(*pollables: Pollable | None) -> None:
    """Waits until one of them is ready, if there is one."""
    waiting = [it for it in pollables if it is not None]
    if waiting:
        poll.poll(waiting)
    drop(*waiting)


class Relay:
    """One body. Where it breaks on one side, it is broken off on the other."""

    def __init__(self, source: IncomingBody, target: OutgoingBody):
        self.source, self.target = source, target
        self.input, self.output = source.stream(), target.write()
        self.trailers = None
        self.is_full = self.is_over = False

    def advance(self) -> None:
        """Moves a piece, if there is one and room for it."""
        if self.is_over:
            return
        try:
            if self.trailers is None:
                self.carry()
            if self.trailers is not None:
                self.end()
        except Err:
            self.break_off()

    def waits_for(self) -> Pollable | None:
        if self.is_over:
            return None
        if self.trailers is not None:
            return self.trailers.subscribe()
        return self.output.subscribe() if self.is_full else self.input.subscribe()

    def carry(self) -> None:
        room = min(self.output.check_write(), 64 * 1024)
        self.is_full = room == 0
        if self.is_full:
            return
        try:
            piece = self.input.read(room)
        except Err as error:
            if not isinstance(error.value, StreamError_Closed):
                raise
            # The streams go before the bodies that they belong to.
            drop(self.input, self.output)
            self.trailers = IncomingBody.finish(self.source)
            return
        if piece:
            self.output.write(piece)
            self.output.flush()

    def end(self) -> None:
        match self.trailers.get():
            case None:
                return
            case Ok(Ok(trailers)):
                self.is_over = True
                drop(self.trailers)
                OutgoingBody.finish(self.target, trailers)
            case _:
                self.break_off()

    def break_off(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self.trailers is None:
            drop(self.input, self.output, self.source)
        else:
            drop(self.trailers)
        drop(self.target)

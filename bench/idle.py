"""What an idle connection costs: resident memory of a server with 10,000 of them, each after one request."""

import resource
import socket
import ssl

from common import Failed

# Connections, and the descriptors that this process has besides.
COUNT = 10_000
DESCRIPTORS = COUNT + 2_000

# The client's preface, empty settings, and one request on stream 1 (RFC 9113 §3.4, §6.2): `GET /` to `bench`, with
# the static table of HPACK and no more (RFC 7541).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SECURE, PLAIN = b"\x87", b"\x86"
FIELDS = b"\x82\x84\x41\x05bench"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, ACK = 1, 1
ACKNOWLEDGED = bytes([0, 0, 0, SETTINGS, ACK, 0, 0, 0, 0])


def request(protocol, is_tls):
    if protocol == "http/1.1":
        return b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
    block = (SECURE if is_tls else PLAIN) + FIELDS
    return PREFACE + bytes([0, 0, len(block), HEADERS, 5, 0, 0, 0, 1]) + block


class Idle:
    """A connection that has had one answer."""

    def __init__(self, address, protocol, context):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.socket.sendall(request(protocol, context is not None))
        self.read = b""
        (self._http1 if protocol == "http/1.1" else self._http2)()

    def _more(self):
        read = self.socket.recv(65536)
        if not read:
            raise Failed("a connection that was to be idle was closed")
        self.read += read

    def _http1(self):
        while b"\r\n\r\n" not in self.read:
            self._more()
        head, _, body = self.read.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise Failed(f"answered {head[:80]!r}")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            self._more()
            body = self.read.partition(b"\r\n\r\n")[2]

    def _http2(self):
        while True:
            while len(self.read) < 9 or len(self.read) < 9 + int.from_bytes(self.read[:3]):
                self._more()
            length, kind, flags = int.from_bytes(self.read[:3]), self.read[3], self.read[4]
            self.read = self.read[9 + length :]
            if kind == SETTINGS and not flags & ACK:
                self.socket.sendall(ACKNOWLEDGED)
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                return


def trusting(certificate, protocol):
    """What a client over TLS knows: this certificate, and that it speaks this protocol."""
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols([protocol])
    return context


def each(running, address, protocol, context=None, count=COUNT):
    """The resident memory that one idle connection takes, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < DESCRIPTORS:
        if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
            raise Failed(f"{count} connections take {DESCRIPTORS} open files; as root: ulimit -Hn {DESCRIPTORS}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    # What the first ones bring is no part of what the next one takes.
    warm = [Idle(address, protocol, context) for _ in range(64)]
    before = running.resident()
    idle = [Idle(address, protocol, context) for _ in range(count)]
    taken = (running.resident() - before) / count
    for one in warm + idle:
        one.socket.close()
    return taken

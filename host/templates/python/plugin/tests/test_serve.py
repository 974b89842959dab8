"""Serves build/{{name}}.wasm before app.wat with host as host.toml says, and asks it."""
import unittest
from http.client import HTTPConnection

from host import Host


class Plugin(unittest.TestCase):
    def test_it_refuses_a_request_without_a_tenant(self):
        with Host() as host:
            client = HTTPConnection(*host.address, timeout=30)
            self.addCleanup(client.close)
            client.request("GET", "/")
            self.assertEqual(client.getresponse().status, 400)
            self.assertEqual(host.stop(), 0)

    def test_it_passes_bodies_on_while_they_come(self):
        with Host() as host:
            client = HTTPConnection(*host.address, timeout=30)
            self.addCleanup(client.close)
            client.putrequest("POST", "/")
            client.putheader("x-tenant", "one")
            client.putheader("transfer-encoding", "chunked")
            client.endheaders()
            client.send(b"6\r\nfirst\n\r\n")
            answer = client.getresponse()
            self.assertEqual((answer.status, answer.getheader("x-plugin")), (200, "{{name}}"))
            self.assertEqual(answer.readline(), b"hello from the app\n")
            self.assertEqual(answer.readline(), b"first\n")
            # The application has answered the first part before this one is sent.
            client.send(b"7\r\nsecond\n\r\n0\r\n\r\n")
            self.assertEqual(answer.read(), b"second\n")
            self.assertEqual(host.stop(), 0)


if __name__ == "__main__":
    unittest.main()

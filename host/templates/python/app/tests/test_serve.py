"""Serves build/{{name}}.wasm with host as host.toml says, and asks it."""
import json
import unittest
from http.client import HTTPConnection

from host import Host


class App(unittest.TestCase):
    def test_it_answers_with_the_path_and_with_json(self):
        with Host() as host:
            client = HTTPConnection(*host.address, timeout=30)
            self.addCleanup(client.close)
            client.request("GET", "/you")
            self.assertEqual(client.getresponse().read(), b"hello from /you\n")
            client.request("GET", "/api/time")
            answer = client.getresponse()
            self.assertEqual(answer.getheader("content-type"), "application/json")
            self.assertGreater(json.load(answer)["unix"], 1_700_000_000)
            self.assertEqual(host.stop(), 0)


if __name__ == "__main__":
    unittest.main()

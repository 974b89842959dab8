"""What the benchmarks read out of their tools, and what they make of it. Needs nothing but Python."""

import argparse
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import aims
import clients
import common
import run
import servers

WRK = """\
Running 4s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  812.00us  12.10ms   91.11%
    Req/Sec    61.02k     2.10k   66.41k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.15ms
     90%    1.60ms
     99%    3.87ms
  242911 requests in 4.00s, 30.12MB read
"""
BROKEN = """\
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 17
"""
RATE = "Requests/sec:  60712.41\nTransfer/sec:      7.53MB\n"


class Clients(unittest.TestCase):
    def test_wrk_is_read(self):
        sound = clients.wrk_said(WRK + RATE)
        self.assertEqual(
            sound, {"requests": 242911, "rate": 60712.41, "p50": 0.812, "p99": 3.87, "other": 0, "broken": 0}
        )
        clients.sound([sound], "well")

    def test_what_went_wrong_fails_the_run(self):
        wrong = clients.wrk_said(WRK + BROKEN + RATE)
        self.assertEqual((wrong["other"], wrong["broken"]), (17, 10))
        with self.assertRaises(common.Failed):
            clients.sound([wrong], "not well")

    def test_another_output_is_not_taken_for_figures(self):
        with self.assertRaises(common.Failed):
            clients.wrk_said("unable to connect to 127.0.0.1:8080 Connection refused\n")


class Servers(unittest.TestCase):
    def test_cpu_time_and_faults_of_a_process_whose_name_has_a_parenthesis(self):
        text = "4242 (a) b (c) S 1 4242 4242 0 -1 4194560 700 0 3 0 150 50 0 0 20 0 5 0 100 1 2"
        cpu, faults = servers.stat(text)
        self.assertAlmostEqual(cpu, 200 * servers.SECONDS_A_TICK)
        self.assertEqual(faults, 703)

    def test_context_switches_of_both_kinds(self):
        self.assertEqual(servers.switches("voluntary_ctxt_switches:\t70\nnonvoluntary_ctxt_switches:\t7\n"), 77)


class Aims(unittest.TestCase):
    def outcome(self, value, *aim):
        return aims.judge(value, "a name", *aim)["outcome"]

    def test_an_aim_is_reached_in_its_own_direction(self):
        self.assertEqual(self.outcome(2.6, aims.AT_MOST, 2.6, 2.4), "reached")
        self.assertEqual(self.outcome(2.4, aims.AT_MOST, 2.6, 2.4), "reached, and the stretch")
        self.assertEqual(self.outcome(2.61, aims.AT_MOST, 2.6, 2.4), "not reached")
        self.assertEqual(self.outcome(0.56, aims.AT_LEAST, 0.56, None), "reached")
        self.assertEqual(self.outcome(0.55, aims.AT_LEAST, 0.56, None), "not reached")
        self.assertEqual(self.outcome(0.0, aims.AT_MOST, 20.0, None), "reached")
        self.assertEqual(self.outcome(None, aims.AT_MOST, 1.0, None), "not measured")

    def test_each_figure_has_an_aim(self):
        with self.assertRaises(KeyError):
            aims.verdict({"a figure that nobody aims at": 1.0})
        self.assertEqual(len(aims.verdict({})), len({name for name, *_ in aims.AIMS}))

    def test_the_verdict_is_a_table_of_all_aims(self):
        lines = aims.markdown(aims.verdict({aims.AIMS[0][0]: 2.512})).splitlines()
        self.assertEqual(len(lines), 2 + len(aims.AIMS))
        self.assertIn("| 2.51 | ≤ 2.6 (≤ 2.4) | reached |", lines[2])


class Rounds(unittest.TestCase):
    def test_cases_take_turns_and_each_round_is_kept(self):
        order = []
        args = argparse.Namespace(rounds=2)
        with tempfile.TemporaryDirectory() as folder:
            raw = common.Raw.__new__(common.Raw)
            raw.path = pathlib.Path(folder) / "raw.jsonl"
            calls = {name: lambda name=name: order.append(name) or {"took": len(order)} for name in "ab"}
            with unittest.mock.patch("common.say"):
                results = common.in_turn(calls, args, raw, "part")
            kept = [json.loads(line) for line in raw.path.read_text().splitlines()]
        self.assertEqual(order, ["a", "b", "a", "b"])
        self.assertEqual([one["took"] for one in results["b"]], [2, 4])
        self.assertEqual([(one["round"], one["case"]) for one in kept], [(1, "a"), (1, "b"), (2, "a"), (2, "b")])

    def test_only_what_our_servers_did_fails_a_run(self):
        well, wrong = {"other": 0, "broken": 0}, {"other": 0, "broken": 2}
        results = {"host": [{**well, "half": wrong}], "native hyper": [well], "wasmtime serve 0.2": [wrong]}
        self.assertEqual(run.failures(results), ["host: 0 answers not 2xx, 2 broken"])


if __name__ == "__main__":
    unittest.main()

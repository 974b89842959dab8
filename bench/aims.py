"""What a request may cost, and whether a run has reached it."""

import json

from common import RESULTS, table

AT_MOST, AT_LEAST = "≤", "≥"

# Of the benchmark's figures: the name of one, how it has to lie, the aim, and how far one would like to come. Those of
# issue 10, but for what all that is seen of the traffic costs, which is of issue 11.
AIMS = [
    ("0.2, fresh: CPU time of a request, × native", AT_MOST, 2.6, 2.4),
    ("0.2, fresh: requests/s, of native", AT_LEAST, 0.56, None),
    ("0.2, reuse: CPU time of a request, × native", AT_MOST, 1.9, 1.75),
    ("0.2, reuse: requests/s, of native", AT_LEAST, 0.66, None),
    ("0.3, fresh: CPU time of a request, × native", AT_MOST, 4.3, 3.9),
    ("0.3, reuse: CPU time of a request, × native", AT_MOST, 2.9, 2.6),
    ("0.3, reuse: requests/s, × wasmtime serve", AT_LEAST, 1.0, None),
    ("0.3, reuse: p99, × wasmtime serve", AT_MOST, 1.0, None),
    ("0.2, fresh: p99 with 64 connections, ms", AT_MOST, 1.5, None),
    ("0.3, fresh: p99 with 64 connections, ms", AT_MOST, 1.5, None),
    ("0.2, fresh: p99 at half load, × native", AT_MOST, 3.0, None),
    ("0.3, fresh: p99 at half load, × native", AT_MOST, 3.0, None),
    ("0.2: CPU time of a plugin, µs", AT_MOST, 40.0, None),
    ("0.3: CPU time of a plugin, µs", AT_MOST, 30.0, None),
    ("JavaScript: CPU time of a request, µs", AT_MOST, 200.0, None),
    ("JavaScript: page faults of a request", AT_MOST, 20.0, None),
    ("JavaScript: p99 with 16 connections, × its median", AT_MOST, 4.0, None),
    ("Python: CPU time of a request, µs", AT_MOST, 1200.0, None),
    ("Python: page faults of a request", AT_MOST, 20.0, None),
    ("Python: p99 with 16 connections, × its median", AT_MOST, 4.0, None),
    ("0.2: exec to first answer, ms", AT_MOST, 8.0, None),
    ("0.3: exec to first answer, ms", AT_MOST, 8.0, None),
    ("JavaScript: exec to first answer, ms", AT_MOST, 60.0, None),
    ("0.2: CPU time of a request with 8 workers, × 1 worker", AT_MOST, 1.05, None),
    ("0.3: CPU time of a request with 8 workers, × 1 worker", AT_MOST, 1.05, None),
    ("0.2, fresh: requests/s observed, of unobserved", AT_LEAST, 0.97, None),
    ("0.2, reuse: requests/s observed, of unobserved", AT_LEAST, 0.97, None),
    ("0.3, fresh: requests/s observed, of unobserved", AT_LEAST, 0.97, None),
    ("0.3, reuse: requests/s observed, of unobserved", AT_LEAST, 0.97, None),
]


def verdict(measured):
    """Each aim with what was measured for it, by its name: `reached`, `not reached` or `not measured`."""
    unknown = measured.keys() - {name for name, *_ in AIMS}
    if unknown:
        raise KeyError(f"figures without an aim: {sorted(unknown)}")
    return [judge(measured.get(aim[0]), *aim) for aim in AIMS]


def judge(value, name, relation, aim, stretch):
    def holds(bound):
        return value <= bound if relation == AT_MOST else value >= bound

    if value is None:
        outcome = "not measured"
    elif stretch is not None and holds(stretch):
        outcome = "reached, and the stretch"
    else:
        outcome = "reached" if holds(aim) else "not reached"
    return {
        "issue": 11 if "observed" in name else 10,
        "name": name,
        "aim": f"{relation} {aim:g}",
        "stretch": None if stretch is None else f"{relation} {stretch:g}",
        "measured": None if value is None else float(f"{value:.4g}"),
        "outcome": outcome,
    }


def show(judged):
    """For the terminal: a line each, its fields separated by tabs."""
    return "\n".join(
        f"{one['outcome']}\t{one['name']}\t{one['measured']}\t{one['aim']}" for one in judged
    )


def figure(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def markdown(judged):
    rows = [
        [
            one["name"],
            figure(one["measured"]),
            one["aim"] + (f" ({one['stretch']})" if one["stretch"] else ""),
            one["outcome"] if one["outcome"].startswith("reached") else f"**{one['outcome']}**",
        ]
        for one in judged
    ]
    return table(["figure", "measured", "aim (stretch)", "outcome"], rows)


def keep(judged):
    (RESULTS / "verdict.json").write_text(
        "[\n" + ",\n".join(json.dumps(one, ensure_ascii=False) for one in judged) + "\n]\n"
    )

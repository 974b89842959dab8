#!/usr/bin/env python3
"""Says whether the times, ports, users and names of these files fit together, as kubectl renders them.

    ./check.py                     renders this folder by `kubectl kustomize`
    ./check.py rendered.yaml       takes what is rendered already

Takes Python 3.11 and PyYAML. Exits with 0 if all fit, else with 1 and a line for each that does not.
"""

import pathlib
import re
import subprocess
import sys
import tomllib

import yaml

HERE = pathlib.Path(__file__).resolve().parent

# Closing the door takes 1.2 s at most (docs/stopping.md), and a cut and the exit together less than SLACK.
DOOR = 1.2
SLACK = 5.0

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def seconds(text):
    """`1m30s` as seconds; None for `off`."""
    if text == "off":
        return None
    return sum(float(number) * UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text))


def rendered():
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1]).read_text()
    return subprocess.run(["kubectl", "kustomize", HERE], check=True, capture_output=True, text=True).stdout


def main():
    wrong = []

    def check(holds, says):
        print(("ok      " if holds else "WRONG   ") + says)
        if not holds:
            wrong.append(says)

    kinds = {it["kind"]: it for it in yaml.safe_load_all(rendered()) if it}
    deployment = kinds["Deployment"]["spec"]
    template = deployment["template"]
    pod, labels = template["spec"], template["metadata"]["labels"]
    (container,) = pod["containers"]
    manifest = tomllib.loads(kinds["ConfigMap"]["data"]["host.toml"])
    listen, stop, limits = manifest["listen"], manifest["stop"], manifest["limits"]

    delay = seconds(stop.get("drain-delay", "0s"))
    timeout = seconds(stop.get("drain-timeout", "25s"))
    grace = pod["terminationGracePeriodSeconds"]
    check(delay + DOOR < timeout, f"drain-delay {delay:g} s is a part of drain-timeout {timeout:g} s")
    check(grace >= timeout + SLACK, f"grace {grace} s is drain-timeout {timeout:g} s and {SLACK:g} s, or more")
    # Also for who takes one for an addition to the other, as a sleep in preStop would be.
    check(grace >= delay + timeout + SLACK, f"grace {grace} s has room for {delay:g} s beside that")
    check("lifecycle" not in container, "no preStop hook takes a part of the grace")
    exchange = seconds(limits.get("exchange-timeout", "off"))
    after = seconds(limits.get("after-timeout", "20s"))
    if exchange is None:
        print("note    exchange-timeout is off: a stop cuts what runs longer than drain-timeout")
    else:
        longest = delay + DOOR + exchange + after
        check(longest <= timeout, f"the longest exchange ends {longest:g} s after SIGTERM, within {timeout:g} s")

    ready = container["readinessProbe"]
    notices = ready["periodSeconds"] * ready["failureThreshold"]
    check(notices <= delay, f"a failing /readyz is noticed in {notices} s, within drain-delay {delay:g} s")
    ports = {it["name"]: it["containerPort"] for it in container["ports"]}
    check(listen["addr"][0].endswith(f":{ports['http']}"), f"port http is that of addr {listen['addr'][0]}")
    health = listen["health-addr"]
    check(health.endswith(f":{ports['health']}"), f"port health is that of health-addr {health}")
    for probe in ("livenessProbe", "readinessProbe"):
        check(container[probe]["httpGet"]["port"] == "health", f"{probe} asks the health address")
    check(template["metadata"]["annotations"]["prometheus.io/port"] == str(ports["health"]), "Prometheus asks there too")

    mounts = [it["mountPath"] for it in container["volumeMounts"]]
    check(str(pathlib.PurePath(listen["control"]).parent) in mounts, "the control socket is in a volume")
    configs = [it["configMap"]["name"] for it in pod["volumes"] if "configMap" in it]
    check(configs == [kinds["ConfigMap"]["metadata"]["name"]], "the manifest is the ConfigMap")
    user = pod["securityContext"]["runAsUser"]
    containerfile = (HERE / "../container/Containerfile").read_text()
    check(f"\nUSER {user}:" in containerfile, f"the user {user} is that of the image")

    selectors = {
        "Deployment": deployment["selector"]["matchLabels"],
        "Service": kinds["Service"]["spec"]["selector"],
        "PodDisruptionBudget": kinds["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": kinds["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        check(selector and selector.items() <= labels.items(), f"{kind} selects these pods, and not all")
    scaler = kinds["HorizontalPodAutoscaler"]["spec"]
    check(scaler["scaleTargetRef"]["name"] == kinds["Deployment"]["metadata"]["name"], "the autoscaler scales them")
    check("replicas" not in deployment, "nobody but the autoscaler says how many")
    budget = kinds["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    check(budget < scaler["minReplicas"], f"{budget} of at least {scaler['minReplicas']} pods may be away")
    metrics = (HERE / "../../docs/observing.md").read_text()
    for metric in (it["pods"]["metric"]["name"] for it in scaler["metrics"] if it["type"] == "Pods"):
        check(f"`{metric}`" in metrics, f"hosts have the metric {metric}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

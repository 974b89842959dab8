//! Bad input gets an error that names the flag and says what to write.

use std::path::Path;
use std::time::Duration;

use host_manifest::{ClientAuth, Grammar, ListenerConfig};

use super::args::{Invocation, parse};

use super::*;

fn serve(line: &str) -> Result<ServeConfig, String> {
    let words = format!("host serve app.wasm {line}");
    let grammar = Grammar::new(host_manifest::abilities::ALL);
    match parse(words.split_whitespace().map(Into::into), &grammar) {
        Ok(Invocation::Serve(serve)) => Ok(*serve),
        Ok(other) => Err(format!("{other:?}")),
        Err(why) => Err(why.to_string()),
    }
}

#[test]
fn defaults_are_those_of_the_help() {
    let serve = serve("").unwrap();
    let manifest = &serve.manifest;
    let address = ListenAddr::Tcp(([127, 0, 0, 1], 8080).into());
    assert_eq!(manifest.listen.listeners, [ListenerConfig::plain(address)]);
    assert_eq!(manifest.stop.timeout, Duration::from_secs(25));
    assert_eq!(manifest.stop.linger, Duration::from_secs(1));
    assert_eq!(manifest.components["app"].limits.total, None);
    assert_eq!(manifest.components["app"].limits.memory, 128 << 20);
    let min_rate = manifest.connection.min_rate.unwrap();
    assert_eq!((min_rate.bytes_per_second, min_rate.window.as_secs()), (240, 10));
    assert_eq!(manifest.connection.prefetch, 64 << 10);
    assert_eq!(serve.cache, CacheSetting::Default);
}

#[test]
fn addresses_come_as_people_write_them() {
    let serve = serve("--addr [::1]:0 --addr unix:/run/app.sock --addr localhost:81").unwrap();
    assert_eq!(labels(&serve), ["[::1]:0", "unix:/run/app.sock", "127.0.0.1:81"]);
}

fn labels(serve: &ServeConfig) -> Vec<String> {
    serve.manifest.listen.listeners.iter().map(ListenerConfig::label).collect()
}

#[test]
fn addresses_with_tls_stand_beside_those_without() {
    let tls = "--tls-cert a.pem --tls-key a.key --tls-cert b.pem --tls-key b.key";
    let only = serve(&format!("--tls-addr 127.0.0.1:8443 {tls}")).unwrap();
    assert_eq!(labels(&only), ["127.0.0.1:8443"], "not the default one");
    let both = format!("--tls-addr [::1]:1 --tls-addr [::1]:2 --addr [::1]:3 {tls}");
    let both = serve(&format!("{both} --tls-client-ca ca.pem --tls-client-auth optional")).unwrap();
    assert_eq!(labels(&both), ["[::1]:3", "[::1]:1", "[::1]:2"]);
    let [plain, one, other] = &both.manifest.listen.listeners[..] else { panic!("three") };
    assert_eq!((&plain.tls, &one.tls), (&None, &other.tls));
    let tls = one.tls.as_ref().unwrap();
    assert_eq!(
        tls.certificates.iter().map(|it| it.key.as_path()).collect::<Vec<_>>(),
        ["a.key", "b.key"].map(Path::new)
    );
    assert_eq!(tls.clients.as_ref().map(|clients| clients.auth), Some(ClientAuth::Optional));
}

#[test]
fn flags_of_tls_that_lack_others_are_refused() {
    for (line, says) in [
        ("--tls-addr 127.0.0.1:1", "add --tls-cert cert.pem --tls-key key.pem"),
        ("--tls-cert a --tls-key b", "--tls-cert is for --tls-addr"),
        ("--tls-client-ca a", "--tls-client-ca is for --tls-addr"),
        ("--tls-client-auth optional", "--tls-client-auth is for --tls-addr"),
        ("--tls-addr 127.0.0.1:1 --tls-cert a", "each --tls-cert has its --tls-key"),
        ("--tls-addr 127.0.0.1:1 --tls-cert a --tls-key b --tls-key c", "has its --tls-key"),
        (
            "--tls-addr 127.0.0.1:1 --tls-cert a --tls-key b --tls-client-auth required",
            "--tls-client-auth needs --tls-client-ca",
        ),
        (
            "--tls-addr 127.0.0.1:1 --tls-cert a --tls-key b --tls-client-ca c --tls-client-auth no",
            "write required",
        ),
        (
            "--addr 127.0.0.1:1 --tls-addr 127.0.0.1:1 --tls-cert a --tls-key b",
            "addr 127.0.0.1:1 and listener 127.0.0.1:1 are the same",
        ),
        ("--handshake-timeout 0s", "--handshake-timeout must be longer than 0s"),
    ] {
        let why = serve(line).unwrap_err();
        assert!(why.contains(says), "{line}: {why}");
    }
}

#[test]
fn durations_and_sizes_come_as_people_write_them() {
    let serve =
        serve("--linger 500ms --drain-timeout 1m30s --exchange-timeout 2s --max-memory 64MiB")
            .unwrap();
    assert_eq!(serve.manifest.stop.linger, Duration::from_millis(500));
    assert_eq!(serve.manifest.stop.timeout, Duration::from_secs(90));
    let limits = serve.manifest.components["app"].limits;
    assert_eq!(limits.total, Some(Duration::from_secs(2)));
    assert_eq!(limits.memory, 64 << 20);
    let rate = |line| self::serve(line).unwrap().manifest.connection.min_rate;
    assert_eq!(rate("--min-rate off"), None);
    let log = |line| self::serve(line).unwrap().manifest.components["app"].limits.log_rate;
    assert_eq!(
        ["", "--guest-log-rate 64KiB/s", "--guest-log-rate off"].map(log),
        [Some(1 << 20), Some(64 << 10), None]
    );
    for line in ["--min-rate 1KiB/s", "--min-rate 1KiB", "--min-rate 1024"] {
        assert_eq!(rate(line).unwrap().bytes_per_second, 1024, "{line}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_to_write() {
    for (line, says) in [
        ("--linger 5", "write a duration as 500ms"),
        ("--linger 99999999999d", "write a duration as 500ms"),
        ("--max-memory lots", "write bytes as 32KiB"),
        ("--total-memory 64MiB", "--total-memory is less than --max-memory"),
        ("--max-memory 0B", "between 1 byte and 4GiB"),
        ("--addr 8080", "write 127.0.0.1:8080"),
        ("--addr unix:", "write unix:/run/app.sock"),
        ("--drain-delay 30s", "raise --drain-timeout or lower --drain-delay"),
        ("--cpu-time 0s", "--cpu-time must be longer than 0s"),
        ("--max-instances 0", "--max-instances must be at least 1"),
        ("--max-instances 99999", "at most 7500"),
        ("--max-queue 18446744073709551615", "--max-queue can be at most"),
        ("--max-connections 18446744073709551615", "--max-connections can be at most"),
        ("--max-header-size 1KiB", "between 8KiB and 16MiB"),
        ("--exchange-timeout never", "or off"),
        ("--min-rate fast", "write bytes per second as 240B/s"),
        ("--min-rate 0B/s", "or off"),
        ("--min-rate 2MiB/s", "at most 1MiB/s"),
        ("--prefetch-body 2MiB", "at most 1MiB"),
        ("--guest-log-rate loud", "write bytes per second as 64KiB/s"),
        ("--guest-log-rate 0B", "or off"),
        ("--threads 0", "--threads"),
        ("--health-addr 8081", "write 127.0.0.1:8081"),
        ("--health-addr unix:/run/h.sock", "or off"),
        ("--no-cache --cache-dir /tmp", "cannot be used with"),
    ] {
        let why = serve(line).expect_err(line);
        assert!(why.contains(says), "{line}: {why}");
    }
}

#[test]
fn control_and_health_are_where_they_are_asked_for() {
    let serve = |line| serve(line).unwrap();
    assert_eq!(serve("").control, ControlSetting::Default);
    assert_eq!(serve("--control off").control, ControlSetting::Off);
    assert_eq!(serve("--control /run/c.sock").control, ControlSetting::Path("/run/c.sock".into()));
    assert_eq!(serve("").manifest.listen.health, None);
    assert_eq!(serve("--health-addr off").manifest.listen.health, None);
    assert_eq!(serve("--health-addr [::1]:81").manifest.listen.health, "[::1]:81".parse().ok());
}

fn ctl(line: &str) -> Result<CtlConfig, String> {
    let words = format!("host ctl {line}");
    let grammar = Grammar::new(host_manifest::abilities::ALL);
    match parse(words.split_whitespace().map(Into::into), &grammar) {
        Ok(Invocation::Ctl(ctl)) => Ok(ctl),
        Ok(other) => Err(format!("{other:?}")),
        Err(why) => Err(why.to_string()),
    }
}

#[test]
fn options_of_ctl_stand_before_or_behind_its_command() {
    for line in ["--pid 7 --json stop --now", "stop --json --now --pid 7"] {
        let ctl = ctl(line).unwrap();
        assert_eq!(ctl.target, CtlTarget::Pid(7), "{line}");
        assert!(ctl.json, "{line}");
        assert_eq!(ctl.command, CtlCommand::Stop { now: true, wait: false }, "{line}");
    }
}

#[test]
fn ctl_refuses_what_it_cannot_do_with_what_it_can() {
    for (line, says) in [
        ("", "Usage"),
        ("status --pid 1 --socket /a", "cannot be used with"),
        ("--socket /a status --pid 1", "cannot be used with"),
        ("swap", "NEW.wasm"),
        ("stop --pid me", "--pid"),
        ("restart", "restart"),
        ("swap a.wasm --canary 60%", "between 0.1% and 50%"),
        ("swap a.wasm --canary off --for 1m", "--for cannot be used with --canary off"),
        ("swap a.wasm --canary 5% --for 10ms", "--for must be at least 1s"),
        ("swap a.wasm --canary 5% --sticky cookie", "header:NAME"),
        ("swap a.wasm --abort-if fast", "write errors > 1%"),
        ("canary pause", "pause"),
    ] {
        let why = ctl(line).expect_err(line);
        assert!(why.contains(says), "{line}: {why}");
    }
}

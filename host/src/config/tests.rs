//! Bad input gets an error that names the flag and says what to write.

use super::args::{Job, parse};
use super::*;

fn serve(line: &str) -> Result<Serve, String> {
    let words = format!("host serve app.wasm {line}");
    match parse(words.split_whitespace().map(Into::into)) {
        Ok(Job::Serve(serve)) => Ok(*serve),
        Ok(Job::Check(_)) => Err("check".into()),
        Err(why) => Err(why.to_string()),
    }
}

#[test]
fn defaults_are_those_of_the_help() {
    let serve = serve("").unwrap();
    assert_eq!(serve.addresses, [Address::Tcp(([127, 0, 0, 1], 8080).into())]);
    assert_eq!(serve.stop.timeout, Duration::from_secs(25));
    assert_eq!(serve.stop.linger, Duration::from_secs(1));
    assert_eq!(serve.exchange.total, None);
    assert_eq!(serve.guest.memory, 128 << 20);
    assert_eq!(serve.cache, Cache::Default);
}

#[test]
fn addresses_come_as_people_write_them() {
    let serve = serve("--addr [::1]:0 --addr unix:/run/app.sock --addr localhost:81").unwrap();
    assert_eq!(
        serve.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["[::1]:0", "unix:/run/app.sock", "127.0.0.1:81"]
    );
}

#[test]
fn durations_and_sizes_come_as_people_write_them() {
    let serve =
        serve("--linger 500ms --drain-timeout 1m30s --exchange-timeout 2s --max-memory 64MiB")
            .unwrap();
    assert_eq!(serve.stop.linger, Duration::from_millis(500));
    assert_eq!(serve.stop.timeout, Duration::from_secs(90));
    assert_eq!(serve.exchange.total, Some(Duration::from_secs(2)));
    assert_eq!(serve.guest.memory, 64 << 20);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_write() {
    for (line, says) in [
        ("--linger 5", "write a duration as 500ms"),
        ("--linger 99999999999d", "write a duration as 500ms"),
        ("--max-memory lots", "write bytes as 32KiB"),
        ("--max-memory 0B", "between 1 byte and 4GiB"),
        ("--addr 8080", "write 127.0.0.1:8080"),
        ("--addr unix:", "write unix:/run/app.sock"),
        ("--drain-delay 30s", "raise --drain-timeout or lower --drain-delay"),
        ("--cpu-time 0s", "--cpu-time must be longer than 0s"),
        ("--max-instances 0", "--max-instances must be at least 1"),
        ("--max-instances 99999", "at most 15000"),
        ("--max-queue 18446744073709551615", "--max-queue can be at most"),
        ("--max-connections 18446744073709551615", "--max-connections can be at most"),
        ("--max-header-size 1KiB", "between 8KiB and 16MiB"),
        ("--exchange-timeout never", "or off"),
        ("--threads 0", "--threads"),
        ("--no-cache --cache-dir /tmp", "cannot be used with"),
    ] {
        let why = serve(line).expect_err(line);
        assert!(why.contains(says), "{line}: {why}");
    }
}

//! The container image of `deploy/container`, built here, and its files run as a container would run them.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::support::binary::BINARY;
use crate::support::image::Image;
use crate::support::lines::Mark;
use crate::support::prelude::*;

fn printed(command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// What does not take a run: its size, and what a runtime reads.
fn look_at(image: &Image) {
    let size = image.size();
    println!("the image has {size} bytes");
    assert!(size < 60_000_000, "{size} bytes");
    assert_eq!(image.config["User"], "65532:65532");
    assert_eq!(image.config["StopSignal"], "SIGTERM");
    // ["CMD", PROGRAM, …]: no shell is asked for, because there is none.
    let health = image.words("Healthcheck/Test");
    assert_eq!(health[..2], ["CMD", "/usr/bin/wasm-host"], "{health:?}");
    let shells = ["bin/sh", "bin/bash", "usr/bin/sh"].map(|shell| image.has(shell));
    assert_eq!(shells, [false; 3]);
}

fn expect_nothing_was_compiled(metrics: &str, log: &str) {
    for (source, count) in [("cache", "1.0"), ("compiler", "0.0")] {
        let loads = format!(
            "host_code_loads_total{{host_component=\"app\",source=\"{source}\"}} {count}\n"
        );
        assert!(metrics.contains(&loads), "no {loads} in:\n{metrics}");
    }
    assert!(log.contains("\"cached\":true") && !log.contains("\"cached\":false"), "{log}");
}

#[test]
fn image_is_small_starts_without_compiling_and_drains_as_no_root_on_a_read_only_root() {
    let Some(image) = Image::build(Path::new(BINARY), &guest("hello_p2")) else { return };
    look_at(&image);
    let host = image.start();
    let until = || Instant::now() + PATIENCE;
    let ready = host.stdout.wait_for("ready ", Mark::START, 1, until());
    assert!(ready.is_ok(), "no ready line:\n{}", host.stderr.text());
    let get = |url: &str| {
        let curl = ["curl", "--silent", "--fail", "--max-time", "30", url];
        printed(image.beside(&host, false).args(curl))
    };
    assert_eq!(get("http://127.0.0.1:8080/"), "hello world\n");
    assert_eq!(get("http://127.0.0.1:8081/readyz"), "ready\n");
    expect_nothing_was_compiled(&get("http://127.0.0.1:8081/metrics"), &host.stderr.text());
    let health = image.words("Healthcheck/Test");
    let status = printed(image.beside(&host, true).args(&health[1..]));
    assert!(status.contains(", ready, "), "{status}");
    // Both names are one program.
    let version = printed(image.beside(&host, true).args(["/usr/bin/host", "--version"]));
    assert!(version.starts_with("host "), "{version}");
    host.signal(Signal::TERM);
    assert_eq!(host.wait(until()), Some(0), "{}", host.stderr.text());
    // Its last line may still be in the pipe.
    assert!(host.stderr.wait_closed(until()), "its stderr is open");
    assert!(host.stderr.text().contains(says::NOTHING_CUT), "{}", host.stderr.text());
}

//! Compiling takes the shim out of a component. Its answers stay as they were, byte for byte.

use crate::support::app::{bytes, component as wasm, text};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// Guests whose answers depend on the request only. Among them are those that allocate, take bodies of
/// requests, send trailers, trap before and behind the head of an answer, leave their stack or the memory, and call
/// most of what the host has.
const GUESTS: [&str; 33] = [
    "apikey_p2",
    "big_p2",
    "big_p3",
    "chatty_p2",
    "chatty_p3",
    "echo_p2",
    "echo_p3",
    "empty_p2",
    "empty_p3",
    "exit_p2",
    "files_p2",
    "greet_p2",
    "greet_p3",
    "headers_p3",
    "hello_p2",
    "hello_p3",
    "hungry_p2",
    "hungry_p3",
    "info_p2",
    "info_p3",
    "mark_p2",
    "mark_p3",
    "odd_p2",
    "reader_p2",
    "reader_p3",
    "trailers_p2",
    "trailers_p3",
    "trap_late_p2",
    "trap_late_p3",
    "trap_p2",
    "trap_p3",
    "version_a_p2",
    "version_a_p3",
];

/// The same component with one more core instance, of an empty module. So it is not of the shape that is known,
/// and is compiled with its shim.
fn with_its_shim(name: &str) -> Vec<u8> {
    const EMPTY_MODULE: &[u8] = b"\x01\x08\0asm\x01\0\0\0";
    // Guests from Rust have three modules: the guest, the shim, the fixup.
    const INSTANCE_OF_MODULE_3: &[u8] = b"\x02\x04\x01\x00\x03\x00";
    [&bytes(name)[..], EMPTY_MODULE, INSTANCE_OF_MODULE_3].concat()
}

/// Everything up to the close of the connection, but for the date, and for the trace, which is another one each time.
fn answer(host: &Host, request: &str) -> String {
    let mut conn = host.connect();
    conn.send(request).unwrap();
    let (bytes, ended) = conn.read_to_end().unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let lines = text
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("date: ") && !line.starts_with("header.traceparent: "));
    format!("{}{ended:?}", lines.collect::<String>())
}

#[test]
fn every_guest_answers_the_same_with_and_without_its_shim() {
    // Names in a manifest have no `_`.
    let names = GUESTS.map(|guest| guest.replace('_', "-"));
    let manifest: String =
        names.iter().map(|name| component(name) + &route(&format!("/{name}"), name)).collect();
    let [without, with] = [false, true].map(|shim| {
        let site = Site::new(&manifest);
        for (guest, name) in GUESTS.iter().zip(&names) {
            let bytes = if shim { with_its_shim(guest) } else { bytes(guest) };
            site.put_bytes(&format!("{name}.wasm"), &bytes);
        }
        let host = site.serve().start();
        (site, host)
    });
    for name in &names {
        for request in [
            format!(
                "GET /{name} HTTP/1.1\r\nHost: test\r\nx-request-id: 7\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "POST /{name}/a?bytes=300 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\
                 x-request-id: 7\r\nx-api-key: secret\r\nContent-Length: 11\r\n\r\nhello world"
            ),
        ] {
            let (without, with) = (answer(&without.1, &request), answer(&with.1, &request));
            assert!(with.starts_with("HTTP/1.1 "), "{name}: {with}");
            assert_eq!(without, with, "{name}: {request}");
        }
    }
}

/// A fault of the shim is a fault of the component, though it is not compiled.
#[test]
fn a_component_with_a_broken_shim_is_refused_as_before() {
    let site = Site::new("");
    let broken = "(component (core module $shim (func (export \"0\") i32.const 0)) \
         (core instance (instantiate $shim)) (instance $i) \
         (export \"wasi:http/incoming-handler@0.2.0\" (instance $i)))";
    site.put_bytes("broken.wasm", &wasm(broken));
    let path = site.file("broken.wasm");
    let exit = Host::run(["check", "--no-cache", text(path.as_ref())]);
    exit.expect_code(3).expect_last_line("does not compile");
}

//! What is sent goes where it was judged to go: the URI that is made of a destination leads to it, in one
//! spelling, with the path that was asked for.
#![no_main]

use destination::Destination;
use host_manifest::outgoing::UriHost;
use http::Uri;
use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;

/// By its path: the crate that it belongs to has TLS in it, which nobody wants to instrument.
#[path = "../../outgoing/src/destination.rs"]
#[allow(dead_code, reason = "its crate asks it for more than is fuzzed here")]
mod destination;

/// What stands for the error of that crate.
#[derive(Debug)]
enum SendError {
    Uri(&'static str),
}

fuzz_target!(|text: &str| {
    let Ok(uri) = text.parse::<Uri>() else { return };
    let destination = match Destination::from_uri(&uri) {
        Ok(destination) => destination,
        Err(SendError::Uri(why)) => return assert!(!why.is_empty()),
    };
    assert!(destination.port != 0);
    let path = uri.path_and_query().cloned();
    let sent = destination.uri(path.clone()).expect("what was judged can be sent");
    let again = Destination::from_uri(&sent).expect("and is judged in the same way");
    assert_eq!(again, destination);
    assert_eq!(again.uri(path.clone()).expect("as before"), sent, "one spelling");
    assert_eq!(sent.path_and_query(), Some(&path.unwrap_or(PathAndQuery::from_static("/"))));
    let authority = sent.authority().expect("it is absolute").as_str();
    assert!(!authority.contains('@'));
    // What the pool and the server read of it.
    assert_eq!(UriHost::parse(sent.host().expect("it is absolute")), Some(destination.host));
    let default = if sent.scheme_str() == Some("https") { 443 } else { 80 };
    assert_eq!(sent.port_u16().unwrap_or(default), destination.port);
});

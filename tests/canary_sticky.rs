//! Who stays with one version while a canary is under way.

use crate::support::app::{App, text, version, version_h2};
use crate::support::canary::{canaries, expect_states};
use crate::support::h2raw::fields;
use crate::support::prelude::*;

/// Users who are told apart by a header.
const USERS: usize = 60;

/// The version of an answer to a request with this value of `x-user`, over HTTP/1.
fn over_h1(conn: &mut Conn, user: usize) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: t\r\nX-USER: user-{user}\r\n\r\n");
    conn.send(request).expect("the host reads");
    version(&conn.read_response("GET").expect("an answer"))
}

/// The same over HTTP/2.
fn over_h2(h2: &mut H2, stream: u32, user: usize) -> String {
    let (user, mut fields) = (format!("user-{user}"), fields("GET", "/"));
    fields.push(("x-user", &user));
    h2.send_fields(stream, &fields, true);
    version_h2(&h2.expect_answer(stream))
}

/// Each user comes over the connections that all share and over one of its own, by HTTP/1 and HTTP/2. A draw that went by
/// anything but the value would send it back and forth.
#[test]
fn same_value_of_a_header_is_the_same_version_over_every_connection_and_protocol() {
    let app = App::new("version_a_p2");
    let host = app.serve().control().start();
    let path = guest("version_b_p2");
    let swap = ["swap", text(&path), "--canary", "50%", "--for", "2s", "--abort-if", "never"];
    host.ctl(swap.into_iter().chain(["--sticky", "header:x-user"])).expect_code(0);
    let (mut kept, mut kept_h2) = (host.connect(), H2::connect(host.addr()));
    let (mut streams, mut rounds_of_both) = ((1..).step_by(2), 0);
    let mut came = vec![false; USERS];
    while canaries(&host)[0]["end"].is_null() {
        let before = came.clone();
        for (user, came) in came.iter_mut().enumerate() {
            let stream = streams.next().expect("there are enough");
            let answers = [
                over_h1(&mut kept, user),
                over_h2(&mut kept_h2, stream, user),
                over_h1(&mut host.connect(), user),
                over_h2(&mut H2::connect(host.addr()), 1, user),
            ];
            for answer in answers {
                assert!(answer == "b" || !*came, "user {user} was sent back");
                *came |= answer == "b";
            }
        }
        // Who had come before it, beside who has not come yet.
        rounds_of_both += u32::from(before.contains(&true) && came.contains(&false));
    }
    println!("{rounds_of_both} rounds with users of both versions");
    assert!(rounds_of_both > 0);
    expect_states(&host, &[(1, "previous"), (2, "current")]);
}

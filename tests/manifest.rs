//! A manifest: which requests go where, what flags still say beside it, and limits of each component.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};

use crate::support::app::{text, version_h2};
use crate::support::prelude::*;
use crate::support::site::{Site, component, route};

/// Four components that can be told apart, each in a file of its own.
pub const FOUR: [(&str, &str); 4] = [
    ("a.wasm", "version_a_p2"),
    ("b.wasm", "version_b_p3"),
    ("hello.wasm", "hello_p2"),
    ("info.wasm", "info_p3"),
];

/// The manifest with all four and these routes.
fn four(routes: &str) -> Site {
    let components: String = ["a", "b", "hello", "info"].map(component).concat();
    Site::with(&format!("{components}{routes}"), &FOUR)
}

/// Which of the four has answered, or the status that it was.
pub fn who(answer: &Response) -> String {
    match (answer.status(), answer.header("x-version"), answer.text().as_str()) {
        (200, Some(version), _) => version.to_owned(),
        (200, None, "hello world\n") => "hello".into(),
        (200, None, text) if text.starts_with("method: ") => "info".into(),
        (status, ..) => status.to_string(),
    }
}

/// One request on a connection of its own.
#[track_caller]
fn ask(host: &Host, method: &str, authority: &str, path: &str) -> Response {
    let mut conn = host.connect();
    let close = "Connection: close";
    conn.send(format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{close}\r\n\r\n")).unwrap();
    conn.read_response(method).unwrap()
}

/// The path with query that `info` saw.
#[track_caller]
fn seen(answer: &Response) -> String {
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix("path: "));
    line.unwrap_or_else(|| panic!("info did not answer: {answer}")).to_owned()
}

/// Routes of which several fit most requests.
const ROUTES: &str = r#"
        [[route]]
        path = "/a"
        component = "a"
        [[route]]
        path = "/a/deep"
        component = "b"
        [[route]]
        exact = "/a/deep/one"
        component = "hello"
        [[route]]
        host = "Shop.Example"
        path = "/"
        component = "info"
        [[route]]
        host = "*.shop.example"
        path = "/a"
        component = "b"
        [[route]]
        host = "*.eu.shop.example"
        path = "/"
        component = "hello"
        [[route]]
        host = "127.0.0.1"
        path = "/"
        component = "b"
        [[route]]
        host = "[::1]"
        path = "/"
        component = "info"
    "#;

/// The authority and path of a request, and the component that answers it, or the status.
const ROUTED: [(&str, &str, &str); 29] = [
    ("any", "/a", "a"),
    ("any", "/a/", "a"),
    ("any", "/a?x=/a/deep", "a"),
    ("any", "/ab", "404"),
    ("any", "/", "404"),
    ("any", "/a/deepest", "a"),
    ("any", "/a/deep", "b"),
    ("any", "/a/deep/x", "b"),
    ("any", "/a/deep/one", "hello"),
    ("any", "/a/deep/one?q", "hello"),
    ("any", "/a/deep/one/", "b"),
    // A server that normalises it would read `/a`.
    ("any", "/%61", "400"),
    ("any", "//a", "400"),
    ("any", "/x/../a", "400"),
    ("any", "/a/%78", "a"),
    ("any", "/x//y", "404"),
    ("any", "/A", "404"),
    ("shop.example", "/a/deep/one", "info"),
    ("SHOP.example:8080", "/", "info"),
    ("shop.example.", "/", "info"),
    ("xshop.example", "/", "404"),
    ("x.shop.example", "/a", "b"),
    ("x.y.shop.example", "/a", "b"),
    // Routes of a better host that do not fit leave it to the others.
    ("x.shop.example", "/", "404"),
    ("x.eu.shop.example", "/a/deep", "hello"),
    ("eu.shop.example", "/", "404"),
    ("127.0.0.1:1", "/", "b"),
    ("[::1]:8080", "/", "info"),
    ("[::1]", "/", "info"),
];

#[test]
fn route_with_the_most_exact_host_and_then_the_most_exact_path_gets_the_request() {
    let site = four(ROUTES);
    let host = site.serve().start();
    for (authority, path, expected) in ROUTED {
        assert_eq!(who(&ask(&host, "GET", authority, path)), expected, "{authority}{path}");
    }
    let nowhere = ask(&host, "GET", "any", "/nowhere");
    assert_eq!((nowhere.status(), nowhere.text().as_str()), (404, "not found\n"));
}

/// Every request was refused: its path could also be read as one that no route can have.
#[test]
fn routes_with_what_must_be_encoded_are_served_and_cannot_be_got_around() {
    let site = four(
        "[[route]]\npath = \"/\"\ncomponent = \"hello\"\n\
         [[route]]\npath = \"/%C3%A9\"\ncomponent = \"a\"\n\
         [[route]]\nexact = \"/a%20b/100%25\"\ncomponent = \"b\"\n",
    );
    let host = site.serve().start();
    for (path, expected) in [
        ("/%C3%A9", "a"),
        ("/%C3%A9/x%20y?z", "a"),
        ("/a%20b/100%25", "b"),
        ("/a%20b", "hello"),
        ("/%c3%a9", "400"),
        ("/%25C3%25A9", "400"),
        ("/x/..%2f%C3%A9", "400"),
        ("/%C3%A9/../x", "400"),
        ("/a%2520b/100%25", "400"),
    ] {
        assert_eq!(who(&ask(&host, "GET", "any", path)), expected, "{path}");
    }
}

#[test]
fn request_of_http2_and_one_with_an_absolute_target_go_by_their_authority() {
    let site = four(
        "[[route]]\nhost = \"a.test\"\npath = \"/\"\ncomponent = \"a\"\n\
         [[route]]\nhost = \"b.test\"\npath = \"/\"\ncomponent = \"b\"\n",
    );
    let host = site.serve().start();
    let mut h2 = H2::connect(host.addr());
    for (stream, letter) in [(1, "a"), (3, "b"), (5, "a")] {
        let authority = format!("{letter}.test");
        let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
        h2.send_fields(stream, &[method, scheme, (":authority", &authority), (":path", "/")], true);
        assert_eq!(version_h2(&h2.expect_answer(stream)), letter);
    }
    h2.get(7, "/");
    assert_eq!(h2.expect_answer(7).status, 404, "the authority is `test`");
    let mut conn = host.connect();
    conn.send("GET http://b.test/ HTTP/1.1\r\nHost: b.test\r\n\r\n").unwrap();
    assert_eq!(who(&conn.read_response("GET").unwrap()), "b");
    // One connection for several components.
    conn.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").unwrap();
    assert_eq!(who(&conn.read_response("GET").unwrap()), "a");
}

#[test]
fn where_only_the_method_does_not_fit_the_answer_is_405_with_those_that_do() {
    let site = four(
        "[[route]]\npath = \"/\"\nmethods = [\"GET\", \"HEAD\"]\ncomponent = \"a\"\n\
         [[route]]\npath = \"/\"\nmethods = [\"PUT\"]\ncomponent = \"b\"\n\
         [[route]]\npath = \"/all\"\ncomponent = \"hello\"\n\
         [[route]]\npath = \"/all\"\nmethods = [\"POST\", \"PURGE\"]\ncomponent = \"info\"\n\
         [[route]]\npath = \"/own\"\nmethods = [\"DELETE\"]\ncomponent = \"info\"\n",
    );
    let host = site.serve().start();
    for (method, path, expected) in [
        ("GET", "/x", "a"),
        ("PUT", "/x", "b"),
        ("DELETE", "/x", "405"),
        // A less exact route has it.
        ("GET", "/own", "a"),
        ("DELETE", "/own", "info"),
        ("PATCH", "/own", "405"),
        ("POST", "/all", "info"),
        ("PURGE", "/all", "info"),
        ("DELETE", "/all", "hello"),
    ] {
        assert_eq!(who(&ask(&host, method, "t", path)), expected, "{method} {path}");
    }
    for (path, expected) in [("/x", "GET, HEAD, PUT"), ("/own", "DELETE, GET, HEAD, PUT")] {
        let mut conn = host.connect();
        conn.send(format!("PATCH {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"))
            .unwrap();
        let answer = conn.read_response("PATCH").unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (405, "method not allowed\n"));
        let allow = answer.header("allow").expect("RFC 9110 §15.5.6 wants it");
        let allow: BTreeSet<&str> = allow.split(", ").collect();
        assert_eq!(allow, expected.split(", ").collect(), "{path}");
        assert_eq!(who(&conn.get("/x").unwrap()), "a", "the connection goes on");
    }
    let head = ask(&host, "HEAD", "t", "/x");
    assert_eq!((head.status(), head.header("x-version")), (200, Some("a")));
}

#[test]
fn component_sees_the_path_without_the_prefix_only_where_that_is_asked_for() {
    for guest in ["info_p2", "info_p3"] {
        let stripped = |path| format!("{}strip-prefix = true\n", route(path, "info"));
        let routes =
            [stripped("/shop"), stripped("/shop/deep/er"), route("/kept", "info"), stripped("/")];
        let site = Site::with(&(component("info") + &routes.concat()), &[("info.wasm", guest)]);
        let host = site.serve().start();
        for (path, expected) in [
            ("/shop", "/"),
            ("/shop?x=1", "/?x=1"),
            ("/shop?", "/?"),
            ("/shop/", "/"),
            ("/shop/x/y?a=/shop", "/x/y?a=/shop"),
            ("/shop/shop", "/shop"),
            ("/shop//x", "//x"),
            ("/shop/%2F%78", "/%2F%78"),
            ("/shop/x/../y", "/x/../y"),
            ("/shop/deep", "/deep"),
            ("/shop/deep/er/1", "/1"),
            ("/shopping", "/shopping"),
            ("/kept", "/kept"),
            ("/kept/x?y", "/kept/x?y"),
        ] {
            assert_eq!(seen(&ask(&host, "GET", "t", path)), expected, "{guest}: {path}");
        }
        let absolute = ask(&host, "GET", "t:81", "http://t:81/shop/x");
        assert_eq!(seen(&absolute), "/x");
        assert!(absolute.text().contains("authority: t:81\n"), "{absolute}");
    }
}

#[test]
fn variables_of_the_environment_are_filled_in_where_they_are_written() {
    let site = Site::with(
        "[component.grants]\nsource = \"${FILE}.wasm\"\nargs = [\"-${ONE}${ONE}-\", \"$${ONE}\"]\n\
         config = { key = \"${TWO}\" }\nenv = { THREE = \"${TWO}\" }\n\
         [[route]]\npath = \"${PREFIX}\"\nstrip-prefix = true\ncomponent = \"${FILE}\"\n",
        &[("grants.wasm", "grants_p2")],
    );
    let serve = site.serve().env("FILE", "grants").env("ONE", "1").env("TWO", "${ONE} $$");
    let host = serve.env("PREFIX", "/g").start();
    assert_eq!(host.get("/g/args").text(), "-11-\n${ONE}\n");
    assert_eq!(host.get("/g/env").text(), "THREE=${ONE} $$\n", "not looked through again");
    assert_eq!(host.get("/g/config?key=key").text().trim_end(), "${ONE} $$");
}

#[test]
fn manifest_of_one_component_needs_no_route() {
    let site = Site::with(&component("a"), &FOUR);
    let host = site.serve().start();
    assert_eq!(who(&host.get("/any/where")), "a");
}

#[test]
fn every_listener_of_the_manifest_serves() {
    let listen = "[listen]\naddr = [\"127.0.0.1:0\", \"127.0.0.1:0\", \"unix:here.sock\"]\n";
    let site = Site::with(&(listen.to_owned() + &component("a")), &FOUR);
    let host = site.serve().no_tcp().start();
    let [one @ Target::Tcp(_), other @ Target::Tcp(_), Target::Unix(path)] = host.addrs() else {
        panic!("{:?}", host.addrs());
    };
    assert_ne!(one, other);
    assert_eq!(text(path), site.file("here.sock"), "relative to the manifest");
    for target in host.addrs() {
        assert_eq!(who(&Conn::connect(target).unwrap().get("/").unwrap()), "a", "{target}");
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    assert!(!site.has("here.sock"));
}

/// An address of which this process has the port, so that no other process can bind it.
fn taken() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn flags_about_the_process_win_over_the_manifest() {
    let ((_kept, addr), (_kept_too, health)) = (taken(), taken());
    let listen = format!(
        "[listen]\naddr = [\"{addr}\"]\nhealth-addr = \"{health}\"\ncontrol = \"from-file.sock\"\n"
    );
    let site = Site::with(&(listen + &component("a")), &FOUR);
    let free = "127.0.0.1:0";
    let host = site.serve().control().args(["--health-addr", free, "--threads", "9"]).start();
    assert_ne!(host.addr(), addr);
    assert_eq!(who(&host.get("/")), "a");
    host.ctl(["status"]).expect_code(0);
    assert!(!site.has("from-file.sock"));
    let tasks = fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap();
    let names = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    // Those that read files are called so too.
    assert!(names.filter(|name| name.trim() == "worker").count() >= 9);
    // Nor does a reload come back to it.
    let reloaded = host.ctl(["reload"]);
    reloaded.expect_code(0);
    assert!(!reloaded.stdout.contains("restart"), "{}", reloaded.stdout);
}

#[test]
fn health_address_of_the_manifest_is_turned_off_by_the_flag() {
    let (_kept, health) = taken();
    let listen = format!("[listen]\nhealth-addr = \"{health}\"\n");
    let site = Site::with(&(listen + &component("a")), &FOUR);
    // The port is taken, so that it could not start with it.
    let host = site.serve().args(["--health-addr", "off"]).start();
    assert_eq!(who(&host.get("/")), "a");
}

#[test]
fn control_socket_of_the_manifest_is_relative_to_it() {
    let site =
        Site::with(&("[listen]\ncontrol = \"c.sock\"\n".to_owned() + &component("a")), &FOUR);
    // A runtime directory of the test's own: the harness adds no `--control off` then.
    let host = site.serve().env("XDG_RUNTIME_DIR", site.file("")).start();
    let exit = Host::run(["ctl", "--socket", &site.file("c.sock"), "--json", "status"]);
    exit.expect_code(0);
    assert!(exit.stdout.contains(&format!("\"pid\":{}", host.pid())), "{}", exit.stdout);
}

//! What is refused, and what reaches a guest.

use super::*;

fn request(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().version(version).method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn h1(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, Failure> {
    let mut request = request(Version::HTTP_11, method, uri, headers);
    check(&mut request, 100, (&KnownHost::default(), Scheme::HTTP)).map(|checked| match checked {
        Checked::Pass => request.uri().to_string(),
        Checked::ServerOptions => "*".into(),
    })
}

#[test]
fn a_good_request_gets_an_absolute_uri() {
    let host = [("host", "a.example:8080")];
    assert_eq!(h1("GET", "/x?y=1", &host).unwrap(), "http://a.example:8080/x?y=1");
    assert_eq!(h1("GET", "http://A.example:8080/x", &host).unwrap(), "http://a.example:8080/x");
    assert_eq!(h1("GET", "/", &[("host", "[::1]:80")]).unwrap(), "http://[::1]:80/");
    assert_eq!(h1("OPTIONS", "*", &host).unwrap(), "*");
}

/// Was refused though it is legal.
#[test]
fn what_says_the_same_in_other_words_is_the_same() {
    for (uri, host, seen) in [
        ("http://a?x=1", "a", "http://a/?x=1"),
        ("http://a?", "a", "http://a/?"),
        ("http://a", "a", "http://a/"),
        ("HTTP://a:80/", "A:", "http://A/"),
        ("http://a:/x", "a:80", "http://a:80/x"),
        ("http://a:/x", "a:0080", "http://a:0080/x"),
        ("https://a/", "a:443", "http://a:443/"),
        ("https://a:443/", "a", "http://a/"),
        ("/", "a:", "http://a/"),
        ("/", "[::1]:", "http://[::1]/"),
        ("/", "[v1.x:y]", "http://[v1.x:y]/"),
        ("/", "a_b~!$&'()*+;=c", "http://a_b~!$&'()*+;=c/"),
    ] {
        assert_eq!(h1("GET", uri, &[("host", host)]).as_deref(), Ok(seen), "{uri} {host}");
    }
    for method in ["QUERY", "PURGE", "get", "M-SEARCH"] {
        assert_eq!(h1(method, "/", &[("host", "a")]).as_deref(), Ok("http://a/"), "{method}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (method, uri, headers) in [
        ("GET", "/", &[][..]),
        ("GET", "/", &[("host", "a"), ("host", "b")]),
        ("GET", "/", &[("host", "a"), ("host", "a")]),
        ("GET", "/", &[("host", "a b")]),
        ("GET", "/", &[("host", "a,evil.example")]),
        ("GET", "/", &[("host", "")]),
        ("GET", "/", &[("host", "user@a")]),
        ("GET", "/", &[("host", "a:port")]),
        ("GET", "/", &[("host", "a:99999")]),
        ("GET", "/", &[("host", "a/b")]),
        ("GET", "/", &[("host", ":80")]),
        ("GET", "/", &[("host", "a:+80")]),
        ("GET", "/", &[("host", "a::")]),
        ("GET", "/", &[("host", "a:8 0")]),
        ("GET", "/", &[("host", "[::1]80")]),
        ("GET", "/", &[("host", "[]")]),
        ("GET", "/", &[("host", "[a]")]),
        ("GET", "/", &[("host", "[::1%25eth0]")]),
        ("GET", "/", &[("host", "[v.x]")]),
        ("GET", "/", &[("host", "%61")]),
        ("GET", "/", &[("host", "::1")]),
        ("GET", "a", &[("host", "a")]),
        ("GET", "a:80", &[("host", "a:80")]),
        ("GET", "/\u{e9}", &[("host", "a")]),
        ("GET", "/?\u{e9}", &[("host", "a")]),
        ("GET", "http://a/\u{e9}", &[("host", "a")]),
        ("GET", "https://a:80/", &[("host", "a")]),
        ("GET", "http://a/", &[("host", "a:443")]),
        ("GET", "http://u:p@a/", &[("host", "a")]),
        ("GET", "http://b/", &[("host", "a")]),
        ("GET", "http://a:81/", &[("host", "a")]),
        ("GET", "ftp://a/", &[("host", "a")]),
        ("GET", "*", &[("host", "a")]),
        ("POST", "/", &[("host", "a"), ("transfer-encoding", "identity, chunked")]),
        ("POST", "/", &[("host", "a"), ("transfer-encoding", "gzip")]),
        (
            "POST",
            "/",
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ),
    ] {
        let answer = h1(method, uri, headers);
        assert!(
            matches!(answer, Err(Failure::Malformed(_))),
            "{method} {uri} {headers:?}: {answer:?}"
        );
    }
    assert_eq!(h1("TRACE", "/", &[("host", "a")]), Err(Failure::Method));
    assert_eq!(h1("CONNECT", "a:80", &[("host", "a:80")]), Err(Failure::Method));
}

#[test]
fn paths_that_can_be_read_in_other_ways_are_seen_as_other_readers_would() {
    for plain in ["/", "/shop", "/shop/a.b/x..c", "/a/", "/shop/x-y_z~"] {
        assert_eq!(other_readings(plain), [""; 0], "{plain}");
    }
    for (path, read) in [
        ("/x/../admin", "/admin"),
        ("/x/%2e%2E/admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/%2561dmin", "/admin"),
        ("/%61dmin/../x", "/admin/../x"),
        ("/admin/%2e%2e/x", "/x"),
        ("//admin/", "/admin/"),
        ("/./admin", "/admin"),
        ("/x%2f..%2fadmin", "/admin"),
        ("/x\\..\\admin", "/admin"),
        ("/x//../admin", "/admin"),
        ("/x//../admin", "/x/admin"),
        ("/admin/..", "/"),
        ("/../..", "/"),
    ] {
        let others = other_readings(path);
        assert!(others.iter().any(|other| other == read), "{path}: {others:?}");
    }
    for (path, read) in
        [("/%c3%a9", "/%C3%A9"), ("/é", "/%C3%A9"), ("/%25C3%A9", "/%C3%A9"), ("/a%zz", "/a%25zz")]
    {
        assert_eq!(other_readings(path), [read], "{path}");
    }
    for path in ["/%C3%A9", "/a%20b", "/100%25", "/100%25/a%3Fb%23"] {
        assert_eq!(other_readings(path), [""; 0], "the one way to write it: {path}");
    }
}

#[test]
fn fields_that_are_for_this_connection_go_no_further() {
    let headers = [
        ("host", "a"),
        ("connection", "close, X-Own"),
        ("connection", "host, content-length"),
        ("x-own", "1"),
        ("x-other", "2"),
        ("content-length", "0"),
    ];
    let mut request = request(Version::HTTP_11, "GET", "/", &headers);
    assert_eq!(check(&mut request, 100, (&KnownHost::default(), Scheme::HTTP)), Ok(Checked::Pass));
    let mut left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
    // A map: a removal changes the order.
    left.sort_unstable();
    assert_eq!(left, ["connection", "content-length", "host", "x-other"]);
}

#[test]
fn what_a_connection_named_first_stands_for_no_other_host() {
    let known = KnownHost::default();
    for (host, uri) in [
        ("a", Some("http://a/x")),
        ("a", Some("http://a/x")),
        ("b:81", Some("http://b:81/x")),
        ("a:81", Some("http://a:81/x")),
        ("A", Some("http://A/x")),
        ("u@a", None),
        ("a", Some("http://a/x")),
    ] {
        let mut request = request(Version::HTTP_11, "GET", "/x", &[("host", host)]);
        let checked =
            check(&mut request, 100, (&known, Scheme::HTTP)).map(|_| request.uri().to_string());
        assert_eq!(checked.ok().as_deref(), uri, "{host}");
    }
}

#[test]
fn old_clients_need_no_host() {
    let mut request = request(Version::HTTP_10, "GET", "/x", &[]);
    assert_eq!(check(&mut request, 100, (&KnownHost::default(), Scheme::HTTP)), Ok(Checked::Pass));
    assert_eq!(request.uri(), "http://localhost/x");
}

#[test]
fn in_http2_the_authority_may_stand_in_either_place_but_not_in_two_ways() {
    let check = |uri: &str, headers: &[(&str, &str)]| {
        let mut request = request(Version::HTTP_2, "GET", uri, headers);
        check(&mut request, 100, (&KnownHost::default(), Scheme::HTTP))
            .map(|_| request.uri().to_string())
    };
    assert_eq!(check("http://a/x", &[]).unwrap(), "http://a/x");
    assert_eq!(check("/x", &[("host", "a")]).unwrap(), "http://a/x");
    assert_eq!(check("https://a:443/x", &[("host", "a")]).unwrap(), "http://a/x");
    assert_eq!(check("https://a/x", &[("host", "a:443")]).unwrap(), "http://a:443/x");
    assert_eq!(check("http://a:/x", &[("host", "a:80")]).unwrap(), "http://a:80/x");
    assert_eq!(check("HTTPS://a/x", &[]).unwrap(), "http://a/x");
    for (uri, headers) in [
        ("http://a/x", &[("host", "b")][..]),
        ("http://a:443/x", &[("host", "a")]),
        ("https://a:80/x", &[("host", "a")]),
        ("http://u@a/x", &[]),
        ("http://a?x", &[]),
        ("http://a/\u{e9}", &[]),
        ("/x", &[]),
        ("http://a/", &[("x", " y")]),
        ("http://a/", &[("x", "y\t")]),
    ] {
        let refused = check(uri, headers);
        assert!(matches!(refused, Err(Failure::Malformed(_))), "{uri} {headers:?}: {refused:?}");
    }
}

#[test]
fn cookies_that_http2_sends_in_pieces_are_put_together() {
    let cookies = |version, crumbs: &[&str]| {
        let crumbs: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
        let mut request = request(version, "GET", "/", &[&crumbs, &[("host", "a")][..]].concat());
        // As many fields as a head may have, when they are together.
        assert_eq!(
            check(&mut request, 2, (&KnownHost::default(), Scheme::HTTP)),
            Ok(Checked::Pass)
        );
        let seen = request.headers().get_all(COOKIE).iter();
        seen.map(|cookie| cookie.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(cookies(Version::HTTP_2, &["a=1", "b=2", "c=\"3\""]), ["a=1; b=2; c=\"3\""]);
    assert_eq!(cookies(Version::HTTP_2, &["a=1; b=2"]), ["a=1; b=2"]);
    assert_eq!(cookies(Version::HTTP_2, &[]), [""; 0]);
    // HTTP/1 has one field (RFC 6265 §5.4): two are two, to whoever reads them.
    assert_eq!(cookies(Version::HTTP_11, &["a=1"]), ["a=1"]);
}

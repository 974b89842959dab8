//! The dashboard: who may open it, and what a real browser makes of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::support::app::{Folder, text};
use crate::support::browser::Browser;
use crate::support::prelude::*;
use crate::support::site::Site;
use crate::support::stop::Held;

/// Where the log says that it is shown.
#[track_caller]
fn address(host: &Host) -> SocketAddr {
    let line = host.wait_log("dashboard=");
    let (_, rest) = line.split_once("dashboard=").unwrap();
    rest.split([' ', ',']).next().unwrap().parse().expect("an address")
}

/// A phase as the page shows it.
fn phase(name: &str) -> String {
    format!("document.getElementById('phase').textContent === '{name}'")
}

/// Text somewhere in an element.
fn shows(id: &str, text: &str) -> String {
    format!("document.getElementById('{id}').textContent.includes('{text}')")
}

#[test]
fn the_dashboard_is_shown_on_loopback_where_it_is_asked_for_and_nowhere_else() {
    let host = Host::serve("hello_p2").control().args(["--dashboard-addr", "0"]).start();
    let address = address(&host);
    assert!(address.ip().is_loopback(), "{address}");
    let page = Conn::connect(address).unwrap().get("/").unwrap();
    assert_eq!(page.status(), 421, "the host of our requests is no name of this machine");
    let mut conn = Conn::connect(address).unwrap();
    conn.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(conn.read_head().unwrap().status, 200);
    // Not on the listener of clients.
    assert!(!host.get("/").text().contains("<html"));
}

#[test]
fn dashboard_at_an_address_of_clients_is_wrong_usage() {
    let exit = Host::run([
        "serve",
        text(&guest("hello_p2")),
        "--addr",
        "127.0.0.1:81",
        "--dashboard-addr",
        "81",
    ]);
    exit.expect_code(2).expect_last_line("dashboard-addr");
}

/// A tab that follows, and one that reads nothing.
#[test]
fn tabs_do_not_hold_up_a_stop() {
    let args = ["--dashboard-addr", "0", "--drain-timeout", "1h"];
    let host = Host::serve("hello_p2").control().args(args).start();
    let mut tabs = Vec::new();
    for _ in 0..2 {
        let mut conn = Conn::connect(address(&host)).unwrap();
        conn.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        assert_eq!(conn.read_head().unwrap().status, 200);
        tabs.push(conn);
    }
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    drop(tabs);
}

#[test]
fn a_browser_renders_the_dashboard_and_follows_a_swap_and_a_drain() {
    let Some(mut browser) = Browser::start() else { return };
    let host = Host::serve("gate_p2").control().args(["--dashboard-addr", "0"]).start();
    let held = Held::on(&host);
    (0..20).for_each(|_| assert_eq!(host.get("/").status(), 200));
    browser.open(&format!("http://{}/", address(&host)));
    browser.wait_until(&phase("ready"));
    browser.wait_until(&shows("components", "gate_p2"));
    browser.wait_until("document.getElementById('rate').textContent !== '-'");
    browser.wait_until("document.getElementById('flight').textContent === '1'");
    // It goes on by itself: a point of the plots, some seconds later.
    browser.wait_until("document.querySelectorAll('.plot').length === 4");
    browser.wait_until("document.querySelector('path.series').getAttribute('d').startsWith('M')");
    host.ctl(["swap", text(&guest("hello_p2"))]).expect_code(0);
    browser.wait_until("document.querySelectorAll('.mark[data-kind=swap]').length === 4");
    browser.wait_until(&shows("events", "swapped from generation 1 to 2"));
    browser.wait_until(&shows("generations", "previous"));
    host.ctl(["rollback"]).expect_code(0);
    browser.wait_until("document.querySelectorAll('.mark[data-kind=rollback]').length === 4");
    host.signal(Signal::TERM);
    browser.wait_until(&phase("draining"));
    browser.wait_until(&shows("notice", "1 exchange,"));
    drop(held.open());
    host.wait_exit().expect_code(0);
    browser.wait_until(&phase("stopped"));
    browser.wait_until(&shows("notice", "stopped in"));
    assert_eq!(browser.errors, Vec::<String>::new());
}

/// A page that was left open over a restart went on saying that its host had stopped.
#[test]
fn page_shows_the_next_host_at_its_address() {
    let Some(mut browser) = Browser::start() else { return };
    let host = Host::serve("hello_p2").control().args(["--dashboard-addr", "0"]).start();
    let address = address(&host);
    let at = ["--dashboard-addr".to_owned(), address.to_string()];
    browser.open(&format!("http://{address}/"));
    browser.wait_until(&phase("ready"));
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
    let shows = |browser: &mut Browser, host: &Host| {
        let wanted = format!("document.title === 'host {}: ready'", host.pid());
        let until = Instant::now() + PATIENCE;
        // It goes to another page meanwhile, on which nothing waits that was asked on the one before.
        while browser.evaluate(&wanted) != true {
            assert!(Instant::now() < until, "{}", browser.evaluate("document.title"));
            thread::sleep(Duration::from_millis(50));
        }
    };
    // One that says how it ends, and one that is killed.
    for signal in [Signal::TERM, Signal::KILL] {
        let host = Host::serve("hello_p2").control().args(at.clone()).start();
        shows(&mut browser, &host);
        host.signal(signal);
        host.wait_exit();
    }
}

#[test]
fn dashboard_that_others_can_reach_is_said_loudly() {
    let at = ["--dashboard-addr", "0.0.0.0:0"];
    let host = Host::serve("hello_p2").control().args(at).start();
    let line = host.wait_log("dashboard=");
    assert!(line.contains("WARN") && line.contains("has no password"), "{line}");
}

/// A component without a manifest goes by its file.
#[test]
fn what_operators_have_named_is_text_on_the_page_whatever_it_is() {
    let Some(mut browser) = Browser::start() else { return };
    let folder = Folder::new();
    let name = "<img src=x onerror='window.ran = 1'>\"&amp;";
    let file = folder.join(&format!("{name}.wasm"));
    fs::copy(guest("hello_p2"), &file).unwrap();
    let host = Host::serve(text(&file)).control().args(["--dashboard-addr", "0"]).start();
    assert_eq!(host.get("/").status(), 200);
    browser.open(&format!("http://{}/", address(&host)));
    let name = serde_json::to_string(name).unwrap();
    for id in ["components", "routes", "generations"] {
        browser
            .wait_until(&format!("document.getElementById('{id}').textContent.includes({name})"));
    }
    assert_eq!(browser.evaluate("document.images.length === 0 && window.ran === undefined"), true);
    assert_eq!(browser.errors, Vec::<String>::new());
    drop(host);
}

#[test]
fn the_page_asks_nobody_else_and_nothing_runs_on_it_but_its_own() {
    let Some(mut browser) = Browser::start() else { return };
    let host = Host::serve("hello_p2").control().args(["--dashboard-addr", "0"]).start();
    browser.open(&format!("http://{}/", address(&host)));
    browser.wait_until(&phase("ready"));
    let loaded = "performance.getEntriesByType('resource').map((it) => new URL(it.name).origin)
        .every((origin) => origin === location.origin)";
    assert_eq!(browser.evaluate(loaded), true);
    let styled = "getComputedStyle(document.querySelector('.card')).borderRadius !== '0px'";
    assert_eq!(browser.evaluate(styled), true, "its policy lets its own style in");
    let injected =
        "(() => { const it = document.createElement('script'); it.textContent = 'window.ran = 1';
        document.body.append(it); return window.ran === undefined; })()";
    assert_eq!(browser.evaluate(injected), true, "its policy lets another script in");
    for (scheme, dark) in [("light", false), ("dark", true)] {
        browser.prefer(scheme);
        let back = browser.evaluate("getComputedStyle(document.body).backgroundColor").to_string();
        assert_eq!(back.contains("(22, 23, 26"), dark, "{back}");
    }
    browser.resize(390, 844);
    let fits = "document.documentElement.scrollWidth <= innerWidth";
    assert_eq!(browser.evaluate(fits), true, "a phone has to scroll sideways");
    drop(host);
}

/// `make dashboard-picture` runs it, for six minutes: a shop behind a plugin, with waves of visitors, three new versions
/// of which one fails, and a rollback.
#[test]
#[ignore = "a picture for the README, not a promise"]
fn picture_of_the_dashboard() {
    let mut browser = Browser::start().expect("chromium is installed");
    let toml = "[component.auth]\nsource = \"guest:pass_p2\"\n\
                [component.shop]\nsource = \"shop.wasm\"\n\
                [[route]]\npath = \"/\"\ncomponent = \"shop\"\nchain = [\"auth\"]\n\
                [[route]]\npath = \"/free\"\ncomponent = \"shop\"\n";
    let site = Site::with(toml, &[("shop.wasm", "version_a_p2")]);
    let host = site.serve().control().args(["--dashboard-addr", "0"]).start();
    browser.resize(1100, 960);
    browser.open(&format!("http://{}/", address(&host)));
    browser.wait_until(&phase("ready"));
    // A point of the plots is of five seconds.
    let points = "typeof state === 'object' && state.history ? state.history.all.length : 0";
    for (until, then) in
        [(18, Some("version_b_p2")), (36, Some("trap_p2")), (37, None), (54, Some("version_b_p3"))]
    {
        visit(&mut browser, &host, points, until);
        match then {
            Some(name) => host.ctl(["swap", "--component", "shop", text(&guest(name))]),
            None => host.ctl(["rollback", "--component", "shop"]),
        }
        .expect_code(0);
    }
    visit(&mut browser, &host, points, 72);
    browser.wait_until("document.querySelectorAll('.mark[data-kind=swap]').length === 12");
    let path = env::var_os("HOST_DASHBOARD_PICTURE").expect("the path of a PNG");
    fs::write(path, browser.picture()).unwrap();
}

/// Visitors in waves, until the page has so many points.
fn visit(browser: &mut Browser, host: &Host, points: &str, until: u64) {
    loop {
        let point = browser.evaluate(points).as_u64().expect("a number");
        if point >= until {
            return;
        }
        let wave = (point % 36).min(36 - point % 36);
        for visitor in 0..5 + 5 * wave {
            host.get(if visitor % 4 == 0 { "/free" } else { "/" });
        }
    }
}

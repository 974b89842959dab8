//! Buckets in a Redis server: Debian's, where it is installed.

use crate::keyvalue::{expect_exact_increments, expect_operations, expect_walls, kv, three};
use crate::support::prelude::*;
use crate::support::redis::{Fake, Redis};

fn over(redis: &Redis) -> crate::support::site::Site {
    three(&format!("backend = \"redis\"\nurl = \"{}\"", redis.url()))
}

#[test]
fn operations_on_redis_do_what_the_draft_says() {
    let Some(redis) = Redis::start() else { return };
    expect_operations(&over(&redis).serve().start());
}

#[test]
fn buckets_on_redis_are_seen_only_where_they_are_granted() {
    let Some(redis) = Redis::start() else { return };
    expect_walls(&over(&redis).serve().start());
    let mut keys: Vec<_> = redis.cli(&["keys", "*"]).lines().map(str::to_owned).collect();
    keys.sort();
    assert_eq!(keys, ["host:own:a:own", "host:own:b:own", "host:shared:both"]);
}

#[test]
fn increments_on_redis_are_exact_over_two_hosts_too() {
    let Some(redis) = Redis::start() else { return };
    let site = over(&redis);
    let (one, two) = (site.serve().start(), site.serve().start());
    expect_exact_increments(&one);
    assert_eq!(kv(&two, "b", "incr?bucket=ours&key=sum"), "201\n");
}

#[test]
fn redis_keeps_what_it_was_given_over_a_restart_of_the_host() {
    let Some(redis) = Redis::start() else { return };
    let site = over(&redis);
    let host = site.serve().start();
    assert_eq!(kv(&host, "a", "set?bucket=own&key=k&value=v"), "set\n");
    host.signal(Signal::KILL);
    host.wait_exit().expect_code(-9);
    assert_eq!(kv(&site.serve().start(), "a", "get?bucket=own&key=k"), "v\n");
}

#[test]
fn server_that_is_down_fails_the_operation_and_nothing_else() {
    let Some(mut redis) = Redis::start() else { return };
    let site = over(&redis);
    redis.kill();
    let host = site.serve().start();
    let down = "error: other: the store is not available\n";
    assert_eq!(kv(&host, "a", "set?bucket=own&key=k&value=v"), down);
    assert_eq!(host.get("/c/env").status(), 200);
    redis.restart();
    assert_eq!(kv(&host, "a", "set?bucket=own&key=k&value=v"), "set\n");
    redis.kill();
    assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), down);
    redis.restart();
    assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), "none\n", "it kept nothing");
    host.signal(Signal::TERM);
    host.wait_exit().expect_code(0);
}

/// A server restarts; a reconnect meets `-LOADING`. That was kept for ever: every operation failed while
/// the server was well, a reload of the same file said `unchanged`, and no status said why.
#[test]
fn server_that_refuses_is_asked_again_and_its_reason_shown() {
    for refusal in
        ["LOADING Redis is loading the dataset in memory", "NOAUTH Authentication required."]
    {
        let redis = Fake::start();
        let site = three(&format!("backend = \"redis\"\nurl = \"{}\"", redis.url()));
        let host = site.serve().control().start();
        assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), "none\n");
        redis.refuse(Some(refusal));
        let down = "error: other: the store is not available\n";
        // The first one may find out that the connection has gone.
        for _ in 0..2 {
            assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), down);
        }
        let status = host.ctl(["status"]);
        status.expect_code(0);
        let line = status.stdout.lines().find(|line| line.starts_with("store fails"));
        let line = line.unwrap_or_else(|| panic!("{}", status.stdout));
        let (_, reason) = refusal.split_once(' ').unwrap();
        assert!(line.contains(reason) && line.contains(&redis.url()), "{line}");
        redis.refuse(None);
        assert_eq!(kv(&host, "a", "get?bucket=own&key=k"), "none\n");
        assert!(!host.ctl(["status"]).stdout.contains("store fails"));
    }
}

#[test]
fn password_of_a_server_is_not_in_the_log() {
    let site = three("backend = \"redis\"\nurl = \"redis://:s3cr3t@127.0.0.1:1/0\"");
    let host = site.serve().start();
    let told = kv(&host, "a", "get?bucket=own&key=k");
    assert_eq!(told, "error: other: the store is not available\n");
    host.signal(Signal::TERM);
    let exit = host.wait_exit();
    exit.expect_code(0);
    assert!(!exit.stderr.contains("s3cr3t"), "{}", exit.stderr);
}

//! End-to-end tests: the real binary serves real guests, and clients look at it from outside.
//!
//! One target, so that the harness is compiled once. A file here is a subject, a test's name is
//! a promise. How to write one: the head of `support/mod.rs`.

#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a test crate has no outside: `pub` here means: for the tests"
)]
#![allow(
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    reason = "a test crate panics to fail, prints what it found, and lives on the real clock"
)]

mod access_log;
mod access_log_files;
mod accounting;
mod addresses;
mod blame;
mod bodies;
mod budget;
mod bulkheads;
mod bundles;
mod cache;
mod canary;
mod canary_load;
mod canary_reload;
mod canary_slow;
mod canary_sticky;
mod chain_bodies;
mod chain_failures;
mod chain_limits;
mod chain_swap;
mod chain_time;
mod chains;
mod changes;
mod check;
mod circles;
mod cli;
mod client_bounds;
mod clients;
mod compiling;
mod compression;
mod container;
mod control;
mod dashboard;
mod deploy;
mod dev;
mod drain_test;
mod edge;
mod edge_h2;
mod egress;
mod example_config;
mod example_cors;
mod example_ipallow;
mod example_jwt;
mod example_jwt_fetched;
mod example_proxy;
mod example_rewrite;
mod example_validate;
mod examples;
mod exit;
mod file_size;
mod flags_refused;
mod floods_h1;
mod floods_h2;
mod floods_held;
mod follow;
mod fronts;
mod gone;
mod grant_flags;
mod grants;
mod grants_files;
mod grants_network;
mod grants_tls;
mod guest_log;
mod guests;
mod hardening;
mod harness;
mod held_uploads;
mod hooks;
mod host_log;
mod hostile;
mod hostile_load;
mod hostile_wire;
mod idle;
mod init;
mod instances;
mod keyvalue;
mod keyvalue_ctl;
mod keyvalue_extra;
mod keyvalue_redis;
mod kubernetes;
mod leftovers;
mod limits;
mod limits_named;
mod limits_refused;
mod llhttp;
mod loss;
mod manifest;
mod manifest_limits;
mod manifest_look;
mod manifest_refused;
mod metrics;
mod metrics_code;
mod metrics_connections;
mod new;
mod outgoing_bodies;
mod outputs;
mod packaging;
mod pages;
mod peers;
mod prefault;
mod profiles;
mod proxy_protocol;
mod rate_limits;
mod registry;
mod reload;
mod reload_flight;
mod reload_load;
mod request_id;
mod retirement;
mod reuse;
mod reuse_end;
mod rolling;
mod route_configs;
mod route_headers;
mod runs_out;
mod runs_out_room;
mod sandbox;
mod secrets;
mod serving;
mod shares;
mod signals;
mod slow_bodies;
mod snapshot;
mod stopped;
mod stopping;
mod stopping_cut;
mod support;
mod swap;
mod swap_load;
mod swap_refused;
mod systemd;
mod systemd_real;
mod systemd_sockets;
mod tenants;
mod terminal;
mod tls;
mod tls_reload;
mod tls_stop;
mod top;
mod traces;
mod traps;
mod truth;
mod unprivileged;
mod unshim;
mod upgrade;
mod upgrade_kill;
mod upgrade_load;
mod upgrade_midway;
mod upgrade_refused;
mod upgrade_stop;
mod views;
mod watch;
mod windows_door;
mod windows_h1;
mod windows_h1_close;
mod windows_h2;
mod windows_h2_begin;
mod windows_queue;

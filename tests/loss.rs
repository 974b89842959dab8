//! The claim: a stop loses no request, of any client.
//!
//! Each test stops a fresh host twenty times under 64 busy clients that never retry.
//! `HOST_SOAK_STOPS` makes it as many as wanted: `make soak` shares out a thousand.

use crate::support::prelude::*;

const CLIENTS: usize = 64;

#[track_caller]
fn lose_nothing(guest: &str, mode: Mode) {
    stop_under_load(guest, (mode, Over::Plain), CLIENTS, stops_per_test()).assert_nothing_lost();
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h1_kept_p2() {
    lose_nothing("sleep_p2", Mode::H1Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h1_kept_p3() {
    lose_nothing("sleep_p3", Mode::H1Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h1_fresh_p2() {
    lose_nothing("sleep_p2", Mode::H1Fresh);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h1_fresh_p3() {
    lose_nothing("sleep_p3", Mode::H1Fresh);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h2_kept_p2() {
    lose_nothing("sleep_p2", Mode::H2Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h2_kept_p3() {
    lose_nothing("sleep_p3", Mode::H2Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h2_fresh_p2() {
    lose_nothing("sleep_p2", Mode::H2Fresh);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_h2_fresh_p3() {
    lose_nothing("sleep_p3", Mode::H2Fresh);
}

#[track_caller]
fn lose_nothing_over_tls(guest: &str, mode: Mode) {
    stop_under_load(guest, (mode, Over::Tls), CLIENTS, stops_per_test()).assert_nothing_lost();
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_over_tls_h1_kept() {
    lose_nothing_over_tls("sleep_p2", Mode::H1Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_over_tls_h1_fresh() {
    lose_nothing_over_tls("sleep_p3", Mode::H1Fresh);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_over_tls_h2_kept() {
    lose_nothing_over_tls("sleep_p2", Mode::H2Kept);
}

#[test]
fn sixty_four_strict_clients_lose_nothing_over_twenty_stops_over_tls_h2_fresh() {
    lose_nothing_over_tls("sleep_p3", Mode::H2Fresh);
}

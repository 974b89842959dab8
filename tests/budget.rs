//! A request costs what its row of `budget.md` says: counted, so it holds on a busy machine too.
//!
//! `make budget` prints what each kind costs now, and where. After a change that makes requests cheaper,
//! lower the table: `make budget` ends with its rows. Where this process may not trace another, the test says
//! `nothing counted`.

use std::env;

use crate::support::budget::{Budget, Kind, Report, guests_are_of_the_table, measure, row};

#[track_caller]
fn expect_within_budget(name: &str) {
    let lines = env::var("HOST_BUDGET_FUNCTIONS").ok();
    let lines = lines.map_or(0, |lines| lines.parse().expect("HOST_BUDGET_FUNCTIONS: a number"));
    match measure(Kind::named(name), lines) {
        Ok(report) => {
            println!("{name}\n{}{}", report.details, row(name, &report));
            let exact = guests_are_of_the_table();
            if !exact {
                println!("guests of another compiler: they may cost less than the table says");
            }
            let differs = Budget::of(name).compare(&report, exact);
            assert!(differs.is_empty(), "tests/budget.md, {name}:\n{differs}");
        }
        Err(why) => println!("{name}: nothing counted, because {why}"),
    }
}

#[test]
fn fresh_p2_request_is_within_its_budget() {
    expect_within_budget("0.2, fresh");
}

#[test]
fn fresh_p3_request_is_within_its_budget() {
    expect_within_budget("0.3, fresh");
}

#[test]
fn reused_p2_request_is_within_its_budget() {
    expect_within_budget("0.2, reused");
}

#[test]
fn reused_p3_request_is_within_its_budget() {
    expect_within_budget("0.3, reused");
}

#[test]
fn p2_request_through_a_plugin_is_within_its_budget() {
    expect_within_budget("0.2, a plugin");
}

#[test]
fn p3_request_through_a_plugin_is_within_its_budget() {
    expect_within_budget("0.3, a plugin");
}

/// The control: a table that nothing can break would prove nothing.
#[test]
fn figure_that_is_not_of_the_table_is_named() {
    let name = "0.2, fresh";
    let report = |change: f64| Report {
        figures: Budget::of(name).figures().map(|figure| Some(figure * change)),
        details: String::new(),
    };
    let compare = |change| Budget::of(name).compare(&report(change), true);
    assert_eq!(compare(1.0), "");
    assert!(compare(1.03).contains("user instructions: "), "{}", compare(1.03));
    assert!(compare(1.03).contains("(+3.0 %)"), "{}", compare(1.03));
    assert_eq!(compare(0.97), "");
    assert!(compare(0.9).contains("lower the table"), "{}", compare(0.9));
    assert_eq!(Budget::of(name).compare(&report(0.9), false), "");
}

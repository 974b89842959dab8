use super::*;
use crate::sources::tests::sources;

/// The files of each circle of the crate `a`.
fn files_in_circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let sources = sources(files);
    let root = sources.crate_roots().next().expect("the test has a crate");
    let tree = ModuleTree::read(&sources, root).expect("all modules have files");
    let circles = strongly_connected(&uses(&tree));
    let name = |path: &&Path| path.display().to_string().replace("a/src/", "");
    circles.iter().map(|circle| circle.iter().map(name).collect()).collect()
}

#[test]
fn planted_circle_is_found_and_told_with_its_names() {
    let found = circles(&sources(&[
        ("a/src/lib.rs", "mod door; mod room; mod apart;"),
        ("a/src/door.rs", "use crate::room::Room; pub struct Door(Room);"),
        ("a/src/room.rs", "pub struct Room; fn leave(by: &super::door::Door) {}"),
        ("a/src/apart.rs", "use crate::door::Door; use crate::room::Room;"),
    ]));
    assert_eq!(
        found.expect("it is read"),
        ["2 files use each other in a circle:\n    \
          a/src/door.rs -> a/src/room.rs: Room\n    \
          a/src/room.rs -> a/src/door.rs: Door"]
    );
}

#[test]
fn circle_through_a_third_file_is_found() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod one; mod two; mod three;"),
        ("a/src/one.rs", "pub struct One(crate::two::Two);"),
        ("a/src/two.rs", "pub struct Two(Box<dyn Fn(crate::three::Three)>);"),
        ("a/src/three.rs", "pub struct Three; fn one() -> Option<crate::one::One> { None }"),
    ]);
    assert_eq!(found, [["one.rs", "three.rs", "two.rs"]]);
}

#[test]
fn circle_is_found_however_the_path_is_written() {
    let ways = [
        "use super::b::{self}; fn f() { b::g() }",
        "use super::b; fn f() { b::g() }",
        "use super::b as other; fn f() { other::g() }",
        "use super::*; fn f() { b::g() }",
        "use super::b::*; fn f() { g() }",
        "use super::g; fn f() {}",
        "use crate::g as other;",
        "fn f() { use super::b::g; g() }",
        "fn f() { crate::b::g() }",
        "fn f() { assert!(true, \"{}\", super::b::g()); }",
        "fn f() { select! { _ = self.b => { crate::g() } } }",
        "mod inner { fn f() { super::super::b::g() } }",
        "impl super::b::T for u8 {}",
        "fn f<X: super::b::T>() {}",
        "fn f() { match 1 { super::b::C => {} _ => {} } }",
    ];
    for way in ways {
        let found = files_in_circles(&[
            ("a/src/lib.rs", "mod a; mod b; pub use b::g;"),
            ("a/src/a.rs", &format!("{way} pub struct A;")),
            (
                "a/src/b.rs",
                "pub fn g() {} pub trait T {} pub const C: u8 = 1; struct B(super::a::A);",
            ),
        ]);
        assert_eq!(found, [["a.rs", "b.rs"]], "{way}");
    }
}

#[test]
fn module_that_only_declares_and_reexports_is_in_no_circle() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod room;"),
        ("a/src/room/mod.rs", "mod door; mod wall; pub use door::Door; pub(super) use wall::Wall;"),
        ("a/src/room/door.rs", "pub struct Door(super::Wall);"),
        ("a/src/room/wall.rs", "use super::wall; pub struct Wall;"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn module_that_defines_what_its_children_use_and_uses_them_is_in_a_circle() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod room;"),
        ("a/src/room/mod.rs", "mod door; pub use door::Door; pub struct Wall(Door);"),
        ("a/src/room/door.rs", "pub struct Door; fn wall() -> Option<super::Wall> { None }"),
    ]);
    assert_eq!(found, [["room/door.rs", "room/mod.rs"]]);
}

#[test]
fn what_only_tests_use_makes_no_circle() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod door; mod room;"),
        ("a/src/door.rs", "pub struct Door(crate::room::Room);"),
        (
            "a/src/room.rs",
            "pub struct Room;
             #[cfg(test)] use crate::door::Door;
             #[cfg(test)] impl Room { fn door() -> Option<Door> { None } }
             impl Room { #[cfg(test)] fn door() -> Option<crate::door::Door> { None } }
             #[cfg(all(test, unix))] mod tests { use crate::door::Door; }
             #[cfg(test)] #[path = \"nowhere.rs\"] mod more_tests;",
        ),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn what_a_macro_makes_in_a_module_counts_for_its_file() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod user; mod bindings;"),
        ("a/src/user.rs", "pub struct User(crate::bindings::exports::Guest);"),
        (
            "a/src/bindings.rs",
            "bindgen!({ path: \"wit\" }); fn user() -> Option<super::user::User> { None }",
        ),
    ]);
    assert_eq!(found, [["bindings.rs", "user.rs"]]);
}

#[test]
fn file_with_a_path_of_its_own_is_found() {
    let found = files_in_circles(&[
        ("a/src/lib.rs", "mod user; #[path = \"../other/place.rs\"] mod place;"),
        ("a/src/user.rs", "pub struct User(crate::place::Place);"),
        ("a/other/place.rs", "pub struct Place; fn user(user: &super::user::User) {}"),
    ]);
    assert_eq!(found, [["a/other/place.rs", "user.rs"]]);
}

#[test]
fn module_without_a_file_is_an_error() {
    let why = circles(&sources(&[("a/src/lib.rs", "mod gone;")])).expect_err("it is missing");
    assert_eq!(why, "a/src/lib.rs: no file for mod gone");
}

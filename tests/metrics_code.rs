//! What `/metrics` tells of the code of components: where it came from, and what compiling it took.

use crate::support::app::{App, Folder, expect_swapped, reload, slower, text, variant};
use crate::support::metrics::{self, Metrics};

/// Loads from the cache and by the compiler, and how many compiles were timed.
fn loads(told: &Metrics) -> [f64; 3] {
    let from = |source| told.sum("host_code_loads_total", &[("source", source)]);
    [from("cache"), from("compiler"), told.sum("host_compile_seconds_count", &[])]
}

#[test]
fn compiles_are_counted_with_their_time_and_memory_and_so_is_what_the_cache_had() {
    let (folder, app) = (Folder::new(), App::new("version_a_p2"));
    let cache = folder.join("cache");
    let serve = || app.serve().args(metrics::ARGS).args(["--cache-dir", text(&cache)]);
    let host = serve().control().start();
    let first = Metrics::of(&host);
    assert_eq!(loads(&first), [0.0, 1.0, 1.0]);
    assert_eq!(first.values("host_code_loads_total", "host_component"), ["app"]);
    let time = |told: &Metrics| told.sum("host_compile_seconds_sum", &[]);
    let memory = |told: &Metrics| told.sum("host_compile_memory_peak_bytes", &[]);
    assert!(time(&first) > 0.0, "{first:?}");
    // More than an empty process, and less than the limit.
    assert!((8e6..1e9).contains(&memory(&first)), "{first:?}");
    app.put("version_b_p2");
    expect_swapped(&reload(&host));
    let second = Metrics::of(&host);
    assert_eq!(loads(&second), [0.0, 2.0, 2.0]);
    assert!(time(&second) > time(&first), "{second:?}");
    drop(host);
    let host = serve().start();
    let third = Metrics::of(&host);
    assert_eq!(loads(&third), [1.0, 0.0, 0.0]);
    assert_eq!((time(&third), memory(&third)), (0.0, 0.0), "nothing was compiled");
}

/// Each is the compiler's own: that of a large component before it does not count.
#[test]
fn memory_of_a_compile_is_that_of_its_own_process() {
    let app = App::new("hello_p2");
    let host = app.serve().args(metrics::ARGS).args(["--no-cache"]).control().start();
    let mut memory_of = |component: Vec<u8>| {
        app.put_bytes(&component);
        expect_swapped(&reload(&host));
        Metrics::of(&host).sum("host_compile_memory_peak_bytes", &[])
    };
    let [small, large, again] =
        [variant("hello_p2", 1), slower("hello_p2"), variant("hello_p2", 2)].map(&mut memory_of);
    assert!(large > small && large > again, "{small} {large} {again}");
}

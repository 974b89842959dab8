//! What plugins call. A component imports of this only what it calls.

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package example:kit;
        world kit {
            include host:plugin/next@0.1.0;
            include host:plugin/stores@0.1.0;
        }
    ",
    world: "example:kit/kit",
    generate_all,
    with: {
        "wasi:clocks/types@0.3.0": wasip3::clocks::types,
        "wasi:http/types@0.3.0": wasip3::http::types,
    },
});

//! Which requests share an instance: none, unless the operator says otherwise.

use crate::support::prelude::*;

#[test]
fn requests_of_one_connection_have_instances_of_their_own() {
    for guest in ["counter_p2", "counter_p3"] {
        let host = Host::serve(guest).start();
        let mut conn = host.connect();
        let answers = ["/", "/"].map(|path| conn.get(path).unwrap().text());
        assert!(answers.iter().all(|text| text.ends_with(" requests=1\n")), "{answers:?}");
        assert_ne!(answers[0], answers[1], "{guest}");
    }
}

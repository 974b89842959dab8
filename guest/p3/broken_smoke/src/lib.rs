//! Answers 500 to everything.
//! Learnt from it: a smoke request refuses a component that loads well and serves badly.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(_: Request) -> Answer {
    let response = kit::answer("broken\n")?;
    response.set_status_code(500).expect("a valid status");
    Ok(response)
}

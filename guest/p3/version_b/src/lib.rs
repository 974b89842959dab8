//! The same component as `version_a` but for its letter, `b`. `/gate` waits within the body.
//! Learnt from it: which version answered, and that one answer is of one version to its end.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::version::answer("b", request)
}

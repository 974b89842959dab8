//! The same component as `version_b` but for its letter, `a`. `/gate` waits within the body.
//! Learnt from it: which version answered, and that one answer is of one version to its end.

use kit::{Answer, Request};

kit::serve!(handle);

async fn handle(request: Request) -> Answer {
    kit::version::answer("a", request)
}

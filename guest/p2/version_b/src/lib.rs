//! The same component as `version_a` but for its letter, `b`. `/gate` waits within the body.
//! Learnt from it: which version answered, and that one answer is of one version to its end.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    kit::version::answer("b", request, reply)
}

//! The same component as `version_b` but for its letter, `a`. `/gate` waits within the body.
//! Learnt from it: which version answered, and that one answer is of one version to its end.

use kit::{Done, Reply, Request};

kit::serve!(handle);

fn handle(request: Request, reply: Reply) -> Done {
    kit::version::answer("a", request, reply)
}

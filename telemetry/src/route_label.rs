//! Routes, as metrics and logs name them.

/// The number of a route among all that there ever were in this process.
pub type RouteId = u32;

/// A route, as metrics and logs name it. Operators write routes, and clients cannot make one. Kept for the life of
/// the process, as are the series that are counted by it, so requests pass it on without counting handles.
#[derive(Debug, PartialEq, Eq)]
pub struct RouteLabel {
    /// Its number.
    pub id: RouteId,
    /// Its pattern, as the manifest has it.
    pub pattern: Box<str>,
    /// The component at its end.
    pub component: &'static str,
}

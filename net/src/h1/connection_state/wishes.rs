//! What the process asks of a connection.

use super::ConnectionState;

impl ConnectionState {
    /// The drain has begun.
    pub(in crate::h1) fn drain(&mut self) {
        self.drain.get_or_insert(self.now);
    }

    /// The stop cuts.
    pub(in crate::h1) fn cut(&mut self) {
        self.cut.get_or_insert(self.now);
    }

    /// A newcomer wants the place of this connection: it ends if it is idle. Gives whether it is.
    pub(in crate::h1) fn make_room(&mut self) -> bool {
        self.unwanted = self.is_idle();
        self.unwanted
    }

    /// Takes note of whether another process goes on with the connection once it is idle.
    #[inline]
    pub(in crate::h1) fn set_goes_over(&mut self, yes: bool) {
        self.goes_over = yes;
    }

    /// Whether nothing is owed and nothing has begun.
    pub(super) fn is_idle(&self) -> bool {
        !self.owes() && self.reader.is_before_head() && !self.head_is_here()
    }
}

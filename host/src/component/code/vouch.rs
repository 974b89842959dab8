//! Who says that a file may be loaded.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Says whether a file with these bytes may be loaded; else why not, in one line. Of a bundle, whose code will run,
/// only a key can say so. Blocks for a moment.
#[derive(Clone)]
pub struct VouchForFile(Arc<Vouch>);

type Vouch = dyn Fn(&Path, &[u8], bool) -> Result<(), String> + Send + Sync;

impl VouchForFile {
    /// By this function.
    pub fn new(
        vouch: impl Fn(&Path, &[u8], bool) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(vouch))
    }

    pub(crate) fn check(&self, path: &Path, bytes: &[u8], is_bundle: bool) -> Result<(), String> {
        (self.0)(path, bytes, is_bundle)
    }
}

impl fmt::Debug for VouchForFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VouchForFile")
    }
}

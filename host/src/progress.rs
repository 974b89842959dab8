//! A compile that takes longer than a second is said: by a line, and on a terminal by one that tells the
//! time taken until it is over.

use std::io::{self, Write as _};

use tracing::info;

use crate::component::Compiling;
use host_log::{Stderr, outlet, terminal};

use crate::size;

/// For a process that has a log.
pub(crate) fn log(compiling: Compiling<'_>) {
    if compiling.first {
        info!("{}", sentence(compiling));
    }
    draw(compiling);
}

/// For one that has none. What it prints next comes behind [`cleared`].
pub(crate) fn say(compiling: Compiling<'_>) {
    if terminal::takes_commands(io::stderr()) {
        draw(compiling);
    } else if compiling.first {
        drop(writeln!(outlet::stderr(), "{}", sentence(compiling)));
    }
}

/// Returns when no line of ours is in the way on the terminal, or it is held.
pub(crate) async fn cleared() {
    if let Some(terminal) = Stderr::terminal() {
        terminal.clear().await;
    }
}

/// Over the line that it drew before; at the end there is none.
fn draw(compiling: Compiling<'_>) {
    let Some(terminal) = Stderr::terminal() else { return };
    terminal.draw(if compiling.goes_on {
        format!("{}: {}s", sentence(compiling), compiling.since.as_secs())
    } else {
        String::new()
    });
}

fn sentence(Compiling { path, bytes, .. }: Compiling<'_>) -> String {
    format!("compiling {} ({})", path.display(), size::rounded(bytes))
}

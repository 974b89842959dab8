//! What guests of both kinds share: nothing here knows WASI.

use std::fmt::Debug;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::slice;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

mod scatter;
mod warm;

pub use scatter::scatter;
pub use warm::{warm_line, warm_up};

/// A path with its query, taken as it stands: nothing is percent-decoded.
#[derive(Debug)]
pub struct Target(String);

impl Target {
    pub fn new(path_with_query: Option<String>) -> Self {
        Self(path_with_query.unwrap_or_default())
    }

    pub fn path(&self) -> &str {
        self.0.split('?').next().unwrap_or_default()
    }

    /// The value of the first `key=value` in the query.
    pub fn text(&self, key: &str) -> Option<&str> {
        let (_, query) = self.0.split_once('?')?;
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    }

    /// The number in the query, or `default` where there is none.
    pub fn number(&self, key: &str, default: u64) -> u64 {
        self.text(key).and_then(|text| text.parse().ok()).unwrap_or(default)
    }
}

/// The name of an enum's case as WIT writes it: `ErrorCode::HttpRequestDenied` is `http-request-denied`.
pub fn case(value: impl Debug) -> String {
    let debug = format!("{value:?}");
    // What a case carries comes behind a bracket, and may have any text in it.
    let path = debug.split(['(', ' ']).next().unwrap_or_default();
    let variant = path.rsplit_once("::").map_or(path, |(_, variant)| variant);
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// Of preopens with their guest paths the one with the longest that `path` lies in, and what of `path` is
/// left. Nothing of it is tidied up: that the rest stays within the preopen is the host's part.
pub fn best<D>(mut preopens: Vec<(D, String)>, path: &str) -> Option<(D, &str)> {
    let within = |at: &str| {
        let rest = path.strip_prefix(at.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
    };
    preopens.retain(|(_, at)| within(at).is_some());
    let (directory, at) = preopens.into_iter().max_by_key(|(_, at)| at.len())?;
    Some((directory, within(&at)?))
}

/// Never ends and never calls the host, so that only the host's own clock can stop it.
pub fn spin() -> ! {
    loop {
        black_box(());
    }
}

/// The four numbers of an IPv4 address.
pub fn octets(ip: &str) -> [u8; 4] {
    ip.parse::<Ipv4Addr>().expect("an IPv4 address").octets()
}

/// `allowed`, `denied`, or what else stood in the way.
pub fn outcome<T>(tried: Result<T, String>) -> String {
    match tried {
        Ok(_) => "allowed".into(),
        Err(name) if name.ends_with("denied") => "denied".into(),
        Err(name) => name,
    }
}

/// What `host:lifecycle/control` says of an instance, on a line that a test can read.
pub fn life(draining: bool, deadline: Option<u64>) -> String {
    let deadline = deadline.map_or_else(|| "none".into(), |left| left.to_string());
    format!("draining={draining} deadline={deadline}")
}

/// Takes memory and touches each page of it, MiB by MiB. The error is how many there were.
pub fn eat(mib: u64) -> Result<(), u64> {
    const MIB: usize = 1 << 20;
    let mut eaten = Vec::new();
    for at in 0..mib {
        let mut bite = Vec::<u8>::new();
        bite.try_reserve_exact(MIB).map_err(|_| at)?;
        for page in bite.spare_capacity_mut().chunks_mut(4096) {
            page[0].write(1);
        }
        eaten.push(black_box(bite));
    }
    Ok(())
}

static DIRTY: [AtomicU8; 256 << 10] = [const { AtomicU8::new(0) }; 256 << 10];
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Looks for what earlier requests left in memory, then leaves `secret` in all of it.
pub fn leak(secret: &str) -> String {
    let dirty = DIRTY.iter().filter(|byte| byte.load(Relaxed) != 0).count();
    let count = COUNT.fetch_add(1, Relaxed) + 1;
    for (place, byte) in DIRTY.iter().zip(secret.bytes().cycle()) {
        place.store(byte, Relaxed);
    }
    black_box(secret.bytes().cycle().take(2 << 20).collect::<Vec<_>>());
    let found = match grow(64) {
        Some(pages) => {
            let found =
                pages.chunks(PAGE).filter(|page| page.iter().any(|byte| *byte != 0)).count();
            for (place, byte) in pages.iter_mut().zip(secret.bytes().cycle()) {
                *place = byte;
            }
            black_box(pages);
            found.to_string()
        }
        None => "refused".into(),
    };
    format!("dirty: {dirty}\ncount: {count}\nfound: {found}\n")
}

const PAGE: usize = 64 << 10;

/// Memory straight from the host. An allocator might clear it, and so hide what was in it.
fn grow(pages: usize) -> Option<&'static mut [u8]> {
    let start = core::arch::wasm32::memory_grow::<0>(pages);
    // SAFETY: these pages are new, so nobody else has them, and wasm gives all bytes a value.
    (start != usize::MAX)
        .then(|| unsafe { slice::from_raw_parts_mut((start * PAGE) as *mut u8, pages * PAGE) })
}

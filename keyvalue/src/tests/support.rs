//! Stores to test with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use host_manifest::{Space, Store};

use crate::{Bucket, Buckets, Stores};

/// Room for whatever a test does not count.
pub(crate) const ROOM: u64 = 64 << 20;

/// A folder that is gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("host-keyvalue-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The bucket `name` of a component.
pub(crate) fn own(component: &str, name: &str) -> Space {
    Space::Own(component.into(), name.to_owned())
}

/// Opens spaces of one store, under their numbers.
pub(crate) fn open(stores: &Stores, store: &Store, spaces: &[Space], limit: u64) -> Buckets {
    let named = spaces.iter().enumerate().map(|(number, space)| {
        let bucket = host_manifest::Bucket { store: store.clone(), space: space.clone() };
        (number.to_string(), bucket)
    });
    stores.open(&named.collect::<BTreeMap<_, _>>(), limit).unwrap()
}

/// Opens one bucket of a component of its own.
pub(crate) fn one(stores: &Stores, store: &Store, limit: u64) -> Bucket {
    open(stores, store, &[own("app", "data")], limit).get("0").unwrap()
}

pub(crate) fn memory() -> Store {
    Store::Memory("test".to_owned())
}

/// Stores of each kind, for what holds for all of them.
pub(crate) struct Kinds {
    pub(crate) stores: Vec<Store>,
    _folder: Folder,
}

impl Kinds {
    pub(crate) fn new() -> Self {
        let folder = Folder::new();
        let stores = vec![memory(), Store::Disk(folder.path().join("data.redb"))];
        Self { stores, _folder: folder }
    }
}

pub(crate) fn keys<const N: usize>(keys: [&str; N]) -> Vec<String> {
    keys.map(str::to_owned).to_vec()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

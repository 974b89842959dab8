use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_socket_has_its_mode_from_the_first_moment() {
    let path = std::env::temp_dir().join(format!("host-mode-{}.sock", std::process::id()));
    let (_socket, owned) = bind(&path, Some(Mode::RUSR | Mode::WUSR)).unwrap();
    let mode = fs::metadata(owned.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A folder of one test's own, removed with what is in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("host-unix-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = fs::read_dir(&self.0).unwrap().map(|entry| name(entry).into_string().unwrap());
        names.collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The first host had bound its path and still compiled; the second took it for dead, removed it,
/// and both said that they were ready.
#[test]
fn a_path_that_is_bound_and_does_not_listen_yet_is_taken() {
    let folder = Folder::new("bound");
    let path = folder.0.join("a.sock");
    let (socket, owned) = bind(&path, None).unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::Taken)));
    socket.listen(1).unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::Taken)));
    drop((socket, owned));
    assert!(folder.names().is_empty(), "{:?}", folder.names());
    bind(&path, None).unwrap();
}

/// As after a kill -9: the kernel has closed the socket and let go of the lock.
#[test]
fn what_a_dead_process_left_is_taken_over() {
    let folder = Folder::new("dead");
    let path = folder.0.join("a.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    fs::write(folder.0.join("a.sock.lock"), "").unwrap();
    let (_socket, successor) = bind(&path, None).unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::Taken)));
    drop(successor);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

/// Somebody has removed the path of a process that lives: it cannot be reached any more, and who
/// comes next may have the path.
#[test]
fn a_path_that_was_removed_is_free_and_stays_its_successors() {
    let folder = Folder::new("removed");
    let path = folder.0.join("a.sock");
    let (_old, owned) = bind(&path, None).unwrap();
    fs::remove_file(&path).unwrap();
    let (_new, successor) = bind(&path, None).unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::Taken)));
    drop(owned);
    assert_eq!(folder.names(), ["a.sock"]);
    drop(successor);
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

#[test]
fn what_is_no_lock_of_ours_is_left_alone() {
    let folder = Folder::new("foreign");
    let path = folder.0.join("a.sock");
    let lock = folder.0.join("a.sock.lock");
    fs::write(&lock, "mine").unwrap();
    drop(bind(&path, None).unwrap());
    assert_eq!(fs::read(&lock).unwrap(), b"mine");
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink("/dev/null", &lock).unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::Refused(_))));
    assert_eq!(folder.names(), ["a.sock.lock"]);
}

#[test]
fn a_path_with_something_else_at_it_is_refused_and_left() {
    let folder = Folder::new("file");
    let path = folder.0.join("a.sock");
    fs::write(&path, "mine").unwrap();
    assert!(matches!(bind(&path, None), Err(PathError::NotASocket)));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    assert_eq!(folder.names(), ["a.sock"], "no lock is left of an attempt");
}

/// Many start at once over the socket of a dead process: one gets it.
#[test]
fn of_many_who_take_over_a_dead_path_one_has_it() {
    let folder = Folder::new("race");
    let path = folder.0.join("a.sock");
    for _ in 0..20 {
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let start = std::sync::Barrier::new(4);
        let bound: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        bind(&path, None).ok()
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(bound.len(), 1);
        drop(bound);
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }
}

/// Two processes have a socket, its path and its lock: who leaves last removes them, and nobody else gets in between.
#[test]
fn a_path_that_was_handed_on_outlives_who_bound_it() {
    let folder = Folder::new("handed-on");
    let path = folder.0.join("a.sock");
    let (socket, old) = bind(&path, None).unwrap();
    let new = OwnedPath::inherit(&path, old.share_lock().unwrap()).unwrap();
    // As of a successor that does not come up.
    drop(OwnedPath::inherit(&path, old.share_lock().unwrap()).unwrap());
    assert_eq!(folder.names().len(), 2, "{:?}", folder.names());
    old.disown();
    drop(old);
    assert_eq!(folder.names().len(), 2, "{:?}", folder.names());
    assert!(matches!(bind(&path, None), Err(PathError::Taken)));
    new.own();
    drop((socket, new));
    assert!(folder.names().is_empty(), "{:?}", folder.names());
}

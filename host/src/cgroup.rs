//! The memory that the system lets the process have, which it does not say: a process that takes more is killed.
//!
//! A cgroup has a limit of its own, and so has each above it; the tightest counts. Version 1 has a tree
//! for memory alone, version 2 one for everything (cgroups(7)).

use std::fs;
use std::path::{Path, PathBuf};

/// The largest limit that is one: version 1 says "none" by a number near the end of its range.
const LARGEST: u64 = 1 << 60;

/// The least that the host keeps for itself: its code and heap, buffers of connections, stacks and tables
/// of guests, sockets in the kernel; a host that serves nothing has 50 MiB.
const LEAST_RESERVE: u64 = 64 << 20;

/// The least that encoders of responses have: a dozen of gzip, two of the largest. And the most: two hundred, forty.
const LEAST_FOR_ENCODERS: u64 = 4 << 20;
const MOST_FOR_ENCODERS: u64 = 64 << 20;

/// The memory of the cgroup that this process is in: the tightest limit of those above it too. None: it
/// has no limit, or the system does not tell.
pub(crate) fn memory_limit() -> Option<u64> {
    memory_limit_in(Path::new("/"))
}

/// The same, of a system whose files are below `root`.
fn memory_limit_in(root: &Path) -> Option<u64> {
    let cgroups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mounts = fs::read_to_string(root.join("proc/self/mountinfo")).ok()?;
    let mounts = mounts.lines().filter_map(Mount::parse);
    mounts
        .filter_map(|mount| {
            let path = mount.kind.path(&cgroups)?;
            mount.limit(root, path)
        })
        .min()
}

/// What guests may have of so much: a quarter is the host's, at least [`LEAST_RESERVE`], at most half.
pub(crate) fn for_guests(limit: u64) -> u64 {
    limit - (limit / 4).max(LEAST_RESERVE).min(limit / 2)
}

/// What of so much the host may hold of one file: half of what it keeps for itself.
pub(crate) fn for_a_file(limit: u64) -> u64 {
    for_the_host(limit) / 2
}

/// What of so much is the host's.
pub(crate) fn for_the_host(limit: u64) -> u64 {
    limit - for_guests(limit)
}

/// What encoders of responses may have of so much, if there is a limit: an eighth of what is the host's, because of
/// 64 MiB it needs 50 before it serves anything.
pub(crate) fn for_encoders(limit: Option<u64>) -> u64 {
    limit.map_or(MOST_FOR_ENCODERS, |limit| {
        (for_the_host(limit) / 8).clamp(LEAST_FOR_ENCODERS, MOST_FOR_ENCODERS)
    })
}

#[derive(Clone, Copy)]
enum Kind {
    V1,
    V2,
}

impl Kind {
    /// The path of the process in this tree: `4:memory:/path` or `0::/path`.
    fn path(self, cgroups: &str) -> Option<&Path> {
        cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let this = match self {
                Self::V1 => controllers.split(',').any(|name| name == "memory"),
                Self::V2 => controllers.is_empty(),
            };
            this.then_some(Path::new(path))
        })
    }

    /// Files with a limit of one cgroup.
    fn files(self) -> &'static [&'static str] {
        match self {
            Self::V1 => &["memory.limit_in_bytes"],
            // Above `high` it is slowed down until nothing works.
            Self::V2 => &["memory.max", "memory.high"],
        }
    }
}

/// A tree of cgroups in which memory is limited, and where it is mounted.
struct Mount {
    kind: Kind,
    /// The cgroup that is mounted: a container may see its own only.
    top: PathBuf,
    at: PathBuf,
}

impl Mount {
    /// `36 32 0:33 /top /at rw,… shared:1 - cgroup2 cgroup2 rw,…` (proc_pid_mountinfo(5)).
    fn parse(line: &str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut system = system.split(' ');
        let kind = match system.next()? {
            "cgroup2" => Kind::V2,
            "cgroup" if system.nth(1)?.split(',').any(|option| option == "memory") => Kind::V1,
            _ => return None,
        };
        let mut fields = mount.split(' ').skip(3);
        let (top, at) = (fields.next()?.into(), fields.next()?.into());
        Some(Self { kind, top, at })
    }

    /// The tightest limit from the cgroup at `path` up to the top.
    fn limit(&self, root: &Path, path: &Path) -> Option<u64> {
        // In a namespace the path is one of its own, and what is mounted is its top.
        let below = path.strip_prefix(&self.top).or_else(|_| path.strip_prefix("/")).ok()?;
        let at = root.join(self.at.strip_prefix("/").ok()?);
        let whole = at.join(below);
        let here = if whole.is_dir() { whole } else { at.clone() };
        let cgroups = here.ancestors().take_while(|cgroup| cgroup.starts_with(&at));
        cgroups
            .flat_map(|cgroup| self.kind.files().iter().map(move |file| cgroup.join(file)))
            .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
            .filter(|limit| *limit < LARGEST)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A system with these files, by path. Removed when dropped.
    struct System(PathBuf);

    impl System {
        fn of(name: &str, files: &[(&str, &str)]) -> Self {
            let root =
                std::env::temp_dir().join(format!("host-cgroup-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn limit(&self) -> Option<u64> {
            memory_limit_in(&self.0)
        }
    }

    impl Drop for System {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    const V1: &str = "36 32 0:33 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory\n\
                      37 32 0:34 / /sys/fs/cgroup/pids rw,nosuid - cgroup cgroup rw,pids\n\
                      38 32 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const V2: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

    #[test]
    fn of_version_1_the_tightest_one_on_the_way_up_counts() {
        let own = "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes";
        let above = "sys/fs/cgroup/memory/a/memory.limit_in_bytes";
        let top = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let none = "9223372036854771712\n";
        let of = |name, own_limit, above_limit| {
            let cgroups = "5:pids:/other\n4:cpu,memory:/a/b\n0::/\n";
            let files = [(own, own_limit), (above, above_limit), (top, none)];
            let proc = [("proc/self/cgroup", cgroups), ("proc/self/mountinfo", V1)];
            System::of(name, &[&files[..], &proc[..]].concat()).limit()
        };
        assert_eq!(of("v1-none", none, none), None);
        assert_eq!(of("v1-own", "268435456\n", none), Some(256 * MIB));
        assert_eq!(of("v1-above", "268435456\n", "134217728\n"), Some(128 * MIB));
    }

    #[test]
    fn of_version_2_the_tightest_one_on_the_way_up_counts() {
        let of = |name, max, high, above| {
            let slice = "sys/fs/cgroup/system.slice";
            let files = [
                (format!("{slice}/host.service/memory.max"), max),
                (format!("{slice}/host.service/memory.high"), high),
                (format!("{slice}/memory.max"), above),
                ("proc/self/cgroup".into(), "0::/system.slice/host.service\n"),
                ("proc/self/mountinfo".into(), V2),
            ];
            let files: Vec<_> = files.iter().map(|(path, text)| (&**path, *text)).collect();
            System::of(name, &files).limit()
        };
        assert_eq!(of("v2-none", "max\n", "max\n", "max\n"), None);
        assert_eq!(of("v2-max", "1048576\n", "max\n", "max\n"), Some(MIB));
        assert_eq!(of("v2-high", "2097152\n", "1048576\n", "max\n"), Some(MIB));
        assert_eq!(of("v2-above", "2097152\n", "max\n", "1048576\n"), Some(MIB));
    }

    /// A container sees its own cgroup as the top of the tree, under the name that the machine has for it
    /// or, in a namespace, under none.
    #[test]
    fn in_a_container_what_is_mounted_is_its_own() {
        let limit = ("sys/fs/cgroup/memory.max", "1048576\n");
        let named = "30 24 0:26 /docker/1f2e /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        for (name, cgroup, mount) in [
            ("named", "0::/docker/1f2e\n", named),
            ("namespace", "0::/\n", V2),
            ("outside", "0::/../../elsewhere\n", V2),
        ] {
            let proc = [("proc/self/cgroup", cgroup), ("proc/self/mountinfo", mount)];
            let system = System::of(name, &[&[limit][..], &proc[..]].concat());
            assert_eq!(system.limit(), Some(MIB), "{name}");
        }
    }

    #[test]
    fn where_nothing_is_told_there_is_no_limit() {
        assert_eq!(System::of("empty", &[("proc/self/cgroup", "garbage")]).limit(), None);
        let files = [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", "garbage\n - \n")];
        assert_eq!(System::of("garbage", &files).limit(), None);
        // Whatever it is here, it does not fail.
        memory_limit();
    }

    #[test]
    fn the_host_keeps_a_part_for_itself() {
        assert_eq!(for_guests(256 * MIB), 192 * MIB);
        assert_eq!(for_guests(4096 * MIB), 3072 * MIB);
        assert_eq!(for_guests(100 * MIB), 50 * MIB);
        assert_eq!(for_guests(0), 0);
        assert_eq!((for_the_host(256 * MIB), for_a_file(256 * MIB)), (64 * MIB, 32 * MIB));
    }

    #[test]
    fn encoders_have_a_part_of_what_the_host_keeps_and_some_in_any_case() {
        for (limit, encoders) in [(0, 4), (32, 4), (256, 8), (1024, 32), (2048, 64), (65_536, 64)] {
            assert_eq!(for_encoders(Some(limit * MIB)), encoders * MIB, "{limit} MiB");
        }
        assert_eq!(for_encoders(None), 64 * MIB);
    }
}

//! Whether a new process would be left alive at the end of this one.

use std::{env, fs, process};

use rustix::process::getppid;

/// Programs that are process 1 of a container, have one child, and end with it.
const INITS: [&str; 5] = ["catatonit", "docker-init", "dumb-init", "podman-init", "tini"];

/// Whether whoever has started this process lets another one outlive it. If not, why.
pub(super) fn outlives_us() -> Result<(), String> {
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get());
    let init = || fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let is_main = env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == process::id().to_string());
    let tells = env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
    match outlives(process::id(), parent, init, (is_main, tells)) {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

fn outlives(
    own: u32,
    parent: Option<i32>,
    init: impl FnOnce() -> String,
    (is_main_of_systemd, tells_it): (bool, bool),
) -> Option<String> {
    const ANOTHER: &str = "its end would end the container: start another container in its place";
    if own == 1 {
        return Some(format!("the host is process 1 of its container, and {ANOTHER}"));
    }
    // Its parent is in another namespace: containers that share one.
    if parent.is_none() {
        return Some(format!("the host is the first process of its container, and {ANOTHER}"));
    }
    if is_main_of_systemd && !tells_it {
        return Some(
            "systemd takes the end of this process for that of the service: `Type=notify` in its unit, as in \
             deploy/systemd/host.service, lets another process be the service"
                .into(),
        );
    }
    if parent == Some(1)
        && let init = init()
        && let Some(init) = INITS.iter().find(|known| init.trim_end().starts_with(**known))
    {
        return Some(format!("{init}, process 1 of the container, ends with the host: {ANOTHER}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ends_with_us_is_known() {
        let said = |own, parent, init: &str, systemd| {
            let parent = Some(parent).filter(|parent| *parent > 0);
            outlives(own, parent, || format!("{init}\n"), systemd).unwrap_or_default()
        };
        let none = (false, false);
        assert!(said(1, 0, "host", none).starts_with("the host is process 1 of its container"));
        assert!(
            said(7, 1, "tini", none).starts_with("tini, process 1 of the container, ends with")
        );
        assert!(said(7, 0, "pause", none).starts_with("the host is the first process of its"));
        assert!(said(7, 1, "docker-init", none).starts_with("docker-init, process 1"));
        assert!(said(7, 1, "systemd", (true, false)).starts_with("systemd takes the end"));
        // A daemon; a child of a shell; a service that systemd hears.
        assert_eq!(said(7, 1, "systemd", none), "");
        assert_eq!(said(7, 1, "systemd", (true, true)), "");
        assert_eq!(outlives(7, Some(5), || unreachable!("nobody asks"), none), None);
    }
}

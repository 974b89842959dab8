//! The processes of a group.

use std::fs;

use rustix::process::Pid;

/// Those of them that live, as `name (its number)`. Processes that have ended, and that nobody has waited for, are left
/// out: in a container perhaps nobody ever will.
pub(crate) fn members(group: Pid) -> Vec<String> {
    // Without /proc nobody is found.
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| fs::read(process.path().join("stat")).ok());
    stats.filter_map(|stat| member(&String::from_utf8_lossy(&stat), group)).collect()
}

/// The process of this `/proc/PID/stat`, if it is one of the group and lives.
fn member(stat: &str, group: Pid) -> Option<String> {
    // A name may have spaces and parentheses in it.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut rest = rest.split(' ');
    let state = rest.next()?;
    let its_group: i32 = rest.nth(1)?.parse().ok()?;
    let lives = !matches!(state, "Z" | "X" | "x");
    (lives && its_group == group.as_raw_nonzero().get()).then(|| format!("{name} ({pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_is_of_the_group_and_lives_whatever_it_is_called() {
        let group = Pid::from_raw(40).unwrap();
        let cases = [
            ("41 (node) S 1 40 7 0 -1", Some("node (41)")),
            ("41 (a) b) R (c) S 1 40 7 0 -1", Some("a) b) R (c (41)")),
            ("41 (node) Z 1 40 7 0 -1", None),
            ("41 (node) S 40 4 40 40 -1", None),
            ("41 (node", None),
            ("", None),
        ];
        for (stat, wanted) in cases {
            assert_eq!(member(stat, group).as_deref(), wanted, "{stat}");
        }
    }
}

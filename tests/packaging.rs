//! What strangers install: the tarball, `make install`, Debian's package, man pages and completions. Packed from the
//! program that the tests are about.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::app::{Folder, text};
use crate::support::binary::{BINARY, binary};
use crate::support::page::ROOT;
use crate::support::prelude::*;
use crate::support::tools::has;

/// Of all that is packed here, the moment.
const EPOCH: &str = "1700000000";

fn ran(command: &mut Command) -> Output {
    let output = command.env("SOURCE_DATE_EPOCH", EPOCH).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {:?}\n{said}", output.status);
    output
}

fn stdout(command: &mut Command) -> String {
    String::from_utf8(ran(command).stdout).expect("text")
}

/// `host` or `wasm-host`, whichever is asked for, in a folder of the test's own.
fn called(folder: &Folder, name: &str) -> Command {
    let path = folder.join(name);
    if !path.exists() {
        std::os::unix::fs::symlink(BINARY, &path).unwrap();
    }
    Command::new(path)
}

/// Each command that people may give, as in `ctl canary promote`, by the help of each.
fn commands(of: &str) -> Vec<String> {
    let help = stdout(binary().args(of.split_whitespace()).arg("--help"));
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let list = list.split("\n\n").next().unwrap_or_default();
    let names = list.lines().filter_map(|line| {
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| format!("{of} {name}").trim().to_owned())
    });
    names.flat_map(|name| [vec![name.clone()], commands(&name)].concat()).collect()
}

/// Files and links below `folder`, by their path in it.
fn files(folder: &Path) -> BTreeSet<String> {
    let found =
        stdout(Command::new("find").arg(folder).args(["!", "-type", "d", "-printf", "%P\\n"]));
    found.lines().map(str::to_owned).collect()
}

/// What both the tarball and `make install` lay below their prefix.
fn promised() -> BTreeSet<String> {
    let mut all = BTreeSet::from(
        [
            "bin/host",
            "bin/wasm-host",
            "share/bash-completion/completions/host",
            "share/bash-completion/completions/wasm-host",
            "share/zsh/site-functions/_host",
            "share/zsh/site-functions/_wasm-host",
            "share/fish/vendor_completions.d/host.fish",
            "share/fish/vendor_completions.d/wasm-host.fish",
            "share/doc/host/LICENSE",
            "share/doc/host/host.toml",
            "share/doc/host/sbom.cdx.json",
        ]
        .map(str::to_owned),
    );
    for name in ["host", "wasm-host"] {
        all.insert(format!("share/man/man1/{name}.1"));
        let pages = commands("").into_iter().map(|command| command.replace(' ', "-"));
        all.extend(pages.map(|page| format!("share/man/man1/{name}-{page}.1")));
    }
    let units = files(&Path::new(ROOT).join("deploy/systemd"));
    let units =
        units.into_iter().filter(|name| name.ends_with(".service") || name.ends_with(".socket"));
    all.extend(units.map(|unit| format!("lib/systemd/system/{unit}")));
    assert!(all.contains("lib/systemd/system/host.service"), "{all:?}");
    let wit = files(&Path::new(ROOT).join("wit"));
    all.extend(wit.into_iter().map(|file| format!("share/host/wit/{file}")));
    all
}

fn script(name: &str) -> Command {
    Command::new(Path::new(ROOT).join("package").join(name))
}

/// A file in the place of what cargo-cyclonedx writes.
fn sbom(folder: &Folder) -> PathBuf {
    let sbom = folder.join("sbom.json");
    fs::write(&sbom, "{}\n").unwrap();
    sbom
}

fn pack(folder: &Folder, out: &str) -> PathBuf {
    let mut pack = script("pack.sh");
    pack.arg(BINARY).arg(folder.join(out)).env("SBOM", sbom(folder));
    PathBuf::from(stdout(&mut pack).trim_end())
}

#[test]
fn tarball_is_the_same_bytes_each_time_and_installs_what_it_removes_again() {
    let folder = Folder::new();
    let (one, two) = (pack(&folder, "one"), pack(&folder, "two"));
    assert_eq!(one.file_name(), two.file_name());
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap(), "other bytes the second time");
    ran(Command::new("tar").args(["-xzf", text(&one), "-C", text(&folder.join(""))]));
    let name = one.file_name().unwrap().to_str().unwrap().strip_suffix(".tar.gz").unwrap();
    assert!(name.starts_with(concat!("host-", env!("CARGO_PKG_VERSION"), "-")), "{name}");
    let root = folder.join(name);

    let beside = ["CHANGELOG.md", "LICENSE", "README.md", "SHA256SUMS", "install.sh"];
    let all: BTreeSet<_> = promised().into_iter().chain(beside.map(str::to_owned)).collect();
    assert_eq!(files(&root), all);
    ran(Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&root));
    let sums = fs::read_to_string(root.join("SHA256SUMS")).unwrap();
    assert_eq!(sums.lines().count(), all.len() - 2, "all but itself and the link");
    let version = stdout(Command::new(root.join("bin/wasm-host")).arg("--version"));
    assert!(version.starts_with(concat!("host ", env!("CARGO_PKG_VERSION"))), "{version}");
    let listed = stdout(Command::new("tar").args(["-tvzf", text(&one)]));
    for line in listed.lines() {
        assert!(line.contains(" 0/0 ") && line.contains(" 2023-11-1"), "{line}");
    }

    // Into a place where something is already, and again over a version that had one file more.
    let place = folder.join("place");
    fs::create_dir_all(place.join("usr/share/man")).unwrap();
    fs::write(place.join("usr/share/man/other"), "").unwrap();
    let install = |flag: &[&str]| {
        let mut install = Command::new(root.join("install.sh"));
        install.args(flag).env("PREFIX", "/usr").env("DESTDIR", &place);
        install
    };
    ran(&mut install(&[]));
    let list = place.join("usr/share/host/installed");
    let installed = fs::read_to_string(&list).unwrap();
    fs::write(place.join("usr/bin/gone"), "").unwrap();
    fs::write(&list, installed.clone() + "file bin/gone\n").unwrap();
    ran(&mut install(&[]));
    assert_eq!(fs::read_to_string(&list).unwrap(), installed);
    let more = ["share/host/installed", "share/man/other"].map(str::to_owned);
    let expected: BTreeSet<_> = promised().into_iter().chain(more).collect();
    assert_eq!(files(&place.join("usr")), expected);
    ran(&mut install(&["--uninstall"]));
    let left = stdout(Command::new("find").arg(&place).args(["-printf", "%P "]));
    let mut left: Vec<_> = left.split_whitespace().collect();
    left.sort_unstable();
    assert_eq!(left, ["usr", "usr/share", "usr/share/man", "usr/share/man/other"]);
    let again = install(&["--uninstall"]).output().unwrap();
    assert_eq!(again.status.code(), Some(3), "nothing is installed");
}

#[test]
fn units_name_the_program_where_it_is_installed() {
    let folder = Folder::new();
    let stage = folder.join("stage");
    ran(script("stage.sh").arg(BINARY).arg(&stage).env("PREFIX", "/opt/host"));
    let unit = fs::read_to_string(stage.join("lib/systemd/system/host.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/host/bin/wasm-host serve "), "{unit}");
    assert!(!unit.contains("/usr/bin/"), "{unit}");
    // What the unit serves, and what the package brings for it.
    let example = stage.join("share/doc/host/host.toml");
    let app = folder.join("app.wasm");
    fs::copy(guest("hello_p2"), &app).unwrap();
    let manifest = fs::read_to_string(&example).unwrap().replace("/srv/app.wasm", text(&app));
    fs::write(folder.join("host.toml"), manifest).unwrap();
    Host::run(["check", text(&folder.join("host.toml")), "--strict"]).expect_code(0);
}

/// Each page of a program of this name.
fn man_pages(folder: &Folder, name: &str) -> Vec<PathBuf> {
    let pages = folder.join(&format!("man-{name}"));
    ran(called(folder, name).arg("man").arg(&pages));
    let mut pages: Vec<_> = fs::read_dir(&pages).unwrap().map(|it| it.unwrap().path()).collect();
    pages.sort();
    pages
}

#[test]
fn every_command_has_a_man_page_and_what_is_hidden_has_none() {
    let folder = Folder::new();
    let all = commands("");
    assert!(all.len() > 12 && all.contains(&"ctl canary promote".to_owned()), "{all:?}");
    for name in ["host", "wasm-host"] {
        let pages = man_pages(&folder, name);
        assert_eq!(pages.len(), all.len() + 1, "{pages:?}");
        let program = fs::read_to_string(pages[0].with_file_name(format!("{name}.1"))).unwrap();
        for heading in ["\"EXIT STATUS\"", "SIGNALS", "FILES", "\"SEE ALSO\""] {
            assert!(program.contains(&format!(".SH {heading}\n")), "{program}");
        }
        // Of the moment that packers set, so that the bytes are the same.
        assert!(program.contains("2023-11-14"), "{program}");
        for page in &pages {
            let text = fs::read_to_string(page).unwrap();
            assert!(!text.contains("compiler") && !text.contains("for packagers"), "{text}");
        }
    }
    let exit = Host::run(["man", "/proc/nowhere"]);
    exit.expect_code(3);
    exit.expect_last_line(
        "host man: cannot write to /proc/nowhere: No such file or directory (os error 2)",
    );
}

#[test]
fn man_pages_are_well_formed() {
    let folder = Folder::new();
    let pages = [man_pages(&folder, "host"), man_pages(&folder, "wasm-host")].concat();
    match Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).args(&pages).output() {
        Ok(linted) => {
            assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
        }
        Err(_) => {
            println!("no mandoc runs here (Debian: apt-get install mandoc), so less is shown");
        }
    }
    if !has("man", "man-db") {
        return;
    }
    for page in &pages {
        let mut man = Command::new("man");
        let shown = ran(man.args(["--warnings", "-l", text(page)]).env("MANWIDTH", "100"));
        assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{}", page.display());
    }
}

#[test]
fn shells_complete_both_names_and_nothing_that_is_hidden() {
    let folder = Folder::new();
    for name in ["host", "wasm-host"] {
        for shell in ["bash", "zsh", "fish"] {
            let script = stdout(called(&folder, name).args(["completions", shell]));
            for word in ["drain-timeout", "generations", "completions"] {
                assert!(script.contains(word), "{shell}: no {word}");
            }
            assert!(!script.contains("compiler") && !script.contains("packagers"), "{shell}");
            fs::write(folder.join(&format!("{name}.{shell}")), script).unwrap();
        }
        let bash = |words: &str| {
            let script = text(&folder.join(&format!("{name}.bash"))).to_owned();
            stdout(Command::new("bash").args([
                "--norc",
                "-c",
                &format!("source {script}; {words}"),
            ]))
        };
        assert!(bash(&format!("complete -p {name}")).trim_end().ends_with(&format!(" {name}")));
        // Of `wasm-host` no command was completed.
        let completed = bash(&format!(
            "COMP_WORDS=({name} ctl ca) COMP_CWORD=2; _host {name} ca ctl; echo \"${{COMPREPLY[@]}}\""
        ));
        assert_eq!(completed, "canary\n");
        for shell in ["zsh", "fish"] {
            if has(shell, shell) {
                let script = folder.join(&format!("{name}.{shell}"));
                ran(Command::new(shell).args(["-n", text(&script)]));
            }
        }
    }
    let wrong = Host::run(["completions", "tcsh"]);
    wrong.expect_code(2);
    assert!(wrong.stderr.contains("bash, zsh, fish"), "{}", wrong.stderr);
}

#[test]
fn debian_package_has_only_files_that_no_other_package_has() {
    let cargo_deb = Path::new(ROOT).join("target/tools/bin/cargo-deb");
    if !cargo_deb.exists() || !has("dpkg-deb", "dpkg") {
        println!("no {} here (run: make deb), so nothing is shown", cargo_deb.display());
        return;
    }
    let folder = Folder::new();
    let mut packed = script("deb.sh");
    packed
        .arg(BINARY)
        .arg(folder.join(""))
        .arg("--fast")
        .env("SBOM", sbom(&folder))
        .env("CARGO_DEB", &cargo_deb);
    let deb = stdout(&mut packed);
    let deb = deb.trim_end();
    let listed = stdout(Command::new("dpkg-deb").args(["--contents", deb]));
    let paths: BTreeSet<_> = listed
        .lines()
        .filter(|line| !line.starts_with('d'))
        .filter_map(|line| line.split_whitespace().nth(5)?.strip_prefix("./"))
        .collect();
    let pages = commands("").len() + 1;
    let is_page = |path: &&&str| path.starts_with("usr/share/man/man1/wasm-host");
    assert_eq!(paths.iter().filter(is_page).count(), pages, "{listed}");
    for path in [
        "etc/host/host.toml",
        "usr/bin/wasm-host",
        "usr/lib/systemd/system/host.service",
        "usr/lib/systemd/system/host.socket",
        "usr/share/bash-completion/completions/wasm-host",
        "usr/share/doc/wasm-host/CHANGELOG.md.gz",
        "usr/share/doc/wasm-host/changelog.gz",
        "usr/share/doc/wasm-host/copyright",
        "usr/share/doc/wasm-host/sbom.cdx.json",
        "usr/share/fish/vendor_completions.d/wasm-host.fish",
        "usr/share/host/wit/lifecycle.wit",
        "usr/share/zsh/vendor-completions/_wasm-host",
    ] {
        assert!(paths.contains(path), "no {path} in:\n{listed}");
    }
    // bind9-host has these.
    for path in ["usr/bin/host", "usr/share/man/man1/host.1.gz"] {
        assert!(!paths.contains(path), "{path} in:\n{listed}");
    }
    let control = stdout(Command::new("dpkg-deb").args(["--info", deb]));
    for line in [" Package: wasm-host\n", " Depends: libc6 (>= ", ", libgcc-s1 (>= 4.2)\n"] {
        assert!(control.contains(line), "no {line:?} in:\n{control}");
    }
    // One that cargo-deb makes up says that the copyright is missing.
    let unpacked = folder.join("unpacked");
    ran(Command::new("dpkg-deb").args(["--extract", deb, text(&unpacked)]));
    let copyright = fs::read_to_string(unpacked.join("usr/share/doc/wasm-host/copyright")).unwrap();
    assert!(copyright.contains("common-licenses/Apache-2.0"), "{copyright}");
    let conffiles = stdout(Command::new("dpkg-deb").args(["--info", deb, "conffiles"]));
    assert_eq!(conffiles, "/etc/host/host.toml\n");
}

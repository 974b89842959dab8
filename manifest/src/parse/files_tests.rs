//! Reports about files, in a folder of the test's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::load;
use crate::{LoadContext, Manifest, ManifestError};

/// A folder with a component and a manifest. Removed with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        fs::create_dir_all(folder.at("data/deep")).expect("a folder");
        fs::write(folder.at("app.wasm"), "").expect("a file");
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn link(&self, name: &str, to: impl AsRef<Path>) {
        symlink(to, self.at(name)).expect("a link");
    }

    fn load(&self, text: &str, beside: &LoadContext) -> Result<Manifest, ManifestError> {
        let path = self.at("host.toml");
        fs::write(&path, text).expect("a file");
        load(&path, &|_| None, beside)
    }

    #[track_caller]
    fn refused(&self, text: &str, says: &str) {
        let line = self.load(text, &LoadContext::default()).expect_err(text).one_line();
        assert!(line.contains(says), "{text}\n{line}");
    }
}

fn shop(source: &str, directory: &str, write: bool) -> String {
    format!(
        "[component.shop]\nsource = \"{source}\"\ngrants.directories = [{{ host = \"{directory}\", \
         guest = \"/d\", write = {write} }}]\n"
    )
}

/// A guest that could write to one of these gave itself any grant at the next reload.
#[test]
fn a_guest_may_not_write_to_files_that_decide_its_grants() {
    let folder = Folder::new();
    folder.refused(&shop("app.wasm", ".", true), ":3:32: a guest that may write here could change");
    fs::write(folder.at("data/deep/in.wasm"), "").expect("a file");
    folder.link("out.wasm", "data/deep/in.wasm");
    folder.link("data/link.wasm", "../app.wasm");
    folder.link("alias", "data/deep");
    for (source, directory) in [
        ("data/deep/in.wasm", "data"),
        ("data/deep/in.wasm", "data/deep"),
        ("data/deep/in.wasm", "alias"),
        ("out.wasm", "data"),
        ("data/link.wasm", "data"),
        ("data/deep/../../app.wasm", "data"),
    ] {
        folder.refused(&shop(source, directory, true), "could change the file of component `shop`");
        let fine = folder.load(&shop(source, directory, false), &LoadContext::default());
        assert!(fine.is_ok(), "{source} may be read: {fine:?}");
    }
    let fine = shop("app.wasm", "data", true);
    for (more, what) in [
        ("[keyvalue.main]\nbackend = \"disk\"\npath = \"data/x.redb\"", "the store `main`"),
        ("[listen]\ncontrol = \"data/deep/c.sock\"", "the control socket"),
        ("[listen]\naddr = [\"unix:data/s.sock\"]", "a socket that is listened at"),
        (
            "[component.b]\nsource = \"app.wasm\"\ngrants.directories = [{ host = \"data/deep\", \
             guest = \"/d\" }]\n[[route]]\npath = \"/\"\ncomponent = \"b\"",
            "where the directory",
        ),
    ] {
        folder.refused(&format!("{fine}{more}"), &format!("could change {what}"));
    }
    folder.load(&fine, &LoadContext::default()).expect("a directory of its own");
}

#[test]
fn a_guest_may_not_write_to_files_of_the_process() {
    let folder = Folder::new();
    let fine = shop("app.wasm", "data", true);
    for path in ["data", "data/deep", "data/made/later", ""] {
        let own = vec![("the code cache".into(), folder.at(path))];
        let beside = LoadContext { own, ..LoadContext::default() };
        let line = folder.load(&fine, &beside).expect_err(path).one_line();
        assert!(line.contains("could change the code cache"), "{path}: {line}");
    }
    let own = vec![("the code cache".into(), folder.at("cache"))];
    folder.load(&fine, &LoadContext { own, ..LoadContext::default() }).expect("apart");
}

/// The reader waited for a pipe, and reported a file that existed as missing.
#[test]
fn a_path_that_is_no_regular_file_is_not_reported_as_missing() {
    let folder = Folder::new();
    for (source, says) in [
        ("none.wasm", "none.wasm is not there"),
        ("data", "data is a directory"),
        ("/dev/zero", "/dev/zero is not a regular file"),
        ("app.wasm/x", "cannot be used: Not a directory"),
    ] {
        folder.refused(&format!("[component.shop]\nsource = \"{source}\""), says);
    }
    let store = |path: &str| {
        let text = "[component.shop]\nsource = \"app.wasm\"\n[keyvalue.main]\nbackend = \"disk\"";
        format!("{text}\npath = \"{path}\"")
    };
    folder.refused(&store("data"), ":5:8: the file ");
    folder.refused(&store("data"), "data is a directory");
    folder.refused(&store("none/x.redb"), "none is not there");
    folder.link("pipe.toml", "/dev/zero");
    let report =
        load(&folder.at("pipe.toml"), &|_| None, &LoadContext::default()).expect_err("no end");
    assert!(report.one_line().contains("it is not a regular file"), "{report}");
}

/// A variable's value may be a secret. It came into the log with a path that did not exist.
#[test]
fn no_problem_shows_the_value_of_a_variable() {
    let folder = Folder::new();
    for text in [
        "[component.b]\nsource = \"${TOKEN}\"",
        "grants.directories = [{ host = \"${TOKEN}\", guest = \"/a\" }]",
        "[keyvalue.main]\nbackend = \"disk\"\npath = \"${TOKEN}/x\"",
        "[keyvalue.main]\nbackend = \"redis\"\nurl = \"redis://:${TOKEN}@h:99999\"",
        "[limits]\ncpu-time = \"${TOKEN}\"",
        "[limits]\ncpu-time = \"1${TOKEN}\"",
        "[limits]\nmemory = \"${TOKEN}\"",
        "[listen]\naddr = [\"${TOKEN}\"]",
        "[[route]]\npath = \"/${TOKEN}/\"\ncomponent = \"shop\"",
        "[[route]]\npath = \"/\"\ncomponent = \"${TOKEN}\"",
        "[[route]]\npath = \"/\"\nhost = \"http://${TOKEN}\"\ncomponent = \"shop\"",
        "grants.outgoing = [\"${TOKEN}\"]",
        "grants.tcp = [\"${TOKEN}\"]",
        "smoke = [\"${TOKEN}\"]",
    ] {
        let path = folder.at("host.toml");
        fs::write(&path, format!("[component.shop]\nsource = \"app.wasm\"\n{text}"))
            .expect("a file");
        let env = |name: &str| (name == "TOKEN").then(|| "hunter2".into());
        let report = load(&path, &env, &LoadContext::default()).expect_err(text);
        let said = report.to_string() + &report.one_line();
        assert!(!said.contains("hunter2"), "{text}\n{said}");
    }
}

/// The total stays until a restart. The limits of a component, which follow from the total, changed at once.
#[test]
fn limits_that_follow_from_the_total_follow_from_the_total_in_force() {
    let folder = Folder::new();
    let load = |text: &str, instances| {
        let total = Some(crate::TotalLimits { instances, memory: None, code_memory: None });
        folder.load(text, &LoadContext { total, ..LoadContext::default() })
    };
    let text = "[component.shop]\nsource = \"app.wasm\"\n[total]\ninstances = 8";
    let manifest = load(text, 1000).expect("right");
    assert_eq!(manifest.components["shop"].limits.instances, 250, "a quarter of what is in force");
    assert_eq!(manifest.total.instances, 8, "as it is written, to be compared");
    let text = text.replace("= 8", "= 1000\n[limits]\ninstances = 9");
    let line = load(&text, 8).expect_err("more than there are").one_line();
    assert!(line.contains("instances is more than total.instances, 8"), "{line}");
}

/// A file for each tenant, beside a manifest that includes them.
fn tenants(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.at("tenants/data")).expect("a folder");
    fs::write(folder.at("tenants/own.wasm"), "").expect("a file");
    for (name, text) in files {
        fs::write(folder.at("tenants").join(name), text).expect("a file");
    }
    folder
}

const INCLUDE: &str = "include = \"tenants/*.toml\"\n[component.shop]\nsource = \"app.wasm\"\n[[route]]\n\
                       path = \"/\"\ncomponent = \"shop\"\n";

fn tenant(name: &str) -> String {
    format!(
        "# of {name}\n[component.{name}]\nsource = \"own.wasm\"\n[[route]]\npath = \"/{name}\"\n\
         component = \"{name}\"\n"
    )
}

#[test]
fn files_that_are_included_are_read_with_it_and_are_relative_to_themselves() {
    let (a, b) = (tenant("a"), tenant("b"));
    let folder =
        tenants(&[("a.toml", &a), ("b.toml", &b), (".hidden.toml", "x"), ("notes.txt", "x")]);
    let manifest = folder.load(INCLUDE, &LoadContext::default()).expect("right");
    let names: Vec<&str> = manifest.components.keys().map(|name| &**name).collect();
    assert_eq!(names, ["a", "b", "shop"]);
    assert_eq!(manifest.components["b"].source, folder.at("tenants/own.wasm"));
    assert_eq!(manifest.routes.len(), 3);
    let place = &manifest.places["b"];
    assert_eq!((&place.file, place.line), (&folder.at("tenants/b.toml"), 2));
    assert_eq!(manifest.places["shop"].line, 2);
}

#[test]
fn what_is_wrong_with_an_included_file_is_said_with_its_own_name_and_line() {
    for (bad, says) in [
        ("[component.b]\nsource = \"none.wasm\"\n", "tenants/b.toml:2:10: the file "),
        ("[component.b]\nsuorce = \"own.wasm\"\n", "tenants/b.toml:2:1: "),
        ("[component.b\n", "tenants/b.toml:1:"),
        ("source = \"own.wasm\"\n", "tenants/b.toml:1:1: this stands before any table"),
        ("[listen]\naddr = []\n", "tenants/b.toml:1:2: [listen] does not belong"),
        ("[component.x\nsource = \"own.wasm\"\n", "tenants/b.toml:1:13: unclosed table"),
        (
            "include = \"more/*.toml\"\n",
            "tenants/b.toml:1:1: a file that is included cannot include others",
        ),
        (
            "[component.a]\nsource = \"own.wasm\"\n",
            "tenants/b.toml:1:12: component a is in another file too; the first one: ",
        ),
        ("[component.shop]\nsource = \"own.wasm\"\n", "host.toml:2"),
        (
            "[[route]]\npath = \"/a\"\ncomponent = \"a\"\n",
            "tenants/b.toml:1:1: two routes are for the same requests; the first one: ",
        ),
        ("[listen]\n[total]\n", " (and 1 more)"),
    ] {
        let folder = tenants(&[("a.toml", &tenant("a")), ("b.toml", bad)]);
        folder.refused(INCLUDE, says);
        let report = folder.load(INCLUDE, &LoadContext::default()).expect_err("it is wrong");
        assert!(report.render(false).contains("b.toml"), "{report}");
    }
    let folder = tenants(&[]);
    let twice = tenants(&[("a.toml", &tenant("a"))]);
    let include = "[\"tenants/*.toml\", \"tenants/a.toml\"]";
    twice.refused(
        &INCLUDE.replace("\"tenants/*.toml\"", include),
        "tenants/a.toml is included twice",
    );
    for (include, says) in [
        ("\"none/*.toml\"", "host.toml:1:11: "),
        ("\"*/a.toml\"", "`*` stands once, in the name of a file"),
        ("[\"none.toml\"]", "none.toml cannot be read"),
        ("1", "host.toml:1:"),
        ("\"\"", "this names no file"),
    ] {
        folder.refused(&INCLUDE.replace("\"tenants/*.toml\"", include), says);
    }
}

/// It would have given itself any grant at the next reload.
#[test]
fn a_guest_may_not_write_where_included_files_lie() {
    let folder = tenants(&[("a.toml", &tenant("a"))]);
    let text = |directory: &str| {
        format!("include = \"tenants/*.toml\"\n{}", shop("app.wasm", directory, true))
            + "[[route]]\npath = \"/\"\ncomponent = \"shop\"\n"
    };
    folder.refused(&text("tenants"), "a guest that may write here could change");
    folder.load(&text("tenants/data"), &LoadContext::default()).expect("apart");
    fs::remove_file(folder.at("tenants/a.toml")).expect("it is there");
    folder.refused(&text("tenants"), "a guest that may write here could change");
}

//! A container image, built by `buildah` into storage of a test's own, and its program run in what the image has: a
//! read-only root, a network that nothing else is in, the image's own user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::app::{Folder, text};
use super::page::ROOT;
use super::process::Process;
use super::tools::{has, has_with};

/// What it is called.
const TAG: &str = "localhost/host-test:1";

/// An image of `deploy/container`, mounted. Its storage goes with it.
#[derive(Debug)]
pub struct Image {
    storage: Storage,
    root: PathBuf,
    /// What was built into it: entry point, user, health check.
    pub config: Value,
}

#[derive(Debug)]
struct Storage(Folder);

impl Storage {
    fn new() -> Self {
        let folder = Folder::new();
        let lines = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
            folder.join("graph"),
            folder.join("run")
        );
        fs::write(folder.join("storage.conf"), lines).expect("a folder of ours");
        Self(folder)
    }

    /// `program`, which knows of this storage only.
    fn with(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("CONTAINERS_STORAGE_CONF", self.0.join("storage.conf"))
            .env("STORAGE_DRIVER", "vfs");
        command.env("TMPDIR", self.0.join("")).stdin(Stdio::null());
        command
    }

    fn buildah(&self, args: &[&str]) -> String {
        let mut command = self.with(Path::new("buildah"));
        let output = succeeded(command.args(args).output().expect("buildah runs here"), args);
        String::from_utf8(output.stdout).expect("text").trim_end().to_owned()
    }
}

#[track_caller]
fn succeeded(output: Output, what: &[&str]) -> Output {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what:?}: {:?}\n{said}", output.status);
    output
}

/// Whether containers can be built here and their files mounted. Says so if not.
fn can_build() -> bool {
    if !has("buildah", "buildah") || !has_with("ip", "-V", "iproute2") {
        return false;
    }
    let mounts = ["--mount", "--net", "sh", "-c", "mount -t tmpfs none /mnt && ip link set lo up"];
    let may = Command::new("unshare").args(mounts).stderr(Stdio::null()).status();
    let may = may.is_ok_and(|status| status.success()) && rustix::process::geteuid().is_root();
    if !may {
        println!("this user may not build and mount containers here, so nothing is shown");
    }
    may
}

impl Image {
    /// One of `program` and `app`, as an operator would build it. None where that is not possible, which is said on
    /// stdout.
    #[track_caller]
    pub fn build(program: &Path, app: &Path) -> Option<Self> {
        if !can_build() {
            return None;
        }
        let storage = Storage::new();
        let mut build = storage.with(&Path::new(ROOT).join("deploy/container/build.sh"));
        // As root within a container, which CI is.
        build.args([text(app), TAG, "--isolation", "chroot"]);
        build.env("HOST", program).env("BUILDER", "buildah").env("NETWORK", "host");
        succeeded(build.output().expect("it can be started"), &["build.sh"]);
        let inspected = storage.buildah(&["inspect", "--type", "image", TAG]);
        let inspected: Value = serde_json::from_str(&inspected).expect("JSON");
        let container = storage.buildah(&["from", "--pull-never", TAG]);
        let root = PathBuf::from(storage.buildah(&["mount", &container]));
        Some(Self { storage, root, config: inspected["Docker"]["config"].clone() })
    }

    /// The bytes of all files in it.
    pub fn size(&self) -> u64 {
        let mut sizes = Command::new("find");
        let sizes = sizes.arg(&self.root).args(["-type", "f", "-printf", "%s\\n"]).output();
        let sizes = String::from_utf8(sizes.expect("find runs").stdout).expect("text");
        sizes.lines().map(|size| size.parse::<u64>().expect("a number")).sum()
    }

    /// Whether it has something of this name, or a link.
    pub fn has(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok()
    }

    /// The words of this list of its configuration, as in `Healthcheck/Test`.
    pub fn words(&self, key: &str) -> Vec<String> {
        let list = self.config.pointer(&format!("/{key}")).and_then(Value::as_array);
        let list = list.unwrap_or_else(|| panic!("no {key} in {}", self.config));
        list.iter().map(|word| word.as_str().expect("text").to_owned()).collect()
    }

    /// Starts what the image says. The process that comes back is the program itself.
    pub fn start(&self) -> Process {
        // `exec` throughout, so that signals reach the program.
        let script = "root=$1 user=$2; shift 2; ip link set lo up; mount --bind \"$root\" \"$root\"; \
                      mount -o remount,bind,ro \"$root\"; mount -t tmpfs -o mode=1777 tmpfs \"$root/run/host\"; \
                      exec chroot --userspec=\"$user\" \"$root\" \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-ec", script, "sh"]).arg(&self.root);
        command.arg(self.config["User"].as_str().expect("it has one"));
        command.args(self.words("Entrypoint")).args(self.words("Cmd"));
        // What a runtime sets is all that is set.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        Process::spawn(&mut command)
    }

    /// A command inside the network of `process`; with `chroot`, inside its files too and as its user.
    pub fn beside(&self, process: &Process, chroot: bool) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--target", &process.pid().to_string()]);
        if chroot {
            let user = self.config["User"].as_str().expect("it has one");
            command.args(["chroot", &format!("--userspec={user}")]).arg(&self.root);
        }
        command
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // The folder is removed after this. With the driver vfs nothing of it is mounted.
        self.storage.with(Path::new("buildah")).args(["umount", "--all"]).output().ok();
    }
}

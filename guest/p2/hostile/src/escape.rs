//! Ways out of a preopened directory.

use kit::wasip2::filesystem::preopens::get_directories;
use kit::wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags,
};

/// One `way: outcome` a line: `READ` and what it has read, `done`, or the name of the error.
pub fn escape(path: Option<&str>) -> String {
    let Some((root, _)) = get_directories().into_iter().next() else {
        return "no preopen\n".into();
    };
    let mut told = String::new();
    let mut tell = |way: &str, outcome: String| told += &format!("{way}: {outcome}\n");
    let paths =
        ["..", "../secret", "./../secret", "inside/../../secret", "/etc/passwd", "//etc/passwd"];
    for path in paths.into_iter().chain(path) {
        tell(path, read(&root, path));
    }
    for (to, link) in [("/etc/passwd", "to-root"), ("../secret", "to-file"), ("..", "to-parent")] {
        tell(&format!("link {link}"), done(root.symlink_at(to, link)));
        tell(link, read(&root, link));
        let _ = root.unlink_file_at(link);
    }
    let _ = root.symlink_at("..", "up");
    tell("up/secret", read(&root, "up/secret"));
    tell("rename up/secret", done(root.rename_at("up/secret", &root, "taken")));
    tell(
        "hard link up/secret",
        done(root.link_at(PathFlags::empty(), "up/secret", &root, "taken")),
    );
    tell("create up/made", made(&root, "up/made"));
    tell("create ../made", made(&root, "../made"));
    tell("create directory ../made", done(root.create_directory_at("../made")));
    let _ = root.unlink_file_at("up");
    told
}

/// What can be read there.
pub fn read(root: &Descriptor, path: &str) -> String {
    let open = (OpenFlags::empty(), DescriptorFlags::READ);
    let file = root.open_at(PathFlags::SYMLINK_FOLLOW, path, open.0, open.1);
    match file.and_then(|file| file.read(4096, 0)) {
        Ok((bytes, _)) => format!("READ {}", String::from_utf8_lossy(&bytes).trim_end()),
        Err(error) => error.name().into(),
    }
}

fn made(root: &Descriptor, path: &str) -> String {
    let open = (OpenFlags::CREATE, DescriptorFlags::WRITE);
    done(root.open_at(PathFlags::SYMLINK_FOLLOW, path, open.0, open.1).map(drop))
}

fn done(outcome: Result<(), ErrorCode>) -> String {
    outcome.map_or_else(|error| error.name().into(), |()| "done".into())
}

//! Preopened directories.

use kit::wasip2::filesystem::preopens;
use kit::wasip2::filesystem::types::{
    Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags,
};

pub fn dirs() -> Vec<String> {
    preopens::get_directories().into_iter().map(|(_, path)| path).collect()
}

pub fn read(path: &str) -> Result<String, String> {
    let bytes = open(path, OpenFlags::empty(), DescriptorFlags::READ)?;
    let (bytes, _) = bytes.read(1 << 20, 0).map_err(name)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

pub fn write(path: &str, data: &str) -> Result<String, String> {
    let flags = OpenFlags::CREATE | OpenFlags::TRUNCATE;
    let file = open(path, flags, DescriptorFlags::WRITE)?;
    file.write(data.as_bytes(), 0).map_err(name)?;
    Ok(format!("{} bytes\n", data.len()))
}

/// Says that a file was used now, whatever it is a link to.
pub fn touch(path: &str) -> Result<String, String> {
    let (directory, rest) =
        kit::best(preopens::get_directories(), path).ok_or("no preopen fits")?;
    let (how, now) = (PathFlags::SYMLINK_FOLLOW, NewTimestamp::Now);
    directory.set_times_at(how, rest, now, now).map_err(name)?;
    Ok("touched\n".into())
}

pub fn list(path: &str) -> Result<String, String> {
    let directory = open(path, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
    let entries = directory.read_directory().map_err(name)?;
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry().map_err(name)? {
        names.push(entry.name + "\n");
    }
    names.sort();
    Ok(names.concat())
}

fn open(path: &str, how: OpenFlags, access: DescriptorFlags) -> Result<Descriptor, String> {
    let (directory, rest) =
        kit::best(preopens::get_directories(), path).ok_or("no preopen fits")?;
    let rest = if rest.is_empty() { "." } else { rest };
    directory.open_at(PathFlags::SYMLINK_FOLLOW, rest, how, access).map_err(name)
}

fn name(error: ErrorCode) -> String {
    error.name().into()
}

//! Files, full pipes, full disks.

use std::io::Read as _;

use super::*;

fn never(_: usize) -> bool {
    false
}

/// What a file system without room takes of a file: so many bytes. `RLIMIT_FSIZE` is of the whole process, so this is
/// a pipe that has room for one piece.
fn pipe() -> (io::PipeReader, Descriptor) {
    let (reader, writer) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    (reader, Descriptor::new(writer.into()).unwrap())
}

#[test]
fn lines_go_to_the_end_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    std::fs::write(&path, "before\n").unwrap();
    let mut sink = Descriptor::at(&path).unwrap();
    assert!(sink.is_file);
    assert_eq!(sink.write(b"one\ntwo\n", never).lost, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\none\ntwo\n");
}

#[test]
fn a_file_that_was_moved_away_gets_no_more_lines_once_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let [path, moved] = ["access.log", "access.log.1"].map(|name| folder.path().join(name));
    let mut sink = Descriptor::at(&path).unwrap();
    sink.write(b"one\n", never);
    std::fs::rename(&path, &moved).unwrap();
    sink.write(b"two\n", never);
    sink.reopen().unwrap();
    sink.write(b"three\n", never);
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
}

#[test]
fn what_is_open_stays_where_it_cannot_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("logs/access.log");
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    let mut sink = Descriptor::at(&path).unwrap();
    std::fs::rename(folder.path().join("logs"), folder.path().join("gone")).unwrap();
    assert!(sink.reopen().is_err());
    assert_eq!(sink.write(b"one\n", never).lost, 0);
    let moved = folder.path().join("gone/access.log");
    assert_eq!(std::fs::read_to_string(moved).unwrap(), "one\n");
}

#[test]
fn a_pipe_without_a_reader_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, 0o600.into(), 0).unwrap();
    let why = Descriptor::at(&path).unwrap_err().to_string();
    assert!(why.contains("nobody reads this pipe"), "{why}");
}

#[test]
fn a_disk_without_room_costs_the_lines_and_says_so() {
    let mut sink =
        Descriptor::new(File::options().write(true).open("/dev/full").unwrap().into()).unwrap();
    let outcome = sink.write(b"one\ntwo\n", never);
    assert_eq!(outcome.lost, 2);
    assert_eq!(outcome.why.unwrap().kind(), io::ErrorKind::StorageFull);
}

#[test]
fn a_reader_that_does_not_read_is_left_when_something_else_is_to_be_done() {
    let (_reader, mut sink) = pipe();
    let lines = [[b'x'; 99].as_slice(), b"\n"].concat().repeat(10_000);
    let outcome = sink.write(&lines, |_| true);
    let room = 65_536 / 4_000 * 40;
    assert_eq!(outcome.lost, 10_000 - room, "whole lines only, in pieces of less than 4 KiB");
    assert!(sink.torn.is_empty());
}

#[test]
fn a_pipe_gets_whole_lines_in_pieces_that_stay_together() {
    for (bytes, piece) in [
        ("a\nb\n".to_owned(), 4),
        (format!("{}\n{}\n", "x".repeat(4000), "y".repeat(200)), 4001),
        (format!("{}\n", "x".repeat(4095)), 4096),
    ] {
        assert_eq!(whole_lines(bytes.as_bytes()).len(), piece);
    }
}

/// A line of which a full disk has taken the beginning is finished first, so that the next one has its own.
#[test]
fn a_torn_line_is_finished_before_the_next_one() {
    let (mut reader, mut sink) = pipe();
    sink.torn = b" is whole\n".to_vec();
    assert_eq!(sink.write(b"next\n", never).lost, 0);
    let mut text = [0; 15];
    reader.read_exact(&mut text).unwrap();
    assert_eq!(&text, b" is whole\nnext\n");
}

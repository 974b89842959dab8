//! Many threads that add lines, and a writer that is too slow for them.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::*;

const SOON: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_secs(30);
const ROOM: usize = 1 << 20;

fn add(writer: &LineWriter, line: &str) {
    writer.add(|buffer| buffer.lines.extend_from_slice(line.as_bytes()));
}

fn on_file(path: &Path) -> LineWriter {
    LineWriter::start("test", "test".into(), &Target::File(path.to_owned()), ROOM).unwrap()
}

fn wait_until(what: impl Fn() -> bool) {
    let until = Instant::now() + LATE;
    while !what() {
        assert!(Instant::now() < until, "it does not come");
        thread::yield_now();
    }
}

/// The first line after a pause waits for no other one to come.
#[test]
fn each_line_comes_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = on_file(&path);
    for number in 1..=5 {
        wait_until(|| writer.shared.sleeps.load(Ordering::Relaxed));
        add(&writer, "line\n");
        wait_until(|| fs::read_to_string(&path).unwrap().lines().count() == number);
    }
}

#[test]
fn lines_of_all_threads_are_whole_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = on_file(&path);
    // Another process that writes to the same file.
    let other = on_file(&path);
    thread::scope(|scope| {
        for number in 0..20 {
            let writer = if number % 2 == 0 { &writer } else { &other };
            scope.spawn(move || {
                (0..1000).for_each(|line| add(writer, &format!("{number} {line} end\n")));
            });
        }
    });
    assert!(writer.end(Instant::now() + LATE) && other.end(Instant::now() + LATE));
    let text = fs::read_to_string(&path).unwrap();
    let mut next = [0; 20];
    for line in text.lines() {
        let [number, line, "end"] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let number: usize = number.parse().unwrap();
        assert_eq!(line.parse(), Ok(next[number]), "in the order of its thread");
        next[number] += 1;
    }
    assert_eq!(next, [1000; 20]);
    assert_eq!(writer.dropped() + other.dropped(), 0);
}

/// `mv` and SIGUSR1, under load.
#[test]
fn files_that_are_moved_away_lose_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let writer = on_file(&path);
    thread::scope(|scope| {
        let adding = scope.spawn(|| {
            for number in 0..20_000 {
                add(&writer, &format!("{number}\n"));
                if number % 100 == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut rotations = 0;
        while !adding.is_finished() {
            rotations += 1;
            fs::rename(&path, folder.path().join(format!("log.{rotations}"))).unwrap();
            writer.reopen();
            wait_until(|| path.exists());
        }
    });
    assert!(writer.end(Instant::now() + LATE));
    let mut lines: Vec<u64> = fs::read_dir(folder.path())
        .unwrap()
        .flat_map(|file| {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            text.lines().map(|line| line.parse().unwrap()).collect::<Vec<_>>()
        })
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, (0..20_000).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_neither_time_nor_memory() {
    let (mut reader, pipe) = io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&pipe, true).unwrap();
    let most = 100_000;
    let writer =
        LineWriter::on(("test", "test".into()), Sink::of(pipe.into()).unwrap(), most).unwrap();
    let line = format!("{}\n", "x".repeat(99));
    (0..10_000).for_each(|_| add(&writer, &line));
    wait_until(|| writer.dropped() > 0);
    assert!(!writer.end(Instant::now() + SOON), "the end has a bound");
    // All are accounted for: the pipe has 64 KiB of them, in pieces of at most 4 KiB.
    let gone = 10_000 - writer.shared.unwritten() - writer.dropped();
    assert!(gone * 100 <= 64 << 10, "{gone}");
    let buffered = writer.shared.buffers.iter().map(|buffer| lock(buffer).lines.len());
    assert!(buffered.sum::<usize>() <= most + line.len());
    // A reader that comes back gets whole lines, and the end comes.
    let reading = thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    assert!(writer.end(Instant::now() + LATE));
    let dropped = writer.dropped();
    drop(writer);
    let text = reading.join().unwrap();
    assert!(text.lines().all(|line| line.len() == 99));
    assert_eq!(text.lines().count() as u64 + dropped, 10_000);
}

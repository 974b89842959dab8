//! Readers that read, that read only when the test asks for a line, and that do not.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::*;

const SOON: Duration = Duration::from_millis(10);
const LATE: Duration = Duration::from_secs(30);

/// Takes what is written only when it is read.
struct Pipe(SyncSender<String>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stderr() -> (Stderr, Receiver<String>) {
    let (pipe, reader) = sync_channel(0);
    (Stderr::on(Pipe(pipe), || Some(20)).unwrap(), reader)
}

fn push_lines(stderr: &Stderr, count: usize) {
    (1..=count).for_each(|number| stderr.push(format!("line {number}\n").as_bytes()));
}

#[test]
fn what_was_logged_comes_before_the_last_line() {
    let (stderr, reader) = stderr();
    push_lines(&stderr, 3);
    let reading = thread::spawn(move || reader.iter().collect::<Vec<_>>());
    stderr.end(b"last\n".to_vec(), LATE, LATE);
    assert_eq!(reading.join().unwrap(), ["line 1\n", "line 2\n", "line 3\n", "last\n"]);
    stderr.push(b"too late\n");
}

/// A reader that comes back gets the last line and knows that it has missed others.
#[test]
fn last_line_comes_even_if_the_rest_found_no_reader() {
    let (stderr, reader) = stderr();
    // The first is with the thread, or will be.
    push_lines(&stderr, 3);
    stderr.end(b"last\n".to_vec(), SOON, SOON);
    let rest: Vec<_> = reader.iter().collect();
    assert_eq!(rest.last().unwrap(), "last\n");
    assert!(rest.iter().any(|line| line.contains("dropped")), "{rest:?}");
}

#[test]
fn log_does_not_wait_for_a_reader_that_does_not_read() {
    let (stderr, reader) = stderr();
    for _ in 0..BUFFERED_LINES + 10 {
        stderr.push(b"line\n");
    }
    stderr.end(b"last\n".to_vec(), SOON, SOON);
    drop(reader);
}

#[test]
fn lines_that_found_no_room_are_counted() {
    let stderr = Stderr::default();
    let mut lines = vec![b'x'; BUFFERED_BYTES / 2];
    lines[7] = b'\n';
    *lines.last_mut().unwrap() = b'\n';
    (0..5).for_each(|_| stderr.push(&lines));
    let Some(Piece::Lines(told)) = stderr.next(false) else { panic!("no line") };
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("6 lines of the log were dropped"), "{told}");
    let Some(Piece::Lines(first)) = stderr.next(false) else { panic!("no line") };
    assert!(first == lines);
    assert_eq!(stderr.dropped(), 6);
}

/// The progress of a compile was drawn by the worker: with the terminal held, it answered no request any more.
#[tokio::test(start_paused = true)]
async fn drawing_on_a_terminal_that_is_held_does_not_wait() {
    let (stderr, reader) = stderr();
    stderr.draw("first".into());
    assert_eq!(reader.recv().unwrap(), "\r\x1b[2Kfirst");
    // The thread may be at the first of these: it is not read.
    (1..=100).for_each(|number| stderr.draw(number.to_string()));
    stderr.clear().await;
    let rest: Vec<_> = reader.iter().take_while(|text| text != "\r\x1b[2K").collect();
    assert!(rest.len() <= 1, "it is drawn later than the last: {rest:?}");
}

#[tokio::test]
async fn progress_is_clear_before_anything_else_is_written() {
    let (stderr, reader) = stderr();
    let reading = thread::spawn(move || reader.iter().take(2).collect::<Vec<_>>());
    stderr.draw("10 s".into());
    while !reading.is_finished() {
        stderr.clear().await;
    }
    assert_eq!(reading.join().unwrap().last().unwrap(), "\r\x1b[2K");
}

/// A line of the log was glued behind the line of progress.
#[test]
fn progress_gives_way_to_lines_and_stands_below_them_again() {
    let (stderr, reader) = stderr();
    stderr.draw("draining".into());
    assert_eq!(reader.recv().unwrap(), "\r\x1b[2Kdraining");
    push_lines(&stderr, 2);
    let written: String = reader.iter().take(4).collect();
    assert_eq!(written, "\r\x1b[2Kline 1\nline 2\n\r\x1b[2Kdraining");
    let reading = thread::spawn(move || reader.iter().collect::<String>());
    stderr.end(b"last\n".to_vec(), LATE, LATE);
    assert_eq!(reading.join().unwrap(), "\r\x1b[2Klast\n", "and no progress behind the last one");
}

/// Lines of 81 to 83 letters wrapped on 80 columns, and scrolled five times a second.
#[test]
fn progress_fits_the_terminal() {
    let (stderr, reader) = stderr();
    stderr.draw("twenty letters, more".into());
    assert_eq!(reader.recv().unwrap(), "\r\x1b[2Ktwenty letters, mo…");
}

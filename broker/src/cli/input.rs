//! Questions to whoever sits at the terminal, and lines from a file or standard input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::failure::{Failure, Outcome};

/// Longest line that is taken; what a broker takes by default is 1 MiB.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Lines read ahead of those sent.
const LINES_AHEAD: usize = 1024;

/// Asks before something is lost for good. Without a terminal there is nobody to ask, so the command itself is the answer.
pub(super) fn confirm(question: &str, yes: bool) -> Outcome {
    if yes || !io::stdin().is_terminal() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Text("Nothing was done.".to_owned())),
    }
}

/// Lines with the size of what was read so far.
pub(super) type Lines = mpsc::Receiver<io::Result<Bytes>>;

/// Reads lines on a thread of its own, since reading a terminal cannot be cancelled. Also tells the size of a file.
pub(super) fn lines(file: Option<&Path>) -> Outcome<(Lines, Option<u64>)> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    let (input, size): (Box<dyn Read + Send>, _) = match file {
        Some(path) => {
            let failed = |error| Failure::File(format!("The file {} cannot be read", path.display()), error);
            let file = File::open(path).map_err(failed)?;
            let meta = file.metadata().map_err(failed)?;
            (Box::new(file), meta.is_file().then_some(meta.len()))
        }
        None => (Box::new(io::stdin()), None),
    };
    std::thread::Builder::new().name("lines".to_owned()).spawn(move || {
        let mut input = BufReader::with_capacity(256 << 10, input);
        while let Some(line) = next_line(&mut input) {
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    })?;
    Ok((receiver, size))
}

/// A line without its end (`\n` or `\r\n`).
fn next_line(input: &mut impl BufRead) -> Option<io::Result<Bytes>> {
    let mut line = Vec::new();
    match input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
        Ok(0) => return None,
        Ok(_) => {}
        Err(error) => return Some(Err(error)),
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    } else if line.len() as u64 == MAX_LINE_BYTES {
        return Some(Err(io::Error::other(format!("a line is longer than {} MiB", MAX_LINE_BYTES >> 20))));
    }
    Some(Ok(line.into()))
}

/// The one line that `path` holds (`-` is standard input), such as a password.
pub(super) fn secret_line(path: &PathBuf) -> Outcome<String> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        io::stdin().read_line(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    read.map_err(|error| Failure::File(format!("The password file {} cannot be read", path.display()), error))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_lose_their_ends_only() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("lines");
        std::fs::write(&path, "a\r\n\n b \nlast").expect("written");
        let (mut lines, size) = lines(Some(&path)).expect("readable");
        assert_eq!(size, Some(12));
        let mut read = Vec::new();
        while let Some(line) = lines.recv().await {
            read.push(line.expect("a line"));
        }
        assert_eq!(read, ["a", "", " b ", "last"]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = lines(Some(Path::new("/nowhere/at/all"))).expect_err("missing").to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}

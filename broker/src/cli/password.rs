//! Passwords come from a terminal without echo, a file or standard input, never from the command line, where every user
//! of the machine could read them.

use std::io::{self, BufRead, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use lockgate_client::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::failure::{Failure, Outcome};
use super::input::secret_line;

/// The password for `user`: from the file, else from the terminal (asked twice), else from standard input.
pub(super) fn read(user: &str, file: Option<&PathBuf>) -> Outcome<Secret> {
    let password = match file {
        Some(path) => secret_line(path)?,
        None if io::stdin().is_terminal() => {
            let first = ask(&format!("Password for {user}: "))?;
            if ask("Once more: ")? != first {
                return Err(Failure::Text("The two passwords differ; nothing was done.".to_owned()));
            }
            first
        }
        None => secret_line(&PathBuf::from("-"))?,
    };
    if password.is_empty() {
        return Err(Failure::Text(format!("The password for {user} is empty; nothing was done.")));
    }
    Ok(Secret::new(password))
}

fn ask(prompt: &str) -> Outcome<String> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let mut line = String::new();
    {
        let _quiet = Quiet::new()?;
        io::stdin().lock().read_line(&mut line)?;
    }
    eprintln!();
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Echo is off while this lives.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn new() -> io::Result<Self> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _ = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

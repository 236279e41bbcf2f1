//! Why a command did not do what was asked.

use std::io;

pub(super) type Outcome<T = ()> = Result<T, Failure>;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Client(#[from] lockgate_client::Error),
    #[error("{0}.")]
    Io(#[from] io::Error),
    /// A file that could not be read or written, with its name.
    #[error("{0}: {1}.")]
    File(String, io::Error),
    #[error("{0}")]
    Text(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Some items failed, one line each; the others were done.
    #[error("{}", .0.join("\n"))]
    Items(Vec<String>),
    /// What is wrong with the broker's config, one line each.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// Whoever reads our output has seen enough (`lockgate consume … | head`).
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// Gathers the items that failed, so that the others can be shown first.
#[derive(Default)]
pub(super) struct Failures(Vec<String>);

impl Failures {
    /// The value, or a line about `item` for the end.
    pub(super) fn keep<T>(&mut self, item: &str, result: lockgate_client::Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(format!("{item}: {error}"))).ok()
    }

    pub(super) fn outcome(self) -> Outcome {
        if self.0.is_empty() { Ok(()) } else { Err(Failure::Items(self.0)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_item_does_not_hide_the_others() {
        let mut failures = Failures::default();
        assert_eq!(failures.keep("topic a", Ok(1)), Some(1));
        assert_eq!(failures.keep::<i32>("topic b", Err(lockgate_client::Error::Settings("No.".into()))), None);
        let Err(Failure::Items(lines)) = failures.outcome() else { panic!("items failed") };
        assert_eq!(lines, ["topic b: No."]);
    }

    #[test]
    fn only_a_closed_pipe_is_quiet() {
        assert!(Failure::Io(io::ErrorKind::BrokenPipe.into()).is_closed_pipe());
        assert!(!Failure::Io(io::ErrorKind::NotFound.into()).is_closed_pipe());
    }
}

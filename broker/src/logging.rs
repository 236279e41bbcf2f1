//! The broker's own log: text or JSON to standard error, with the configured filter.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{LogFormat, LogOutput};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("`log.level` {level:?} is not a level or filter: {reason}")]
    Filter { level: String, reason: String },
    #[error("a log is already set up in this process")]
    Twice,
}

/// Sets the log up for the whole process. Once.
pub fn start(settings: &LogOutput) -> Result<(), LoggingError> {
    let subscriber = subscriber(settings, std::io::stderr, std::io::stderr().is_terminal())?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::Twice)
}

type Subscriber = Box<dyn tracing::Subscriber + Send + Sync>;

fn subscriber<W>(settings: &LogOutput, writer: W, colours: bool) -> Result<Subscriber, LoggingError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&settings.level)
        .map_err(|error| LoggingError::Filter { level: settings.level.clone(), reason: error.to_string() })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours);
    Ok(match settings.format {
        LogFormat::Text => Box::new(builder.finish()),
        LogFormat::Json => Box::new(builder.json().flatten_event(true).with_current_span(false).finish()),
    })
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written of one warning and one message for developers.
    fn written(format: LogFormat, level: &str) -> String {
        let written = Written::default();
        let writer = written.clone();
        let settings = LogOutput { format, level: level.to_owned() };
        let subscriber = subscriber(&settings, move || writer.clone(), false).expect("a valid filter");
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(topic = "orders", "kept");
            tracing::debug!("left out");
        });
        let bytes = written.0.lock().clone();
        String::from_utf8(bytes).expect("logs are text")
    }

    #[test]
    fn text_and_json_obey_the_filter() {
        let text = written(LogFormat::Text, "info");
        assert!(text.contains("WARN") && text.contains("kept topic=\"orders\""), "{text}");
        assert!(!text.contains("left out"));
        let json: serde_json::Value = serde_json::from_str(&written(LogFormat::Json, "info")).expect("one JSON object");
        assert_eq!(
            (&json["message"], &json["topic"], &json["level"]),
            (&"kept".into(), &"orders".into(), &"WARN".into())
        );
        assert!(written(LogFormat::Text, "info,lockgate=debug").contains("left out"));
        assert_eq!(written(LogFormat::Text, "error"), "");
    }
}

//! Log lines as the plugin host reads them on stderr: `[LEVEL] message key=value`, one a line.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Sends logs to Terraform, at the level that `TF_LOG_PROVIDER` or `TF_LOG` asks for.
pub(super) fn start() {
    let asked = std::env::var("TF_LOG_PROVIDER").or_else(|_| std::env::var("TF_LOG")).unwrap_or_default();
    let filter = EnvFilter::new(filter(&asked));
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).event_format(HostFormat).with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = subscriber.try_init();
}

/// The layers under the protocol speak of frames, which helps nobody who debugs a provider.
fn filter(asked: &str) -> String {
    let level = match asked.to_ascii_lowercase().as_str() {
        "trace" | "json" => "trace",
        "debug" => "debug",
        "warn" => "warn",
        "error" => "error",
        "off" => "off",
        _ => "info",
    };
    format!("{level},h2=warn,hyper=warn,hyper_util=warn,tonic=warn,tower=warn,rustls=warn")
}

struct HostFormat;

impl<S, N> FormatEvent<S, N> for HostFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let text = format!("{}: {}{}", metadata.target(), fields.message, fields.others);
        // The host takes each line for a message of its own.
        writeln!(writer, "[{}] {}", metadata.level(), text.replace('\n', " "))
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.others, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panics while it writes").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_is_one_line_with_its_level_first() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber =
            tracing_subscriber::fmt().event_format(HostFormat).with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "lockgate", broker = 3, "two\nlines");
        });
        let bytes = sink.0.lock().expect("no writer panicked").clone();
        assert_eq!(String::from_utf8(bytes).expect("text"), "[WARN] lockgate: two lines broker=3\n");
    }

    #[test]
    fn terraforms_levels_are_understood() {
        assert!(filter("TRACE").starts_with("trace,"));
        assert!(filter("JSON").starts_with("trace,"));
        assert!(filter("").starts_with("info,"));
        assert!(filter("WARN").starts_with("warn,"));
    }
}

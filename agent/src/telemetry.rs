//! Logs: JSON lines in the daemon, lines for people in the commands; always to standard error,
//! since standard output is for data.

use std::{fmt, io, str::FromStr};

use tracing::Subscriber;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line, with time, level, target and fields.
    Json,
    /// One line for a person, without the time.
    Text,
}

impl FromStr for LogFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(Error::Format),
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format is neither `json` nor `text`.
    #[error("failed to read the format of logs")]
    Format,
    /// The level can not be read.
    #[error("failed to read the level of logs")]
    Level(#[source] tracing_subscriber::filter::ParseError),
    /// Logging had started already.
    #[error("failed to start logging twice")]
    Started(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts logging for the whole process, once. `level` is as `logLevel` of the configuration.
pub fn start(format: LogFormat, level: &str) -> Result<(), Error> {
    tracing::subscriber::set_global_default(subscriber(format, level, io::stderr)?)
        .map_err(Error::Started)
}

/// What [`start`] installs, writing elsewhere.
fn subscriber<W>(
    format: LogFormat,
    level: &str,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, Error>
where
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    // The libraries' own chatter is of use only to who asks for it by name.
    let directives = format!("hyper=warn,h2=warn,sqlx=warn,hickory_proto=warn,{level}");
    let filter = EnvFilter::try_new(directives).map_err(Error::Level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Text => {
            Box::new(builder.compact().without_time().with_target(false).with_ansi(false).finish())
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::secret::Secret;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(format, level, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let token = Secret::new("s3cr3t").unwrap();
            tracing::info!(plan = "9f3c", waves = 3, ?token, "planned");
            tracing::debug!("hidden");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_has_one_object_a_line() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(
            (&line["message"], &line["plan"], &line["waves"]),
            (&"planned".into(), &"9f3c".into(), &3.into())
        );
        assert_eq!(line["level"], "INFO");
        assert!(line["timestamp"].is_string());
    }

    #[test]
    fn text_is_for_people_and_secrets_are_in_neither() {
        let text = logged(LogFormat::Text, "info");
        assert!(text.contains("planned") && text.contains("plan=\"9f3c\""), "{text}");
        assert!(!text.contains('\u{1b}'));
        assert!(!text.contains("s3cr3t") && !logged(LogFormat::Json, "info").contains("s3cr3t"));
    }

    #[test]
    fn the_level_decides_what_is_logged() {
        assert!(logged(LogFormat::Text, "debug").contains("hidden"));
        assert!(!logged(LogFormat::Text, "info").contains("hidden"));
        assert_eq!(logged(LogFormat::Text, "error"), "");
        assert!(matches!(subscriber(LogFormat::Text, "a=b=c", io::sink), Err(Error::Level(_))));
        assert!("yaml".parse::<LogFormat>().is_err());
    }
}

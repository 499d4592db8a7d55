//! How a command fails: an exit code, and what the terminal is told.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use wherd_server::config::{ConfigError, UnknownServer};

use crate::output::complain;

/// The exit codes, as `wherd --help` lists them. 69, 75, 76 and 78 are those of sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// A refusal, bad input, a fault of the system.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// No server answers there.
    Unreachable = 69,
    /// A port, or a journal, is in use.
    PortInUse = 75,
    /// A newer run of the same server has taken its place.
    Superseded = 76,
    /// The configuration cannot be used.
    Configuration = 78,
}

/// Why a command ends early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Told as one sentence and what to do about it.
    Plain {
        /// What the process ends with.
        code: u8,
        /// Read after "error: "; `None` where everything has been said.
        message: Option<String>,
        /// Read after "help: ".
        help: Option<String>,
    },
    /// Told with the lines of the file.
    Configuration(Box<ConfigError>),
    /// Whoever read our output has had enough; that is no failure of ours.
    OutputClosed,
}

impl Failure {
    /// Ends with `code` and a sentence.
    pub(crate) fn new(code: Code, message: impl Display) -> Self {
        Self::Plain {
            code: code as u8,
            message: Some(message.to_string()),
            help: None,
        }
    }

    /// Ends with `code`; what there is to say has been said.
    pub(crate) const fn silent(code: u8) -> Self {
        Self::Plain {
            code,
            message: None,
            help: None,
        }
    }

    /// Adds what to do about it.
    pub(crate) fn help(mut self, text: impl Display) -> Self {
        if let Self::Plain { help, .. } = &mut self {
            *help = Some(text.to_string());
        }
        self
    }

    /// Tells the terminal; returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Plain {
                code,
                message,
                help,
            } => {
                if let Some(message) = message {
                    complain(format_args!("error: {message}"));
                }
                if let Some(help) = help {
                    complain(format_args!("help: {help}"));
                }
                ExitCode::from(code)
            }
            Self::Configuration(error) => {
                // The report's debug format is the one with the lines of the file.
                complain(format_args!("{:?}", miette::Report::new(*error)));
                ExitCode::from(Code::Configuration as u8)
            }
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Configuration(Box::new(error))
    }
}

impl From<UnknownServer> for Failure {
    fn from(error: UnknownServer) -> Self {
        Self::new(Code::Configuration, error)
    }
}

/// Says what was tried when the system refused it.
pub(crate) trait Context<T> {
    /// Turns the error into "failed to {what}: {error}".
    fn context(self, what: impl Display) -> Result<T, Failure>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Code::Failed, format!("failed to {what}: {error}")))
    }
}

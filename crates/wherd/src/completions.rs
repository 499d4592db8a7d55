//! `wherd completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output::print;

/// Print the completions of a shell.
#[derive(Args)]
#[command(after_help = "\
Example:
  wherd completions bash > ~/.local/share/bash-completion/completions/wherd")]
pub(crate) struct Completions {
    /// Which shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "wherd", &mut script);
        print(script)
    }
}

//! Which file applies.

use std::env;
use std::path::{Path, PathBuf};

use super::{Config, ConfigError};

/// What of a process decides where a configuration is looked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Surroundings {
    /// `$WHERD_CONFIG`; an empty one is none.
    pub(super) wherd_config: Option<PathBuf>,
    /// The folder that `./wherd.toml` is in.
    pub(super) current_dir: PathBuf,
    /// `$XDG_CONFIG_HOME`, or `~/.config`.
    pub(super) config_home: Option<PathBuf>,
    /// `/etc`.
    pub(super) etc: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub(super) fn of_this_process() -> Self {
        let folder = |name| env::var_os(name).map(PathBuf::from);
        // The XDG specification: a path that is not absolute is to be ignored.
        let absolute = |name| folder(name).filter(|path: &PathBuf| path.is_absolute());
        Self {
            wherd_config: folder("WHERD_CONFIG").filter(|path| !path.as_os_str().is_empty()),
            current_dir: PathBuf::new(),
            config_home: absolute("XDG_CONFIG_HOME")
                .or_else(|| absolute("HOME").map(|home| home.join(".config"))),
            etc: PathBuf::from("/etc"),
        }
    }

    /// The files that apply if they exist, the first one first.
    fn optional_files(&self) -> Vec<PathBuf> {
        let homes = [self.config_home.as_ref(), Some(&self.etc)];
        let in_homes = homes.into_iter().flatten();
        std::iter::once(self.current_dir.join("wherd.toml"))
            .chain(in_homes.map(|home| home.join("wherd").join("wherd.toml")))
            .collect()
    }
}

/// [`Config::find`] in any surroundings.
pub(super) fn find(explicit: Option<&Path>, around: &Surroundings) -> Result<Config, ConfigError> {
    if let Some(path) = explicit.or(around.wherd_config.as_deref()) {
        return Config::read(path);
    }
    let files = around.optional_files();
    // A file that is there but may not be read is an error: another one would be a surprise.
    match files.iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Config::read(path),
        None => Ok(Config::default()),
    }
}

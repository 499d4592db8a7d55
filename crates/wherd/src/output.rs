//! Printing, and writing files that are whole or not there.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use tempfile::NamedTempFile;

use crate::failure::{Code, Context, Failure};

/// Prints these bytes and nothing else.
pub(crate) fn print(bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes.as_ref());
    written.and_then(|()| stdout.flush()).map_err(not_printed)
}

fn not_printed(error: io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        Failure::OutputClosed
    } else {
        Failure::new(Code::Failed, format!("failed to print: {error}"))
    }
}

/// Says a line on standard error.
///
/// `eprintln!` panics where nobody reads any more, and a herd must outlive a closed terminal.
pub(crate) fn complain(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Prints a value as one line of JSON, piece by piece: it may be larger than memory.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(io::stdout().lock());
    // All that can fail is the writing: our values have texts for keys.
    let written = serde_json::to_writer(&mut stdout, value).map_err(io::Error::from);
    let written = written.and_then(|()| stdout.write_all(b"\n"));
    written.and_then(|()| stdout.flush()).map_err(not_printed)
}

/// A value as one line of JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map_err(|error| Failure::new(Code::Failed, format!("failed to write JSON: {error}")))
}

/// An empty table with these column titles, two spaces between columns and no lines.
pub(crate) fn table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(titles);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The table's lines, without the white space at their ends.
pub(crate) fn table_lines(table: &Table) -> String {
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// "42 bytes", "1.5 MB".
pub(crate) fn size(bytes: usize) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Writes a file so that whoever sees it sees all of it: beside its place, then renamed.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let what = || format!("write {}", path.display());
    let mut file = beside(path).context(what())?;
    file.write_all(bytes).context(what())?;
    put_in_place(file, path)
}

/// A file in the folder of `path` that goes away unless [`put_in_place`] keeps it.
pub(crate) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".wherd-").permissions(readable_by_all());
    builder.tempfile_in(folder)
}

/// Renames a file that [`beside`] made.
pub(crate) fn put_in_place(file: NamedTempFile, path: &Path) -> Result<(), Failure> {
    file.persist(path)
        .map_err(|error| error.error)
        .context(format!("write {}", path.display()))?;
    Ok(())
}

/// The permissions of an ordinary new file, of which the umask takes some away.
fn readable_by_all() -> std::fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::Permissions::from_mode(0o666)
}

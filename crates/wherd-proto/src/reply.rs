//! What a client is answered, written behind what a buffer has.

use crate::model::{AtText, ServerName};

/// `AT Hill +0.263873386 kiwi +34.068930-118.445127 1621464827.959498503` and a newline.
pub fn write_at(out: &mut Vec<u8>, server: &ServerName, at: AtText<'_>) {
    out.extend_from_slice(b"AT ");
    out.extend_from_slice(server.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(at.as_bytes());
    out.push(b'\n');
}

/// `LIKES Zeus 42` and a newline.
pub fn write_likes(out: &mut Vec<u8>, article: &[u8], count: i64) {
    out.extend_from_slice(b"LIKES ");
    out.extend_from_slice(article);
    out.extend_from_slice(format!(" {count}\n").as_bytes());
}

/// `? `, the line as it came, and a newline.
pub fn write_refusal(out: &mut Vec<u8>, line: &[u8]) {
    out.extend_from_slice(b"? ");
    out.extend_from_slice(line);
    out.push(b'\n');
}

/// The two newlines that end an answer with places, behind its AT line and its document.
pub fn write_end_of_places(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\n\n");
}

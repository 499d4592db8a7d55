//! What it costs to find places and to write the document.

fn main() {}

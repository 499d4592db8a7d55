//! The crate's tests from outside, as the server uses it.

mod embedded;

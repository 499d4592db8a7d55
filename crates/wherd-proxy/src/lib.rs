//! Asks the places services of others, and as seldom as possible.
//!
//! A question goes through what saves its asker money: answers from before, one call for all who ask
//! the same, a daily budget, a rate, a bound on the calls under way, a breaker; then HTTP, with
//! retries inside a deadline. What comes back becomes a [`wherd_places::Document`], whoever told it.
//! Nothing that a service does reaches further than one answer that says what went wrong.
//!
//! In reading order: [`circle`], what is asked; [`provider`], who is asked, in which words;
//! [`failure`], what may come of it; [`remote`], one provider behind all that saves; [`chain`],
//! one after the other; [`cost`], what it would have cost; [`doctor`], what is wrong with a key.

#![forbid(unsafe_code)]

pub mod circle;

pub mod provider;

pub mod failure;

mod breaker;
pub mod budget;
mod cache;
pub mod http;
pub mod key;

pub mod remote;

pub mod chain;

pub mod cost;
pub mod doctor;

pub use budget::{Budget, Spent};
pub use chain::{Asked, Chain};
pub use circle::Circle;
pub use failure::{Denial, Failure, Kind};
pub use http::{Request, Transport, Web};
pub use key::Key;
pub use provider::{Mask, Provider};
pub use remote::{Event, How, Observer, Remote, RemoteSettings, Told};

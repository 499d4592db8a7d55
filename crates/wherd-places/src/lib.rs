//! Places: what is near a position, from an index that is nothing but bytes.
//!
//! A places file is one run of bytes that is searched where it lies: nothing is built when it is
//! opened, so that a server starts at once and all servers of a machine share the pages. The
//! embedded one (towns of GeoNames, airports of airportsdata) is part of the program; others are
//! made by [`import`]. What is found is told in the document of a Google Places Nearby Search.
//!
//! Pure: no clock, socket, file, thread, randomness or hash order. Importers are given readers,
//! the index is given bytes.
//!
//! In reading order: [`place`], the noun; [`index`], the verb *nearby*; [`document`], [`hours`] and
//! [`plus_code`], the answer; `sphere`, `tree` and `layout`, how the bytes are arranged and
//! searched; [`writer`], who makes them, with [`zone`]; [`osm`] and [`import`], where places come
//! from.

#![forbid(unsafe_code)]

pub mod place;

pub mod index;

pub mod distance;
pub mod document;
pub mod hours;
pub mod plus_code;

mod layout;
mod open;
mod search;
mod sphere;
mod tree;

pub mod zone;

pub mod writer;

pub mod import;
pub mod osm;

pub use document::Document;
pub use index::{Found, Index, PlaceRef, Rank};
pub use open::IndexError;
pub use place::{BusinessStatus, Place, PlaceId, Source};

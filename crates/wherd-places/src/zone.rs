//! The time zone of a position.
//!
//! By the boundaries of timezone-boundary-builder, which are made of OpenStreetMap and simplified: near
//! a border, to a few hundred metres, the neighbour's zone may be told. Needed where places are
//! written and not where they are asked for.

use std::sync::LazyLock;
use tzf_rs::EmbeddedFinder;
use wherd_proto::Position;

/// Looks the boundaries up where they lie in the program, so that nothing is built first.
static FINDER: LazyLock<EmbeddedFinder> = LazyLock::new(EmbeddedFinder::new);

/// The IANA name of the time zone at a position, such as `Europe/Helsinki`; empty where none is known.
#[must_use]
pub fn of(position: Position) -> &'static str {
    FINDER.get_tz_name(position.longitude_degrees(), position.latitude_degrees())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_has_a_zone() {
        for (position, expected) in [
            ("+60.1710+024.9414", "Europe/Helsinki"),
            ("+43.7384+007.4246", "Europe/Monaco"),
            ("+40.7680-073.9815", "America/New_York"),
            ("+27.7172+085.3240", "Asia/Kathmandu"),
            ("-18.1416+178.4419", "Pacific/Fiji"),
            ("-36.8485+174.7633", "Pacific/Auckland"),
            ("+0+0", "Etc/GMT"),
            ("+0+180", "Etc/GMT-12"),
            ("+0-180", "Etc/GMT+12"),
            ("+90+0", "Etc/GMT"),
            ("-90+0", "Antarctica/McMurdo"),
        ] {
            let at = Position::parse(position.as_bytes()).expect("a position");
            assert_eq!(of(at), expected, "{position}");
        }
    }
}

//! What calls cost.
//!
//! Google's price list for web services, <https://developers.google.com/maps/billing-and-pricing/pricing>:
//! for each SKU and month so many calls for nothing, then a price for a thousand that falls with
//! their number. In US dollars, as of 2025; prices change, and the list is the authority.

use crate::provider::{Mask, Service};

/// A step of a price list: up to so many calls a month, a thousand cost so much.
type Step = (u64, f64);

const PRO: [Step; 6] = [
    (5_000, 0.0),
    (100_000, 32.0),
    (500_000, 25.6),
    (1_000_000, 19.2),
    (5_000_000, 9.6),
    (u64::MAX, 2.4),
];

const ENTERPRISE: [Step; 6] = [
    (1_000, 0.0),
    (100_000, 35.0),
    (500_000, 28.0),
    (1_000_000, 21.0),
    (5_000_000, 10.5),
    (u64::MAX, 2.63),
];

/// The legacy service's Nearby Search, with the contact and atmosphere data that always come with it.
const LEGACY: [Step; 6] = [
    (5_000, 0.0),
    (100_000, 40.0),
    (500_000, 32.0),
    (1_000_000, 24.0),
    (5_000_000, 12.0),
    (u64::MAX, 3.03),
];

/// What so many calls in one month cost, in US dollars.
#[must_use]
pub fn month_usd(service: Service, mask: Mask, calls: u64) -> f64 {
    let steps = match (service, mask) {
        (Service::Overpass, _) => return 0.0,
        (Service::GoogleLegacy, _) => LEGACY,
        (Service::Google, Mask::Pro) => PRO,
        (Service::Google, Mask::Full) => ENTERPRISE,
    };
    let mut below = 0;
    let mut usd = 0.0;
    for (up_to, thousand_usd) in steps {
        let within = calls.min(up_to).saturating_sub(below);
        usd += within as f64 / 1000.0 * thousand_usd;
        below = up_to;
    }
    usd
}

/// What one call costs beyond those for nothing, in US dollars.
#[must_use]
pub fn call_usd(service: Service, mask: Mask) -> f64 {
    match (service, mask) {
        (Service::Overpass, _) => 0.0,
        (Service::GoogleLegacy, _) => LEGACY[1].1 / 1000.0,
        (Service::Google, Mask::Pro) => PRO[1].1 / 1000.0,
        (Service::Google, Mask::Full) => ENTERPRISE[1].1 / 1000.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_add_up() {
        let usd = |calls| month_usd(Service::Google, Mask::Pro, calls);
        assert!(usd(5_000).abs() < 1e-9);
        assert!((usd(6_000) - 32.0).abs() < 1e-9);
        assert!((usd(100_000) - 95.0 * 32.0).abs() < 1e-9);
        assert!((usd(200_000) - (95.0 * 32.0 + 100.0 * 25.6)).abs() < 1e-6);
        assert!(month_usd(Service::Overpass, Mask::Pro, 1 << 40).abs() < 1e-9);
    }
}

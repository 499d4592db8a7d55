//! Great-circle distances between positions, on the sphere that the index searches.

use crate::sphere::EARTH_RADIUS_M;
use wherd_proto::Position;

/// Metres along a meridian for one degree.
#[must_use]
pub fn metres_per_degree() -> f64 {
    EARTH_RADIUS_M.to_radians()
}

/// The great-circle distance in metres. Exact to a micrometre, also at the poles and across the
/// antimeridian.
#[must_use]
pub fn distance_m(a: Position, b: Position) -> f64 {
    let (a, b) = (unit_vector(a), unit_vector(b));
    let chord2: f64 = (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum();
    2.0 * EARTH_RADIUS_M * (chord2.sqrt() / 2.0).min(1.0).asin()
}

fn unit_vector(position: Position) -> [f64; 3] {
    let (sin_latitude, cos_latitude) = position.latitude_degrees().to_radians().sin_cos();
    let (sin_longitude, cos_longitude) = position.longitude_degrees().to_radians().sin_cos();
    [
        cos_latitude * cos_longitude,
        cos_latitude * sin_longitude,
        sin_latitude,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(a: (i32, i32), b: (i32, i32)) -> f64 {
        let at = |(latitude, longitude): (i32, i32)| {
            Position::from_e7(latitude * 10_000_000, longitude * 10_000_000).expect("on the earth")
        };
        distance_m(at(a), at(b))
    }

    #[test]
    fn distances_are_those_of_the_sphere() {
        let degree = metres_per_degree();
        for (a, b, degrees) in [
            ((0, 0), (0, 1), 1.0),
            ((0, 179), (0, -179), 2.0),
            ((90, 0), (90, 77), 0.0),
            ((89, 0), (89, 180), 2.0),
            ((0, 0), (0, 180), 180.0),
            ((-90, 0), (90, 0), 180.0),
        ] {
            let error = between(a, b) - degrees * degree;
            assert!(error.abs() < 1e-3, "{a:?} {b:?}: {error} m");
        }
    }
}

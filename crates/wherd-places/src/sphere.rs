//! Positions as points of a sphere, in integers: no poles, no antimeridian, no rounding in the
//! search.
//!
//! A point is a vector of length 2^30, so that a unit is 6 mm on the ground, finer than the
//! 11 mm of a [`Position`](wherd_proto::Position). Distances are compared as squares of chords:
//! at most 2^62, exact in `u64`, and the same on every machine.

/// Mean radius of the earth, R1 of the IUGG, in metres.
pub(crate) const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// Length of the vectors.
const UNITS_PER_RADIUS: f64 = (1_u32 << 30) as f64;

/// The point of the sphere at a position in units of 1e-7 degree.
pub(crate) fn point(latitude_e7: i32, longitude_e7: i32) -> [i32; 3] {
    let latitude = (f64::from(latitude_e7) / 1e7).to_radians();
    let longitude = (f64::from(longitude_e7) / 1e7).to_radians();
    let (sin_latitude, cos_latitude) = latitude.sin_cos();
    let (sin_longitude, cos_longitude) = longitude.sin_cos();
    [
        cos_latitude * cos_longitude,
        cos_latitude * sin_longitude,
        sin_latitude,
    ]
    .map(|coordinate| (coordinate * UNITS_PER_RADIUS).round() as i32)
}

/// The square of the chord between two points.
pub(crate) fn chord2(a: [i32; 3], b: [i32; 3]) -> u64 {
    let square = |axis: usize| {
        let delta = i64::from(a[axis]).abs_diff(i64::from(b[axis]));
        delta.wrapping_mul(delta)
    };
    // Wraps only for points that are not on the sphere: those of a forged file.
    square(0).wrapping_add(square(1)).wrapping_add(square(2))
}

/// The square of the longest chord within a great-circle radius; `None` where nothing is, as the
/// radius is negative or no number.
pub(crate) fn chord2_of_radius(radius_m: f64) -> Option<u64> {
    if radius_m.is_nan() || radius_m < 0.0 {
        return None;
    }
    let half_angle = radius_m / EARTH_RADIUS_M / 2.0;
    if half_angle >= std::f64::consts::FRAC_PI_2 {
        return Some(u64::MAX);
    }
    let chord = 2.0 * half_angle.sin() * UNITS_PER_RADIUS;
    Some((chord * chord) as u64)
}

/// The great-circle distance, in metres, of two points that are a chord apart.
pub(crate) fn metres_of_chord2(chord2: u64) -> f64 {
    let half_chord = (chord2 as f64).sqrt() / UNITS_PER_RADIUS / 2.0;
    2.0 * EARTH_RADIUS_M * half_chord.min(1.0).asin()
}

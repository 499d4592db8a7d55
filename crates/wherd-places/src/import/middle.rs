//! The middle of an outline, as it is told point by point.

use wherd_proto::Position;

/// The box around points, in which none is further than half a turn from the first.
///
/// Longitudes are counted from the first one, so that no box goes the long way around.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Middle {
    first_longitude: f64,
    box_: Option<[f64; 4]>,
    is_off: bool,
}

impl Middle {
    /// Takes a point, in degrees.
    pub(super) fn add(&mut self, latitude: f64, longitude: f64) {
        if Position::from_degrees(latitude, longitude).is_none() {
            self.is_off = true;
            return;
        }
        let Some([south, west, north, east]) = self.box_ else {
            self.first_longitude = longitude;
            self.box_ = Some([latitude, 0.0, latitude, 0.0]);
            return;
        };
        let from_first = longitude - self.first_longitude;
        let from_first = if from_first > 180.0 {
            from_first - 360.0
        } else if from_first <= -180.0 {
            from_first + 360.0
        } else {
            from_first
        };
        self.box_ = Some([
            south.min(latitude),
            west.min(from_first),
            north.max(latitude),
            east.max(from_first),
        ]);
    }

    /// Whether there was any point, on the earth or not.
    pub(super) const fn is_empty(&self) -> bool {
        self.box_.is_none() && !self.is_off
    }

    /// Where the middle is; `None` where a point is not on the earth, or there is none.
    pub(super) fn position(&self) -> Option<Position> {
        let [south, west, north, east] = self.box_.filter(|_| !self.is_off)?;
        let longitude = self.first_longitude + f64::midpoint(west, east);
        let longitude = if longitude > 180.0 {
            longitude - 360.0
        } else if longitude < -180.0 {
            longitude + 360.0
        } else {
            longitude
        };
        Position::from_degrees(f64::midpoint(south, north), longitude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_on_the_near_side() {
        for (points, expected) in [
            (&[(1.0, 2.0)][..], Some((1.0, 2.0))),
            (&[(0.0, 179.0), (2.0, -179.0)], Some((1.0, 180.0))),
            (&[(0.0, -179.0), (2.0, 178.0)], Some((1.0, 179.5))),
            (&[(0.0, 179.0), (0.0, -178.0)], Some((0.0, -179.5))),
            (&[(0.0, -180.0), (0.0, 180.0)], Some((0.0, -180.0))),
            (&[(90.0, 180.0)], Some((90.0, 180.0))),
            (&[(0.0, 0.0), (91.0, 0.0)], None),
            (&[(f64::NAN, 0.0)], None),
            (&[], None),
        ] {
            let mut middle = Middle::default();
            for (latitude, longitude) in points {
                middle.add(*latitude, *longitude);
            }
            let expected = expected.and_then(|(lat, lon)| Position::from_degrees(lat, lon));
            assert_eq!(middle.position(), expected, "{points:?}");
        }
    }
}

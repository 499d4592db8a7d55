//! What is asked: a circle on the earth, and the cells that nearly equal circles share.

use wherd_places::distance::{distance_m, metres_per_degree};
use wherd_proto::Position;

/// The widest circle that any provider is asked for, in metres.
pub const MAX_RADIUS_M: f64 = 50_000.0;

/// The least and the greatest side of a cell, in metres.
const CELL_M: (f64, f64) = (50.0, 1_000.0);

/// A position and a radius around it, its end included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Circle {
    /// The middle.
    pub centre: Position,
    /// In millimetres.
    pub radius_mm: u32,
}

impl Circle {
    /// The radius in metres.
    #[must_use]
    pub fn radius_m(&self) -> f64 {
        f64::from(self.radius_mm) / 1000.0
    }

    /// Whether a position is within it.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        distance_m(self.centre, position) <= self.radius_m()
    }

    /// Whether all of another circle is within it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        distance_m(self.centre, other.centre) + other.radius_m() <= self.radius_m()
    }

    /// The circle to ask for instead, so that all who are about here ask the same: around the
    /// middle of a cell, and wider by as much as anybody in the cell is away from there.
    ///
    /// The circle itself where that would be wider than any provider answers.
    #[must_use]
    pub fn of_cell(&self) -> Self {
        let side_m = (self.radius_m() / 4.0).clamp(CELL_M.0, CELL_M.1);
        // The side of a square and half of its diagonal, and a millimetre for rounding.
        let margin_m = side_m * std::f64::consts::FRAC_1_SQRT_2 + 0.001;
        if self.radius_m() + margin_m > MAX_RADIUS_M {
            return *self;
        }
        Self {
            centre: cell_centre(self.centre, side_m),
            radius_mm: self.radius_mm + (margin_m * 1000.0).ceil() as u32,
        }
    }
}

/// The middle of the cell that a position is in: rows of one height from pole to pole, each cut into
/// as many equal cells as it takes for none to be wider than `side_m`, so that no cell crosses the
/// antimeridian.
fn cell_centre(position: Position, side_m: f64) -> Position {
    const TURN_E7: f64 = 3_600_000_000.0;
    let row_count = (180.0 * metres_per_degree() / side_m).ceil();
    let height_e7 = TURN_E7 / 2.0 / row_count;
    let from_south_e7 = f64::from(position.latitude_e7()) + TURN_E7 / 4.0;
    let row = (from_south_e7 / height_e7).floor().min(row_count - 1.0);
    let (south_e7, north_e7) = (
        row * height_e7 - TURN_E7 / 4.0,
        (row + 1.0) * height_e7 - TURN_E7 / 4.0,
    );
    // A row is widest at its edge that is nearer to the equator.
    let widest_e7 = if south_e7 <= 0.0 && north_e7 >= 0.0 {
        0.0
    } else {
        south_e7.abs().min(north_e7.abs())
    };
    let length_m = 360.0 * metres_per_degree() * (widest_e7 / 1e7).to_radians().cos();
    let column_count = (length_m / side_m).ceil().max(1.0);
    let width_e7 = TURN_E7 / column_count;
    let from_west_e7 = f64::from(position.longitude_e7()) + TURN_E7 / 2.0;
    let column = (from_west_e7 / width_e7).floor().min(column_count - 1.0);
    let latitude_e7 = f64::midpoint(south_e7, north_e7);
    let longitude_e7 = (column + 0.5) * width_e7 - TURN_E7 / 2.0;
    Position::from_e7(latitude_e7.round() as i32, longitude_e7.round() as i32).unwrap_or(position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn circle(latitude_e7: i32, longitude_e7: i32, radius_mm: u32) -> Circle {
        let centre = Position::from_e7(latitude_e7, longitude_e7).expect("on the earth");
        Circle { centre, radius_mm }
    }

    proptest! {
        #[test]
        fn what_is_asked_for_covers_what_is_wanted(
            latitude_e7 in prop_oneof![-900_000_000..=900_000_000_i32, Just(900_000_000), Just(-900_000_000), 899_990_000..=900_000_000],
            longitude_e7 in prop_oneof![-1_800_000_000..=1_800_000_000_i32, Just(1_800_000_000), Just(-1_800_000_000)],
            radius_mm in 1..=50_000_000_u32,
        ) {
            let wanted = circle(latitude_e7, longitude_e7, radius_mm);
            let asked = wanted.of_cell();
            prop_assert!(asked.covers(&wanted), "{asked:?} does not cover {wanted:?}");
            prop_assert!(asked.radius_m() <= MAX_RADIUS_M);
            // Not much wider: half of a cell's diagonal, and cells are at most a quarter of it.
            let most = wanted.radius_m() + (wanted.radius_m() / 4.0).clamp(50.0, 1_000.0) * 0.7072 + 0.01;
            prop_assert!(asked.radius_m() <= most);
        }

        #[test]
        fn the_middle_of_a_cell_is_in_that_cell(
            latitude_e7 in -900_000_000..=900_000_000_i32,
            longitude_e7 in -1_800_000_000..=1_800_000_000_i32,
            radius_mm in 1..=49_000_000_u32,
        ) {
            let asked = circle(latitude_e7, longitude_e7, radius_mm).of_cell();
            let again = Circle { radius_mm, ..asked }.of_cell();
            prop_assert_eq!(again, asked);
        }
    }

    #[test]
    fn those_who_are_together_ask_the_same() {
        let (here, there) = (
            circle(340_689_000, -1_184_452_000, 5_000_000),
            circle(340_689_900, -1_184_452_900, 5_000_000),
        );
        assert_eq!(here.of_cell(), there.of_cell());
    }

    #[test]
    fn the_widest_circle_is_asked_for_as_it_is() {
        let widest = circle(340_689_000, -1_184_452_000, 50_000_000);
        assert_eq!(widest.of_cell(), widest);
    }
}

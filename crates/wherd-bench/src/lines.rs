//! Writes lines, some nanoseconds each.
//!
//! All lines of a command have the same length. So a line is a copy of a pattern, and digits in it
//! are written over; nothing is formatted, and nothing is allocated.

use std::ops::Range;

use oorandom::Rand64;

use crate::workload::{Movement, Workload};

/// A coordinate is kept in millionths of a degree: a tenth of a metre.
const MICRODEGREES: i32 = 1_000_000;
/// How far from its middle a city goes.
const CITY_RADIUS: i32 = MICRODEGREES / 4;
/// Where clients are, by turns, so that questions find places: middles of cities, in degrees.
const CITIES: [(f64, f64); 12] = [
    (34.0689, -118.4451),
    (60.1710, 24.9414),
    (52.5200, 13.4050),
    (35.6895, 139.6917),
    (-33.8679, 151.2073),
    (-23.5475, -46.6361),
    (40.7143, -74.0060),
    (48.8534, 2.3488),
    (19.0728, 72.8826),
    (-1.2833, 36.8167),
    (19.4285, -99.1277),
    (30.0626, 31.2497),
];
/// A position as it is written: `+dd.dddddd-ddd.dddddd`.
const POSITION_BYTES: usize = 21;
/// A time as it is written, until the year 2286.
const TIME_BYTES: usize = 20;

/// The commands that are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    IAmAt,
    WhatsAt,
}

/// The lines of one connection and of the clients that are its own.
pub(crate) struct Lines {
    random: Rand64,
    movement: Movement,
    /// How far a walk goes north in a report, in millionths of a degree.
    step: i32,
    whatsat_per_mille: u32,
    /// Its clients: from which, and every how many of all.
    first_client: u64,
    stride: u64,
    own_count: u64,
    /// Where those are that walk, and where the walk is not north or south but longer in degrees.
    walked: Vec<[i32; 2]>,
    iamat: Pattern,
    whatsat: Pattern,
    last_time_ns: u64,
}

/// What all lines of a command have in common, and where they differ.
struct Pattern {
    line: Vec<u8>,
    id_digits: Range<usize>,
}

impl Lines {
    /// Those of connection `number` of `connection_count`.
    pub(crate) fn new(workload: &Workload, number: usize, connection_count: usize) -> Self {
        let (number, stride) = (number as u64, connection_count as u64);
        let first_client = number % workload.client_count;
        let after_first = workload.client_count - 1 - first_client;
        let own_count = if number < workload.client_count {
            after_first / stride + 1
        } else {
            1
        };
        let place =
            |own: u64| city_place(first_client + own * stride, &mut Rand64::new(own.into()));
        let walked = match workload.movement {
            Movement::Walk(_) => (0..own_count).map(place).collect(),
            Movement::Still | Movement::Jump => Vec::new(),
        };
        let step_m = match workload.movement {
            Movement::Walk(metres) => i64::from(metres),
            Movement::Still | Movement::Jump => 0,
        };
        let id = workload.id_prefix();
        let digits = workload.id_digits();
        let zeros = "0".repeat(digits);
        let (position, time) = ("0".repeat(POSITION_BYTES), "0".repeat(TIME_BYTES));
        let (radius, bound) = (&workload.radius_km, workload.bound);
        Self {
            random: Rand64::new(u128::from(workload.seed) << 64 | u128::from(number)),
            movement: workload.movement,
            // A degree is 111,195 m.
            step: (step_m * 1_000_000 / 111_195).min(1_000_000) as i32,
            whatsat_per_mille: workload.whatsat_per_mille,
            first_client,
            stride,
            own_count,
            walked,
            iamat: Pattern::new(
                "IAMAT ",
                &id,
                &format!("{zeros} {position} {time}\n"),
                digits,
            ),
            whatsat: Pattern::new(
                "WHATSAT ",
                &id,
                &format!("{zeros} {radius} {bound}\n"),
                digits,
            ),
            last_time_ns: 0,
        }
    }

    /// How many clients are its own.
    pub(crate) fn own_count(&self) -> u64 {
        self.own_count
    }

    /// The longest of its lines.
    pub(crate) fn line_bytes(&self) -> usize {
        self.iamat.line.len().max(self.whatsat.line.len())
    }

    /// Adds a line to `out`: of any of its clients, about where it is then.
    pub(crate) fn add(&mut self, out: &mut Vec<u8>, now_ns: u64) -> Command {
        let random = self.random.rand_u64();
        let own = u64::try_from((u128::from(random) * u128::from(self.own_count)) >> 64);
        let own = own.unwrap_or_default();
        // Other bits than those that chose the client.
        let of_thousand = ((random & 0xffff_ffff) * 1_000) >> 32;
        if of_thousand < u64::from(self.whatsat_per_mille) {
            self.whatsat.add(out, self.client(own));
            Command::WhatsAt
        } else {
            self.add_report(out, own, now_ns);
            Command::IAmAt
        }
    }

    /// Adds a report of one of its clients.
    pub(crate) fn add_report(&mut self, out: &mut Vec<u8>, own: u64, now_ns: u64) {
        let client = self.client(own);
        let place = self.place(own, client);
        // No two of its reports have the same time, or which is the newest were by chance.
        self.last_time_ns = now_ns.max(self.last_time_ns + 1);
        let begin = out.len();
        self.iamat.add(out, client);
        let line = &mut out[begin..];
        let end = line.len() - 1;
        let (line, time) = line[..end].split_at_mut(end - TIME_BYTES);
        write_time(time, self.last_time_ns);
        let place_at = line.len() - 1 - POSITION_BYTES;
        write_position(&mut line[place_at..][..POSITION_BYTES], place);
    }

    fn client(&self, own: u64) -> u64 {
        self.first_client + own * self.stride
    }

    fn place(&mut self, own: u64, client: u64) -> [i32; 2] {
        match self.movement {
            Movement::Still => city_place(client, &mut Rand64::new(own.into())),
            Movement::Jump => city_place(client, &mut self.random),
            Movement::Walk(_) => {
                let random = self.random.rand_u64();
                let walked = &mut self.walked[own as usize];
                for (coordinate, half) in walked.iter_mut().zip([random >> 32, random]) {
                    let width = (2 * self.step + 1) as u64;
                    let step = (((half & 0xffff_ffff) * width) >> 32) as i32 - self.step;
                    *coordinate += step;
                }
                // Who walks for long comes no nearer to a pole, nor out of the range.
                walked[0] = walked[0].clamp(-80 * MICRODEGREES, 80 * MICRODEGREES);
                walked[1] = walked[1].clamp(-179 * MICRODEGREES, 179 * MICRODEGREES);
                *walked
            }
        }
    }
}

impl Pattern {
    fn new(command: &str, id_prefix: &str, rest: &str, digits: usize) -> Self {
        let begin = command.len() + id_prefix.len();
        Self {
            line: [command, id_prefix, rest].concat().into_bytes(),
            id_digits: begin..begin + digits,
        }
    }

    fn add(&self, out: &mut Vec<u8>, client: u64) {
        let begin = out.len();
        out.extend_from_slice(&self.line);
        write_digits(&mut out[begin..][self.id_digits.clone()], client);
    }
}

/// Somewhere in the city of this client.
fn city_place(client: u64, random: &mut Rand64) -> [i32; 2] {
    let (latitude, longitude) = CITIES[(client % CITIES.len() as u64) as usize];
    let random = random.rand_u64();
    let offset = |half: u64| {
        let width = 2 * CITY_RADIUS as u64;
        (((half & 0xffff_ffff) * width) >> 32) as i32 - CITY_RADIUS
    };
    let middle = |degrees: f64| (degrees * f64::from(MICRODEGREES)) as i32;
    [
        middle(latitude) + offset(random),
        middle(longitude) + offset(random >> 32),
    ]
}

fn write_position(out: &mut [u8], [latitude, longitude]: [i32; 2]) {
    let (latitude_text, longitude_text) = out.split_at_mut(10);
    write_coordinate(latitude_text, latitude);
    write_coordinate(longitude_text, longitude);
}

/// A sign, whole degrees, a point and six digits.
fn write_coordinate(out: &mut [u8], value: i32) {
    let point = out.len() - 7;
    out[0] = if value < 0 { b'-' } else { b'+' };
    let value = value.unsigned_abs();
    write_digits(&mut out[1..point], u64::from(value / MICRODEGREES as u32));
    out[point] = b'.';
    write_digits(
        &mut out[point + 1..],
        u64::from(value % MICRODEGREES as u32),
    );
}

fn write_time(out: &mut [u8], ns: u64) {
    let (seconds, fraction) = out.split_at_mut(TIME_BYTES - 10);
    write_digits(seconds, ns / 1_000_000_000);
    fraction[0] = b'.';
    write_digits(&mut fraction[1..], ns % 1_000_000_000);
}

/// The last digits of a number, as many as there is room for.
fn write_digits(out: &mut [u8], mut value: u64) {
    let mut pairs = out.rchunks_exact_mut(2);
    for pair in &mut pairs {
        let two = (value % 100) as u8;
        value /= 100;
        pair.copy_from_slice(&[b'0' + two / 10, b'0' + two % 10]);
    }
    if let [first] = pairs.into_remainder() {
        *first = b'0' + (value % 10) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(movement: Movement) -> Workload {
        Workload {
            client_count: 100,
            movement,
            ..Workload::default()
        }
    }

    fn line(lines: &mut Lines, own: u64, now_ns: u64) -> String {
        let mut out = Vec::new();
        lines.add_report(&mut out, own, now_ns);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_report_has_the_form_of_the_protocol() {
        let mut lines = Lines::new(&workload(Movement::Still), 3, 10);
        let text = line(&mut lines, 2, 1_621_464_827_000_000_005);
        let fields: Vec<&str> = text.split(' ').collect();
        assert_eq!(fields[..2], ["IAMAT", "bench-00000000000023"]);
        assert_eq!(fields[3], "1621464827.000000005\n");
        assert_eq!(fields[2].len(), POSITION_BYTES);
        assert!(["+29.", "+30."].contains(&&fields[2][..4]), "{text}");
        // It stays, and its time does not.
        let again = line(&mut lines, 2, 1_621_464_827_000_000_005);
        assert_eq!(again.split(' ').nth(2), Some(fields[2]));
        assert!(again.ends_with("000000006\n"), "{again}");
    }

    #[test]
    fn digits_fill_what_room_there_is() {
        for (room, value, expected) in
            [(1, 7, "7"), (3, 42, "042"), (4, 12_345, "2345"), (0, 1, "")]
        {
            let mut out = vec![b'x'; room];
            write_digits(&mut out, value);
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn who_walks_stays_near_and_who_jumps_does_not() {
        let distance = |movement| {
            let mut lines = Lines::new(&workload(movement), 0, 1);
            let [from, to] = [0, 0].map(|_| lines.place(5, 5));
            from[0].abs_diff(to[0]).max(from[1].abs_diff(to[1]))
        };
        assert_eq!(distance(Movement::Still), 0);
        // Ten metres are ninety millionths of a degree.
        let walked = distance(Movement::Walk(10));
        assert!((1..=90).contains(&walked), "{walked}");
        let jumped = distance(Movement::Jump);
        assert!(jumped > 1_000, "{jumped}");
    }

    #[test]
    fn connections_share_out_the_clients() {
        let of = |clients, number, connections| {
            let workload = Workload {
                client_count: clients,
                ..Workload::default()
            };
            let lines = Lines::new(&workload, number, connections);
            let own = 0..lines.own_count();
            own.map(|own| lines.client(own)).collect::<Vec<_>>()
        };
        assert_eq!(of(7, 0, 3), [0, 3, 6]);
        assert_eq!(of(7, 2, 3), [2, 5]);
        assert_eq!(of(2, 2, 3), [0]);
        assert_eq!(of(1, 0, 1), [0]);
    }

    #[test]
    fn as_many_lines_are_questions_as_was_said() {
        let mut workload = workload(Movement::Jump);
        workload.whatsat_per_mille = 250;
        let mut lines = Lines::new(&workload, 0, 1);
        let mut out = Vec::new();
        let all = (0..10_000).map(|_| lines.add(&mut out, 1));
        let questions = all.filter(|command| *command == Command::WhatsAt).count();
        assert!((2_300..2_700).contains(&questions), "{questions}");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().any(|line| line.ends_with(" 10 5")), "{text}");
    }
}

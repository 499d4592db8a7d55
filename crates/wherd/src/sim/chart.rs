//! Delay against traffic: a point for each policy.

use wherd_sim::measure::{MS, Measured, Setup};

use super::svg::{Anchor, Svg};
use super::table::{floor, for_each, grouped};

const SIZE: (f64, f64) = (760.0, 480.0);
/// The corners of the plot: left and top, right and bottom.
const FROM: (f64, f64) = (80.0, 60.0);
const TO: (f64, f64) = (720.0, 420.0);
/// How far apart labels stand at the least.
const LABEL_HEIGHT: f64 = 15.0;
/// Told apart by people who do not tell red from green, too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];
const GREY: &str = "fill=\"#555\"";

/// The picture: bytes on the links to the right, delay upwards; a disc at p99, a line from p50.
pub(super) fn draw(setup: &Setup, measured: &[Measured]) -> String {
    let bytes = |one: &Measured| for_each(one.byte_count, one);
    let delay_ms = |one: &Measured| one.delay.p99_ns as f64 / MS as f64;
    let most = |of: &dyn Fn(&Measured) -> f64| measured.iter().map(of).fold(0.0, f64::max);
    let (right, up) = (Axis::to(most(&bytes)), Axis::to(most(&delay_ms)));
    let mut svg = Svg::new(SIZE.0, SIZE.1, "Delay against traffic");
    frame(&mut svg, setup, &right, &up);
    let mut labels = Vec::new();
    for (one, colour) in measured.iter().zip(COLOURS.iter().cycle()) {
        let x = FROM.0 + right.part(bytes(one)) * (TO.0 - FROM.0);
        let y = |ms: f64| TO.1 - up.part(ms) * (TO.1 - FROM.1);
        let (top, bottom) = (y(delay_ms(one)), y(one.delay.p50_ns as f64 / MS as f64));
        let stroke = format!("stroke=\"{colour}\" stroke-width=\"2\"");
        svg.line((x, top), (x, bottom), &stroke);
        svg.line((x - 5.0, bottom), (x + 5.0, bottom), &stroke);
        let about = about(one);
        svg.disc((x, top), 5.0, &format!("fill=\"{colour}\""), &about);
        labels.push(((x, top), *colour, about));
    }
    write_labels(&mut svg, labels);
    svg.end()
}

fn about(one: &Measured) -> String {
    format!(
        "{}: {:.2} sends, {:.0} bytes, p99 {:.2} ms",
        one.policy.name(),
        for_each(one.sent_count, one),
        for_each(one.byte_count, one),
        one.delay.p99_ns as f64 / MS as f64
    )
}

fn frame(svg: &mut Svg, setup: &Setup, right: &Axis, up: &Axis) {
    let title = format!(
        "{} servers, {} edges, {} updates at {}/s; floor {} sends",
        setup.topology.names().len(),
        setup.topology.edges().len(),
        grouped(setup.load.update_count as u64),
        grouped(setup.load.rate_per_s),
        floor(setup.topology.names().len()),
    );
    svg.text((FROM.0, 28.0), Anchor::Start, "font-size=\"15\"", &title);
    svg.text(
        (FROM.0, 46.0),
        Anchor::Start,
        GREY,
        "disc: p99 delay; foot: p50",
    );
    let thin = "stroke=\"#ddd\"";
    for tick in right.ticks() {
        let x = FROM.0 + right.part(tick) * (TO.0 - FROM.0);
        svg.line((x, FROM.1), (x, TO.1), thin);
        svg.text((x, TO.1 + 18.0), Anchor::Middle, GREY, &right.name(tick));
    }
    for tick in up.ticks() {
        let y = TO.1 - up.part(tick) * (TO.1 - FROM.1);
        svg.line((FROM.0, y), (TO.0, y), thin);
        svg.text((FROM.0 - 8.0, y + 4.0), Anchor::End, GREY, &up.name(tick));
    }
    svg.line((FROM.0, TO.1), TO, "stroke=\"#000\"");
    svg.line(FROM, (FROM.0, TO.1), "stroke=\"#000\"");
    let middle = f64::midpoint(FROM.0, TO.0);
    svg.text(
        (middle, TO.1 + 42.0),
        Anchor::Middle,
        "",
        "traffic: bytes on all links for each update",
    );
    let upright = format!(
        "transform=\"rotate(-90 22 {:.1})\"",
        f64::midpoint(FROM.1, TO.1)
    );
    let at = (22.0, f64::midpoint(FROM.1, TO.1));
    svg.text(
        at,
        Anchor::Middle,
        &upright,
        "delay to the last server (ms)",
    );
}

/// Writes each label beside its point, pushed down where another stands.
fn write_labels(svg: &mut Svg, mut labels: Vec<((f64, f64), &str, String)>) {
    labels.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
    let mut free_from = FROM.1;
    for ((x, y), colour, text) in labels {
        let line = (y + 4.0).max(free_from);
        free_from = line + LABEL_HEIGHT;
        let (anchor, shift) = if x > f64::midpoint(FROM.0, TO.0) {
            (Anchor::End, -9.0)
        } else {
            (Anchor::Start, 9.0)
        };
        svg.text(
            (x + shift, line),
            anchor,
            &format!("fill=\"{colour}\""),
            &text,
        );
    }
}

/// An axis from 0.
struct Axis {
    step: f64,
    most: f64,
}

impl Axis {
    /// Up to a round number that `value` is below.
    fn to(value: f64) -> Self {
        let value = value.max(1e-3) * 1.05;
        let power = 10_f64.powf((value / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = steps.into_iter().find(|step| step * 5.0 >= value);
        let step = step.unwrap_or(value);
        Self {
            step,
            most: (value / step).ceil() * step,
        }
    }

    fn part(&self, value: f64) -> f64 {
        value / self.most
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.most / self.step).round() as usize;
        (0..=count).map(|tick| tick as f64 * self.step)
    }

    /// A tick's number, with as many decimals as the step has.
    fn name(&self, tick: f64) -> String {
        let decimals = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{tick:.decimals$}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_a_few_round_ticks() {
        for (value, names) in [
            (4.0, "0 1 2 3 4 5"),
            (950.0, "0 200 400 600 800 1000"),
            (0.07, "0.00 0.02 0.04 0.06 0.08"),
            (0.0, "0.0000 0.0005 0.0010 0.0015"),
        ] {
            let axis = Axis::to(value);
            let ticks: Vec<_> = axis.ticks().map(|tick| axis.name(tick)).collect();
            assert_eq!(ticks.join(" "), names, "{value}");
        }
    }
}

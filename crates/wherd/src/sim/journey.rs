//! The way of one update over the graph.

use std::f64::consts::TAU;

use wherd_sim::Topology;
use wherd_sim::measure::{Hop, Journey, Measured, Setup};

use super::svg::{Anchor, Svg};
use super::table::{ms, seconds};

/// The side of one policy's panel.
const PANEL: f64 = 460.0;
const HEADING: f64 = 64.0;
/// Panels beside each other.
const COLUMNS: usize = 3;
/// With more servers than this, duplicates have no labels, and names are small.
const CROWD: usize = 12;
/// How far the two directions of an edge are apart.
const APART: f64 = 5.0;

/// What a label crosses is not to be read through it.
const HALO: &str = "paint-order=\"stroke\" stroke=\"#fff\" stroke-width=\"3\"";
const NEWS: &str = "stroke=\"#0072b2\" stroke-width=\"2\"";
const DUPLICATE: &str = "stroke=\"#d55e00\"";
const WITHHELD: &str = "stroke=\"#aaa\" stroke-dasharray=\"4 4\"";

/// A panel for each policy; `None` where the update was never accepted.
pub(super) fn draw(setup: &Setup, measured: &[Measured]) -> Option<String> {
    let columns = measured.len().min(COLUMNS);
    let rows = measured.len().div_ceil(COLUMNS);
    let size = (columns as f64 * PANEL, HEADING + rows as f64 * PANEL);
    let mut svg = Svg::new(size.0, size.1, "The way of one update");
    let number = measured.first()?.journey.as_ref()?.update;
    let title = format!("update {number}, times in ms since it was accepted");
    svg.text((16.0, 26.0), Anchor::Start, "font-size=\"15\"", &title);
    legend(&mut svg);
    for (index, one) in measured.iter().enumerate() {
        let left = (index % COLUMNS) as f64 * PANEL;
        let top = HEADING + (index / COLUMNS) as f64 * PANEL;
        let panel = Panel {
            topology: &setup.topology,
            journey: one.journey.as_ref()?,
            centre: (left + PANEL / 2.0, top + PANEL / 2.0 + 8.0),
        };
        panel.draw(&mut svg, one);
    }
    Some(svg.end())
}

fn legend(svg: &mut Svg) {
    let words = [
        (NEWS, "news"),
        (DUPLICATE, "duplicate"),
        (WITHHELD, "not sent"),
    ];
    for (index, (style, word)) in words.into_iter().enumerate() {
        let x = 16.0 + 110.0 * index as f64;
        svg.line((x, 44.0), (x + 30.0, 44.0), style);
        svg.text((x + 36.0, 48.0), Anchor::Start, "", word);
    }
}

struct Panel<'a> {
    topology: &'a Topology,
    journey: &'a Journey,
    centre: (f64, f64),
}

impl Panel<'_> {
    fn draw(&self, svg: &mut Svg, one: &Measured) {
        let at = (self.centre.0, self.centre.1 - PANEL / 2.0 + 10.0);
        let last = self.journey.hops.iter().filter(|hop| hop.is_news);
        let last_ns = last.map(|hop| hop.arrived_after_ns).max().unwrap_or(0);
        let heading = format!(
            "{}: accepted by {} at {} s, {} sends, last after {} ms",
            one.policy.name(),
            self.topology.names()[self.journey.server],
            seconds(self.journey.accepted_at_ns),
            self.journey.hops.len(),
            ms(last_ns),
        );
        svg.text(at, Anchor::Middle, "", &heading);
        for (a, b) in self.topology.edges() {
            let is_on_it =
                |hop: &&Hop| (hop.from, hop.to) == (*a, *b) || (hop.from, hop.to) == (*b, *a);
            if !self.journey.hops.iter().any(|hop| is_on_it(&hop)) {
                svg.line(self.place(*a), self.place(*b), WITHHELD);
            }
        }
        // News last, so that they are on top.
        for is_news in [false, true] {
            let hops = self.journey.hops.iter();
            for hop in hops.filter(|hop| hop.is_news == is_news) {
                self.draw_hop(svg, hop);
            }
        }
        (0..self.topology.names().len()).for_each(|server| self.draw_server(svg, server));
    }

    /// Servers stand in a circle, the first at the top.
    fn place(&self, server: usize) -> (f64, f64) {
        let turn = TAU * server as f64 / self.topology.names().len() as f64;
        let radius = PANEL / 2.0 - 70.0;
        (
            self.centre.0 + radius * turn.sin(),
            self.centre.1 - radius * turn.cos(),
        )
    }

    fn draw_hop(&self, svg: &mut Svg, hop: &Hop) {
        let (from, to) = (self.place(hop.from), self.place(hop.to));
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(1.0);
        let (ux, uy) = (dx / length, dy / length);
        // Each direction keeps to its right.
        let beside = |(x, y): (f64, f64), along: f64| {
            (x + ux * along - uy * APART, y + uy * along + ux * APART)
        };
        let (start, tip) = (beside(from, 12.0), beside(to, -12.0));
        let style = if hop.is_news { NEWS } else { DUPLICATE };
        svg.line(start, tip, style);
        let back = (tip.0 - ux * 8.0, tip.1 - uy * 8.0);
        let head = [
            tip,
            (back.0 - uy * 4.0, back.1 + ux * 4.0),
            (back.0 + uy * 4.0, back.1 - ux * 4.0),
        ];
        let colour = if hop.is_news { "#0072b2" } else { "#d55e00" };
        svg.polygon(&head, &format!("fill=\"{colour}\""));
        if hop.is_news || self.topology.names().len() <= CROWD {
            let part = if hop.is_news { 0.55 } else { 0.25 };
            let at = (
                start.0 + (tip.0 - start.0) * part,
                start.1 + (tip.1 - start.1) * part,
            );
            let at = (at.0 - uy * 14.0, at.1 + ux * 10.0 + 4.0);
            let style = format!("fill=\"{colour}\" font-size=\"10\" {HALO}");
            let text = format!("{}→{}", ms(hop.sent_after_ns), ms(hop.arrived_after_ns));
            svg.text(at, Anchor::Middle, &style, &text);
        }
    }

    fn draw_server(&self, svg: &mut Svg, server: usize) {
        let at = self.place(server);
        let name = self.topology.names()[server].as_str();
        let is_first = server == self.journey.server;
        let news = self
            .journey
            .hops
            .iter()
            .find(|hop| hop.is_news && hop.to == server);
        let (colour, when) = match news {
            _ if is_first => ("#009e73", "accepted it".to_owned()),
            Some(hop) => ("#0072b2", format!("{} ms", ms(hop.arrived_after_ns))),
            // A newer update of the client was there first, or the server was down.
            None => ("#aaa", "never received it".to_owned()),
        };
        let is_crowded = self.topology.names().len() > CROWD;
        let (radius, font) = if is_crowded { (5.0, 9) } else { (9.0, 12) };
        let about = format!("{name}: {when}");
        svg.disc(at, radius, &format!("fill=\"{colour}\""), &about);
        let out = (at.0 - self.centre.0, at.1 - self.centre.1);
        let length = out.0.hypot(out.1).max(1.0);
        let (right, down) = (out.0 / length, out.1 / length);
        let anchor = match right {
            _ if right > 0.3 => Anchor::Start,
            _ if right < -0.3 => Anchor::End,
            _ => Anchor::Middle,
        };
        let label = (at.0 + right * 14.0, at.1 + down * 20.0 + 4.0);
        svg.text(label, anchor, &format!("font-size=\"{font}\""), name);
    }
}

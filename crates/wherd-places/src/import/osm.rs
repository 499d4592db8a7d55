//! Named places of an OSM PBF file.
//!
//! Nodes come first in a file, then the ways that are made of them, then the relations that are made
//! of ways; so it is read from its end, as it were. First all ways and relations: which are
//! places? Then the ways that such relations are made of. Last the nodes: those that are places,
//! and the positions of those that ways need. Blocks that cannot have what a step looks for are
//! not read again, and what is kept is in proportion to the places, not to the file.
//!
//! A way or a relation is where the middle of its bounding box is, as with Overpass (`out center`).

use super::block::{self, BlockEntry, Member, Point, Relation, Visitor, Way};
use super::pbf::Blobs;
use super::{ImportError, Imported, Progress};
use crate::osm::{self, Described};
use crate::place::{Place, PlaceId, Source};
use crate::writer::IndexWriter;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek};
use wherd_proto::Position;

/// Makes a places file of an OSM PBF file, which is read up to three times.
///
/// `progress` is called after each block, many times a second.
///
/// # Errors
/// The data cannot be read, is of another format, is damaged, or has no place with a name.
pub fn osm(
    reader: impl Read + Seek,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, ImportError> {
    let mut file = File::open(reader, progress)?;
    let mut outlines = Outlines::default();
    let blocks = file.index_blocks(&mut outlines)?;

    let mut members = MemberWays::of(&outlines.relations);
    if !members.nodes_by_way.is_empty() {
        let ways = blocks.iter().filter(|block| block.has_ways);
        file.revisit("reading outlines", 1, ways, &mut members)?;
    }
    let mut points = Points::needed_by(&outlines, &members);
    let nodes = blocks.iter().filter(|block| block.has_nodes);
    file.revisit("reading nodes", 2, nodes, &mut points)?;

    lay_out(&outlines, &members, points)
}

/// How often a file is read at most.
const STEP_COUNT: u64 = 3;

/// The file, and how far it was read.
struct File<'a, R> {
    blobs: Blobs<R>,
    len: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a, R: Read + Seek> File<'a, R> {
    fn open(reader: R, progress: &'a mut dyn FnMut(Progress)) -> Result<Self, ImportError> {
        let mut blobs = Blobs::open(reader)?;
        let len = blobs.len()?;
        Ok(Self {
            blobs,
            len,
            progress,
        })
    }

    /// Reads all blocks, and tells what each has.
    fn index_blocks(&mut self, visitor: &mut Outlines) -> Result<Vec<BlockEntry>, ImportError> {
        let mut blocks = Vec::new();
        while let Some((offset, block)) = self.blobs.next_block()? {
            blocks.push(block::visit(&block, offset, visitor)?);
            (self.progress)(Progress {
                step: "reading ways and relations",
                done_bytes: offset,
                total_bytes: STEP_COUNT * self.len,
            });
        }
        Ok(blocks)
    }

    fn revisit<'b, V: Visitor>(
        &mut self,
        step: &'static str,
        steps_before: u64,
        blocks: impl Iterator<Item = &'b BlockEntry>,
        visitor: &mut V,
    ) -> Result<(), ImportError> {
        for entry in blocks {
            let block = self.blobs.block_at(entry.offset)?;
            block::visit(&block, entry.offset, visitor)?;
            (self.progress)(Progress {
                step,
                done_bytes: steps_before * self.len + entry.offset,
                total_bytes: STEP_COUNT * self.len,
            });
        }
        Ok(())
    }
}

/// The ways and relations that are places.
#[derive(Default)]
struct Outlines {
    ways: Vec<(u64, Described, Vec<i64>)>,
    relations: Vec<(u64, Described, Vec<Member>)>,
}

impl Visitor for Outlines {
    const WAYS: bool = true;
    const RELATIONS: bool = true;

    fn way(&mut self, way: &Way<'_>) {
        if let Some(described) = osm::describe(osm::Tags(way.tags)) {
            self.ways.push((way.id, described, way.nodes.to_vec()));
        }
    }

    fn relation(&mut self, relation: &Relation<'_>) {
        let tags = osm::Tags(relation.tags);
        // A stop area or a route has the tags of a place and is a set of them.
        if !matches!(tags.get("type"), Some("multipolygon" | "boundary" | "site")) {
            return;
        }
        if let Some(described) = osm::describe(tags) {
            let members = relation.members.to_vec();
            self.relations.push((relation.id, described, members));
        }
    }
}

/// The ways that relations are made of, with their nodes.
struct MemberWays {
    nodes_by_way: BTreeMap<i64, Vec<i64>>,
}

impl MemberWays {
    fn of(relations: &[(u64, Described, Vec<Member>)]) -> Self {
        let members = relations.iter().flat_map(|(_, _, members)| members);
        let ways = members.filter_map(|member| match member {
            Member::Way(id) => Some((*id, Vec::new())),
            Member::Node(_) => None,
        });
        Self {
            nodes_by_way: ways.collect(),
        }
    }

    /// The nodes of a member, itself where it is one.
    fn nodes<'a>(&'a self, member: &'a Member) -> &'a [i64] {
        match member {
            Member::Node(id) => std::slice::from_ref(id),
            Member::Way(id) => self.nodes_by_way.get(id).map_or(&[], Vec::as_slice),
        }
    }
}

impl Visitor for MemberWays {
    const WAYS: bool = true;

    fn way(&mut self, way: &Way<'_>) {
        let nodes = self.nodes_by_way.get_mut(&(way.id as i64));
        if let Some(nodes) = nodes {
            *nodes = way.nodes.to_vec();
        }
    }
}

/// The nodes that are places, and where the others are that are needed.
struct Points {
    places: Vec<(i64, Described, Point)>,
    /// Needed ids in ascending order, with their positions once they were met.
    needed: Vec<(i64, Option<Point>)>,
}

impl Points {
    fn needed_by(outlines: &Outlines, members: &MemberWays) -> Self {
        let of_ways = outlines.ways.iter().flat_map(|(_, _, nodes)| nodes);
        let relations = outlines.relations.iter();
        let of_relations = relations
            .flat_map(|(_, _, members)| members)
            .flat_map(|member| members.nodes(member));
        let mut needed: Vec<_> = of_ways.chain(of_relations).map(|id| (*id, None)).collect();
        needed.sort_unstable_by_key(|(id, _)| *id);
        needed.dedup_by_key(|(id, _)| *id);
        Self {
            places: Vec::new(),
            needed,
        }
    }

    fn at(&self, id: i64) -> Option<Point> {
        let found = self.needed.binary_search_by_key(&id, |(id, _)| *id);
        found.ok().and_then(|number| self.needed[number].1)
    }

    /// The middle of the box around nodes; `None` where none of them is in the file.
    fn middle<'a>(&self, nodes: impl Iterator<Item = &'a i64>) -> Option<Point> {
        let mut points = nodes.filter_map(|id| self.at(*id));
        let first = points.next()?;
        // Longitudes are taken from the first one, so that no box goes the long way around.
        let east_of_first = |longitude: i32| {
            const TURN: i64 = 3_600_000_000;
            let east = (i64::from(longitude) - i64::from(first.1)).rem_euclid(TURN);
            if east > TURN / 2 { east - TURN } else { east }
        };
        let (mut south, mut north) = (i64::from(first.0), i64::from(first.0));
        let (mut west, mut east) = (0, 0);
        for (latitude, longitude) in points {
            south = south.min(i64::from(latitude));
            north = north.max(i64::from(latitude));
            west = west.min(east_of_first(longitude));
            east = east.max(east_of_first(longitude));
        }
        let latitude = (south + north).div_euclid(2);
        let longitude = i64::from(first.1) + (west + east).div_euclid(2);
        Some((latitude as i32, wrapped(longitude)))
    }
}

/// A longitude within ±180°.
const fn wrapped(longitude_e7: i64) -> i32 {
    const HALF: i64 = 1_800_000_000;
    if longitude_e7.abs() <= HALF {
        return longitude_e7 as i32;
    }
    ((longitude_e7 + HALF).rem_euclid(2 * HALF) - HALF) as i32
}

impl Visitor for Points {
    const NODES: bool = true;

    fn node(&mut self, id: i64, point: Point, tags: &block::Tags<'_>) {
        if let Ok(number) = self.needed.binary_search_by_key(&id, |(id, _)| *id) {
            self.needed[number].1 = Some(point);
        }
        if tags.is_empty() {
            return;
        }
        if let Some(described) = osm::describe(osm::Tags(tags)) {
            self.places.push((id, described, point));
        }
    }
}

fn lay_out(
    outlines: &Outlines,
    members: &MemberWays,
    mut points: Points,
) -> Result<Imported, ImportError> {
    let mut places = Vec::new();
    let nodes = std::mem::take(&mut points.places);
    let node_count = nodes.len() as u64;
    // A town's boundary has the town's node as its label: one place, not two.
    let towns: BTreeSet<Member> = nodes
        .iter()
        .filter(|(_, described, _)| described.is_political())
        .map(|(id, _, _)| Member::Node(*id))
        .collect();
    for (id, described, point) in nodes {
        places.extend(place(PlaceId::number("osm:n", id as u64), described, point));
    }
    for (id, described, nodes) in &outlines.ways {
        if let Some(point) = points.middle(nodes.iter()) {
            places.extend(place(
                PlaceId::number("osm:w", *id),
                described.clone(),
                point,
            ));
        }
    }
    let way_count = places.len() as u64 - node_count;
    let mut without_position_count = outlines.ways.len() as u64 - way_count;
    for (id, described, group) in &outlines.relations {
        if group.iter().any(|member| towns.contains(member)) {
            continue;
        }
        let nodes = group.iter().flat_map(|member| members.nodes(member));
        if let Some(point) = points.middle(nodes) {
            places.extend(place(
                PlaceId::number("osm:r", *id),
                described.clone(),
                point,
            ));
        } else {
            without_position_count += 1;
        }
    }
    let relation_count = places.len() as u64 - node_count - way_count;
    if places.is_empty() {
        return Err(ImportError::NoPlaces);
    }
    make_room_for_others(&mut places);
    Ok(Imported {
        place_count: places.len() as u64,
        node_count,
        way_count,
        relation_count,
        without_position_count,
        bytes: write(places)?,
    })
}

/// OpenStreetMap, and what its licence asks for.
pub fn source() -> Source {
    Source {
        name: "OpenStreetMap".to_owned(),
        licence: "ODbL-1.0".to_owned(),
        attribution: "© <a href=\"https://www.openstreetmap.org/copyright\">OpenStreetMap</a> \
            contributors, <a href=\"https://opendatacommons.org/licenses/odbl/1-0/\">ODbL 1.0</a>"
            .to_owned(),
    }
}

fn write(places: Vec<Place>) -> Result<Vec<u8>, ImportError> {
    let mut writer = IndexWriter::new();
    let source = writer.add_source(source())?;
    for place in places {
        writer.add(place, source);
    }
    Ok(writer.finish()?)
}

/// A place of what its tags say; `None` for a point that is not on the earth.
fn place(id: PlaceId, described: Described, point: Point) -> Option<Place> {
    let position = Position::from_e7(point.0, point.1)?;
    Some(described.into_place(id, position))
}

/// Takes weight from places that have more prominent ones of their kind around them.
///
/// "Around" is a cell of 0.02° of latitude, about 2 km, and about as wide.
fn make_room_for_others(places: &mut [Place]) {
    let mut crowds: BTreeMap<(i32, i32, String), Vec<usize>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        let (row, column) = cell(place.position);
        let kind = place.types.first().cloned().unwrap_or_default();
        crowds.entry((row, column, kind)).or_default().push(number);
    }
    for crowd in crowds.values_mut() {
        // Stable: equals keep the order of the file.
        crowd.sort_by_key(|number| std::cmp::Reverse(places[*number].weight));
        for (better_count, number) in crowd.iter().enumerate() {
            let weight = &mut places[*number].weight;
            *weight = weight.saturating_sub(osm::crowd_discount(better_count));
        }
    }
}

fn cell(position: Position) -> (i32, i32) {
    const CELL_E7: i32 = 200_000;
    let row = position.latitude_e7().div_euclid(CELL_E7);
    // Of the row and not of the position, so that all cells of a row have one width.
    let latitude = f64::from(row) * f64::from(CELL_E7) / 1e7;
    let width_e7 = f64::from(CELL_E7) / latitude.to_radians().cos().max(0.01);
    (row, position.longitude_e7().div_euclid(width_e7 as i32))
}

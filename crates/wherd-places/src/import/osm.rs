//! Named places of an OSM PBF file.
//!
//! Nodes come first in a file, then the ways that are made of them, then the relations that are made
//! of ways; so it is read from its end, as it were. First all ways and relations: which are
//! places, and which nodes tell where they are? Then the ways that such relations are made of. Last
//! the nodes: those that are places, and those that are part of one. Blocks that cannot have what a
//! step looks for are not read again.
//!
//! Of a place only its record in the writer is kept, of a way that is one its nodes, twelve bytes
//! each, and the box around those that were met. Most nodes of a file are neither.
//!
//! A way or a relation is where the middle of its bounding box is, as with Overpass (`out center`).

use super::block::{self, BlockEntry, Member, Point, Relation, Visitor, Way};
use super::outline::{NodeUses, OutlineBox};
use super::pbf::Blobs;
use super::{Counts, ImportError, Progress};
use crate::osm::{self, Described};
use crate::place::{PlaceId, Source};
use crate::writer::{IndexWriter, PlaceNumber, SourceNumber, TextNumber};
use std::io::{Read, Seek};
use wherd_proto::Position;

/// Adds the named places of an OSM PBF file, which is read up to three times.
///
/// `progress` is called after each block, many times a second.
///
/// # Errors
/// The data cannot be read, is of another format, is damaged, or has no place with a name.
pub fn osm(
    reader: impl Read + Seek,
    writer: &mut IndexWriter,
    progress: &mut dyn FnMut(Progress),
) -> Result<Counts, ImportError> {
    let mut file = File::open(reader, progress)?;
    let mut outlines = Outlines::new(writer)?;
    let blocks = file.index_blocks(&mut outlines)?;
    outlines.find_streets();

    outlines.member_ways.sort_unstable();
    if !outlines.member_ways.is_empty() {
        let ways = blocks.iter().filter(|block| block.has_ways);
        let mut members = MemberWays(&mut outlines);
        file.revisit("reading outlines", 1, ways, &mut members)?;
    }
    let mut points = Points::of(outlines);
    let nodes = blocks.iter().filter(|block| block.has_nodes);
    file.revisit("reading nodes", 2, nodes, &mut points)?;

    let counts = points.place_outlines();
    if counts.place_count() == 0 {
        return Err(ImportError::NoPlaces);
    }
    Ok(counts)
}

/// OpenStreetMap, and what its licence asks for.
#[must_use]
pub fn source() -> Source {
    Source {
        name: "OpenStreetMap".to_owned(),
        licence: "ODbL-1.0".to_owned(),
        attribution: "© <a href=\"https://www.openstreetmap.org/copyright\">OpenStreetMap</a> \
            contributors, <a href=\"https://opendatacommons.org/licenses/odbl/1-0/\">ODbL 1.0</a>"
            .to_owned(),
    }
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
    fn index_blocks<V: Visitor>(
        &mut self,
        visitor: &mut V,
    ) -> Result<Vec<BlockEntry>, ImportError> {
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

/// A way or a relation that is a place.
struct Outline {
    place: PlaceNumber,
    is_relation: bool,
    /// Whether one of its nodes is the place.
    has_label: bool,
    extent: OutlineBox,
}

/// A way that is a place and does not say in which street.
struct WithoutStreet {
    way: i64,
    place: PlaceNumber,
    house_number: TextNumber,
}

/// The ways and relations that are places, and what they need to know.
struct Outlines<'w> {
    writer: &'w mut IndexWriter,
    source: SourceNumber,
    outlines: Vec<Outline>,
    /// Ways, each with the outline of a relation that it is part of.
    member_ways: Vec<(i64, u32)>,
    /// Nodes, each with the outline of a relation that it is a member of.
    member_nodes: Vec<(i64, u32)>,
    nodes: NodeUses,
    /// What relations of a street say that is in it.
    houses: Vec<(Member, TextNumber)>,
    without_street: Vec<WithoutStreet>,
}

impl<'w> Outlines<'w> {
    fn new(writer: &'w mut IndexWriter) -> Result<Self, ImportError> {
        Ok(Self {
            source: writer.add_source(source())?,
            writer,
            outlines: Vec::new(),
            member_ways: Vec::new(),
            member_nodes: Vec::new(),
            nodes: NodeUses::default(),
            houses: Vec::new(),
            without_street: Vec::new(),
        })
    }

    /// Adds an outline whose nodes are not known yet; its number, where there is room for it.
    fn add(&mut self, id: PlaceId, described: Described, is_relation: bool) -> Option<u32> {
        let place = described.into_place(id, Position::default());
        let place = self.writer.add_unplaced(&place, self.source)?;
        let number = u32::try_from(self.outlines.len()).ok()?;
        self.outlines.push(Outline {
            place,
            is_relation,
            has_label: false,
            extent: OutlineBox::default(),
        });
        Some(number)
    }

    /// Keeps the houses of a relation such as `associatedStreet`, which have its name for a street.
    fn add_street(&mut self, relation: &Relation<'_>) {
        let name = osm::Tags(relation.tags).get("name").unwrap_or_default();
        if name.trim().is_empty() {
            return;
        }
        let street = self.writer.text(name.trim());
        let is_house = |role: &str| matches!(role, "house" | "address");
        let houses = relation.members.iter().filter(|(_, role)| is_house(role));
        self.houses
            .extend(houses.map(|(member, _)| (*member, street)));
    }

    /// Tells the ways that do not say it the street that a relation says they are in.
    fn find_streets(&mut self) {
        self.houses.sort_unstable_by_key(|(member, _)| *member);
        for way in std::mem::take(&mut self.without_street) {
            let number = self.writer.text_of(way.house_number).to_owned();
            if let Some(street) = self.street_of(Member::Way(way.way), &number) {
                self.writer.set_street(way.place, &street);
            }
        }
    }

    /// Street and number of a house that a relation has.
    fn street_of(&self, house: Member, number: &str) -> Option<String> {
        let found = self
            .houses
            .binary_search_by_key(&house, |(member, _)| *member);
        let (_, street) = self.houses[found.ok()?];
        Some(osm::with_number(self.writer.text_of(street), number))
    }
}

impl Visitor for Outlines<'_> {
    const WAYS: bool = true;
    const RELATIONS: bool = true;

    fn way(&mut self, way: &Way<'_>) {
        let Some(mut described) = osm::describe(osm::Tags(way.tags)) else {
            return;
        };
        let lacks_street = described.street.is_empty();
        let house_number = std::mem::take(&mut described.house_number);
        let id = PlaceId::number("osm:w", way.id);
        let Some(outline) = self.add(id, described, false) else {
            return;
        };
        if lacks_street {
            self.without_street.push(WithoutStreet {
                way: way.id as i64,
                place: self.outlines[outline as usize].place,
                house_number: self.writer.text(&house_number),
            });
        }
        self.nodes.add(way.nodes, outline);
    }

    fn relation(&mut self, relation: &Relation<'_>) {
        let tags = osm::Tags(relation.tags);
        match tags.get("type") {
            Some("multipolygon" | "boundary" | "site") => {}
            Some("associatedStreet" | "street") => return self.add_street(relation),
            // A stop area or a route has the tags of a place and is a set of them.
            _ => return,
        }
        let Some(described) = osm::describe(tags) else {
            return;
        };
        let id = PlaceId::number("osm:r", relation.id);
        let Some(outline) = self.add(id, described, true) else {
            return;
        };
        for (member, _) in relation.members {
            match member {
                Member::Node(id) => {
                    self.member_nodes.push((*id, outline));
                    self.nodes.add(&[*id], outline);
                }
                Member::Way(id) => self.member_ways.push((*id, outline)),
            }
        }
    }
}

/// The ways that relations are made of.
struct MemberWays<'a, 'w>(&'a mut Outlines<'w>);

impl Visitor for MemberWays<'_, '_> {
    const WAYS: bool = true;

    fn way(&mut self, way: &Way<'_>) {
        let id = way.id as i64;
        for (_, outline) in of(&self.0.member_ways, id) {
            self.0.nodes.add(way.nodes, *outline);
        }
    }
}

/// The part of a sorted list that has an id.
fn of(sorted: &[(i64, u32)], id: i64) -> &[(i64, u32)] {
    let start = sorted.partition_point(|(earlier, _)| *earlier < id);
    let rest = &sorted[start..];
    &rest[..rest.partition_point(|(same, _)| *same == id)]
}

/// The nodes that are places, and where outlines are.
struct Points<'w> {
    outlines: Outlines<'w>,
    node_count: u64,
}

impl<'w> Points<'w> {
    fn of(mut outlines: Outlines<'w>) -> Self {
        outlines.member_ways = Vec::new();
        outlines.member_nodes.sort_unstable();
        outlines.nodes.sort();
        Self {
            outlines,
            node_count: 0,
        }
    }

    /// Tells the writer where the outlines are that were met.
    fn place_outlines(self) -> Counts {
        let mut counts = Counts {
            node_count: self.node_count,
            ..Counts::default()
        };
        let Outlines {
            writer, outlines, ..
        } = self.outlines;
        for outline in outlines.iter().filter(|outline| !outline.has_label) {
            let Some((middle, extent)) = outline.extent.middle_and_bounds() else {
                counts.without_position_count += 1;
                continue;
            };
            writer.place_at(outline.place, middle, extent);
            if outline.is_relation {
                counts.relation_count += 1;
            } else {
                counts.way_count += 1;
            }
        }
        counts
    }
}

impl Visitor for Points<'_> {
    const NODES: bool = true;

    fn node(&mut self, id: i64, point: Point, tags: &block::Tags<'_>) {
        let outlines = &mut self.outlines;
        for outline in outlines.nodes.of(id) {
            outlines.outlines[outline as usize].extent.extend(point);
        }
        if tags.is_empty() {
            return;
        }
        let described = osm::describe(osm::Tags(tags));
        let position = Position::from_e7(point.0, point.1);
        let Some((mut described, position)) = described.zip(position) else {
            return;
        };
        if described.is_political() {
            // A town's boundary has the town's node as its label: one place, not two.
            for (_, outline) in of(&outlines.member_nodes, id) {
                outlines.outlines[*outline as usize].has_label = true;
            }
        }
        if described.street.is_empty()
            && let Some(street) = outlines.street_of(Member::Node(id), &described.house_number)
        {
            described.street = street;
        }
        let place = described.into_place(PlaceId::number("osm:n", id as u64), position);
        outlines.writer.add(place, outlines.source);
        self.node_count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Index;

    type TagList<'a> = &'a [(&'a str, &'a str)];

    /// Streets by the ids of places, of ways, relations and nodes that a file may have.
    fn streets_of(
        ways: &[(u64, TagList<'_>, &[i64])],
        relation: TagList<'_>,
        members: &[(Member, &str)],
        nodes: &[(i64, TagList<'_>)],
    ) -> Vec<(String, String)> {
        let mut writer = IndexWriter::new();
        let mut outlines = Outlines::new(&mut writer).expect("there is room");
        for (id, tags, nodes) in ways {
            let (id, tags) = (*id, &tags.to_vec());
            outlines.way(&Way { id, tags, nodes });
        }
        outlines.relation(&Relation {
            id: 1,
            tags: &relation.to_vec(),
            members,
        });
        outlines.find_streets();
        let mut points = Points::of(outlines);
        for (id, tags) in nodes {
            points.node(*id, (*id as i32, 0), &tags.to_vec());
        }
        points.place_outlines();
        let file = writer.finish().expect("there is room");
        let index = Index::from_bytes(file).expect("it was written so");
        let places = index.places();
        let mut streets: Vec<_> = places
            .map(|place| (place.id().to_string(), place.street().to_owned()))
            .collect();
        streets.sort();
        streets
    }

    #[test]
    fn a_relation_tells_its_houses_their_street() {
        let shop = [("name", "A"), ("shop", "books"), ("addr:housenumber", "7")];
        let no_number = [("name", "B"), ("shop", "books")];
        let own_street = [
            ("name", "C"),
            ("shop", "books"),
            ("addr:street", "Own Street"),
        ];
        let street = [("type", "associatedStreet"), ("name", "Main Street")];
        let members = [
            (Member::Way(1), "house"),
            (Member::Way(2), "house"),
            (Member::Way(3), "house"),
            (Member::Way(4), "street"),
            (Member::Node(50), "house"),
        ];
        let ways: [(u64, &[_], &[_]); 4] = [
            (1, &shop, &[10, 11]),
            (2, &no_number, &[10, 12]),
            (3, &own_street, &[12]),
            (4, &no_number, &[12]),
        ];
        let nodes: [(i64, &[_]); 5] = [(10, &[]), (11, &[]), (12, &[]), (50, &shop), (51, &shop)];
        let streets = streets_of(&ways, &street, &members, &nodes);
        let expected = [
            ("osm:n50", "Main Street 7"),
            ("osm:n51", ""),
            ("osm:w1", "Main Street 7"),
            ("osm:w2", "Main Street"),
            ("osm:w3", "Own Street"),
            ("osm:w4", ""),
        ];
        assert_eq!(
            streets,
            expected.map(|(id, street)| (id.to_owned(), street.to_owned()))
        );
    }

    #[test]
    fn a_street_without_a_name_tells_nothing() {
        let shop = [("name", "A"), ("shop", "books")];
        let ways: [(u64, &[_], &[_]); 1] = [(1, &shop, &[10])];
        let members = [(Member::Way(1), "house")];
        for street in [
            &[("type", "street"), ("name", " ")][..],
            &[("type", "street")],
        ] {
            let streets = streets_of(&ways, street, &members, &[(10, &[])]);
            assert_eq!(streets, [("osm:w1".to_owned(), String::new())]);
        }
    }

    #[test]
    fn a_town_with_a_boundary_is_its_node() {
        let town = [("name", "A"), ("place", "town")];
        let boundary = [("type", "boundary"), ("name", "A"), ("place", "town")];
        let members = [(Member::Node(10), "label"), (Member::Node(11), "")];
        let ids = |nodes: &[(i64, &[_])]| {
            let streets = streets_of(&[], &boundary, &members, nodes).into_iter();
            streets.map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(ids(&[(10, &town), (11, &[])]), ["osm:n10"]);
        assert_eq!(ids(&[(10, &[]), (11, &[])]), ["osm:r1"]);
    }

    #[test]
    fn an_outline_whose_nodes_are_elsewhere_is_left_out() {
        let shop = [("name", "A"), ("shop", "books")];
        let ways: [(u64, &[_], &[_]); 2] = [(1, &shop, &[10, 99]), (2, &shop, &[98, 99])];
        let streets = streets_of(&ways, &[], &[], &[(10, &[])]);
        assert_eq!(streets, [("osm:w1".to_owned(), String::new())]);
    }
}
